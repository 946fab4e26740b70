"""The circumstances under which a case is predicted: corruptions, and modalities that are withheld."""
