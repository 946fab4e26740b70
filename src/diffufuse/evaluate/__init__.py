"""Predictions against references, and what a model costs."""
