"""Tables, figures and pictures of a study, computed from the result tables."""
