"""Reading of DICOM image series, structure sets and segmentations, and SUV conversion."""
