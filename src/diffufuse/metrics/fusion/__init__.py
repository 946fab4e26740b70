"""Metrics of a fused image and its two sources: contrast, information, fidelity, structure and edges."""
