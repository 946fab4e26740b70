"""Every setting of a run, and what its outputs mean."""
