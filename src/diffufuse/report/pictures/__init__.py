"""Pictures of cases: as prepared, under a condition, with their predictions."""
