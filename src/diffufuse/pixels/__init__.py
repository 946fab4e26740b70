"""Pictures of two dimensions: their files, their color, and how they lie in a stored case."""
