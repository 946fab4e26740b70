"""Volumes in patient coordinates, spatial transforms and resampling."""
