"""From trained weights and a prepared case to probabilities."""
