"""Where a voxel lies: volumes, transforms between them, resampling."""
