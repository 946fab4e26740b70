"""Show runs and studies in MLflow."""
