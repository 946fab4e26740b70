"""Fusers without training: rules that make one image of several. None is imported here, so that each stands alone."""
