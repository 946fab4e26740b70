"""Training: weights from a plan and prepared cases."""
