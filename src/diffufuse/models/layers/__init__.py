"""Parts that several architectures share; none is imported here, so that each stands alone."""
