"""Register and resample the images of a case to one grid."""
