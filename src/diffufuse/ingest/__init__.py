"""Convert raw files to one NIfTI file per image, in patient coordinates and physical units."""
