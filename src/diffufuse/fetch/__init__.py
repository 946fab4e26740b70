"""Bring a dataset's raw files into place and write down what they are."""
