"""Evaluation: metrics of predictions, calibration, and the computational cost of a model."""
