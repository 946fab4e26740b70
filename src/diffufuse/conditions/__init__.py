"""Test conditions: image corruptions and withheld modalities."""
