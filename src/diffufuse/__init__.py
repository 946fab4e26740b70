"""From raw PET, CT and MR to a segmentation, and to an honest account of how far to trust it."""

__version__ = "0.1.0"
