"""The plan of a run: all of its settings, and the meaning of its output channels."""
