"""What is kept of the MLflow store's address."""

import pytest
from mlflow.tracking import MlflowClient

from diffufuse.errors import BadInput
from diffufuse.files.records import read_record
from diffufuse.track.client import ensure_experiment, init_store


@pytest.mark.parametrize(
    "uri",
    [
        "https://name:secret@host.example/mlflow",
        "postgresql://name:secret@host.example/db",
        "postgresql://host.example/db?user=name&password=secret",
        "https://host.example/mlflow?token=secret",
    ],
)
def test_an_address_with_a_password_is_refused_without_repeating_it(tmp_path, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(BadInput, match="MLFLOW_TRACKING_USERNAME") as refusal:
        init_store(tmp_path / "store.json")
    assert "secret" not in str(refusal.value)
    assert not (tmp_path / "store.json").exists()


def test_an_address_without_a_password_is_kept(tmp_path, monkeypatch):
    uri = f"sqlite:///{tmp_path}/elsewhere.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    init_store(tmp_path / "store.json")
    assert read_record(tmp_path / "store.json") == {"uri": uri}


def test_an_experiment_is_created_once_with_its_artifacts_beside_the_store(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    init_store(tmp_path / "store.json")
    client = MlflowClient(read_record(tmp_path / "store.json")["uri"])
    for _ in range(2):
        ensure_experiment(client, tmp_path / "store.json", "one")
    assert client.get_experiment_by_name("one").artifact_location == (tmp_path / "artifacts" / "one").as_uri()


def test_an_experiment_that_another_job_creates_at_the_same_time_is_taken(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    init_store(tmp_path / "store.json")
    client = MlflowClient(read_record(tmp_path / "store.json")["uri"])
    ensure_experiment(client, tmp_path / "store.json", "one")
    seen = iter([None, client.get_experiment_by_name("one")])
    monkeypatch.setattr(client, "get_experiment_by_name", lambda name: next(seen))
    ensure_experiment(client, tmp_path / "store.json", "one")
