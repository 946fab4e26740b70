"""DICOM in and out: image series, SUV, contours. Only this folder imports pydicom."""
