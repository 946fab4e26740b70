"""The MLflow store: its address, and its creation by several jobs at once."""

import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import pytest

from diffufuse.errors import BadInput
from diffufuse.track.store import opened_store

MAKES_TABLES = "import sys; from diffufuse.track.store import opened_store\nwith opened_store(sys.argv[1]): pass"


def enter(folder):
    with opened_store(folder) as store:
        return store


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
        enter(tmp_path / "track")
    assert "secret" not in str(refusal.value)
    assert not (tmp_path / "track").exists()


def test_what_is_no_address_is_refused_without_repeating_it(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://[::1/secret")
    with pytest.raises(BadInput, match="expected an address or a folder, got what is neither") as refusal:
        enter(tmp_path / "track")
    assert "secret" not in str(refusal.value)


def test_the_store_of_the_environment_is_opened(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/elsewhere.db")
    enter(tmp_path / "track")
    assert (tmp_path / "elsewhere.db").exists()


def test_several_jobs_that_open_a_new_store_at_once_share_it(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with ProcessPoolExecutor(3) as jobs:
        assert set(jobs.map(experiments_of, [tmp_path / "track"] * 3)) == {1}


def test_a_job_that_is_killed_while_it_makes_the_tables_leaves_none_half_made(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    job = subprocess.Popen([sys.executable, "-c", MAKES_TABLES, str(tmp_path / "track")])
    while not is_between_two_tables(tmp_path / "track"):
        assert job.poll() is None, "it made the tables too fast to be killed"
    job.kill()
    job.wait()
    assert experiments_of(tmp_path / "track") == 1


def is_between_two_tables(folder):
    """Whether a table is being replaced by another one; if it still is, MLflow cannot go on from there."""
    return any(b"_alembic_tmp_" in path.read_bytes() for path in folder.glob("*mlflow.db"))


def experiments_of(folder):
    return len(enter(folder).client.search_experiments())


def test_an_experiment_is_created_once_and_its_artifacts_have_no_place_of_their_own(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = enter(tmp_path)
    assert store.experiment("one") == store.experiment("one")
    made = store.client.get_experiment_by_name("one")
    assert made.artifact_location == "mlflow-artifacts:/one"
    assert made.tags["mlflow.experimentKind"] == "custom_model_development"


def test_an_experiment_that_another_job_creates_at_the_same_time_is_taken(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = enter(tmp_path)
    identity = store.experiment("one")
    seen = iter([None, store.client.get_experiment_by_name("one")])
    monkeypatch.setattr(store.client, "get_experiment_by_name", lambda name: next(seen))
    assert store.experiment("one") == identity
