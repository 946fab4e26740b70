"""Fixtures that several files of tests share."""

import pytest


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """Where the store of MLflow is made that others are copied from."""
    return tmp_path_factory.mktemp("template") / "track"


@pytest.fixture
def store(tmp_path, template, monkeypatch):
    """The folder of an empty store of MLflow."""
    from tracked import empty_store  # takes seconds, which most tests do not need

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return empty_store(tmp_path / "track", template)
