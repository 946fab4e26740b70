"""MLflow as a window on the runs."""
