"""What is kept of the MLflow store's address."""

import pytest

from diffufuse.errors import BadInput
from diffufuse.files.records import read_record
from diffufuse.track.client import init_store


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
        init_store(tmp_path / "store.json", experiments=[])
    assert "secret" not in str(refusal.value)
    assert not (tmp_path / "store.json").exists()


def test_an_address_without_a_password_is_kept(tmp_path, monkeypatch):
    uri = f"sqlite:///{tmp_path}/elsewhere.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    init_store(tmp_path / "store.json", experiments=["one"])
    assert read_record(tmp_path / "store.json") == {"uri": uri}
