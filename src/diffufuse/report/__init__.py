"""The tables, figures and pictures of a study, computed from tables alone."""
