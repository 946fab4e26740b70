"""From ingested images, each on its own grid, to one case on one grid."""
