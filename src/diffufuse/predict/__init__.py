"""Inference: probabilities from trained weights and prepared cases."""
