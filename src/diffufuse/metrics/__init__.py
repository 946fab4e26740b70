"""Metrics: how well a prediction agrees with its reference, and whether its probabilities mean what they say."""
