"""From a plan and prepared cases to trained weights."""
