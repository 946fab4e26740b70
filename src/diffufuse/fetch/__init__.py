"""Fetch the raw files of the datasets and record them in manifests."""
