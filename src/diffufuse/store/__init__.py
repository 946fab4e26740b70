"""Prepared cases on disk, from which a slice or a 3-D patch is read alone."""
