"""Segmentation metrics: overlap, surface distance, calibration, discrimination and prediction sets."""
