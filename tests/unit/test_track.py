import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from tracked import HISTORY, METRICS, PLAN, RUN, curve_of, eventually, runs_in

from diffufuse.track.live import follow_live
from diffufuse.track.runs import flatten, replay, show_study


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path / "track"


def client_of(store):
    return MlflowClient(f"sqlite:///{store}/mlflow.db")


def shown(store, tmp_path):
    (tmp_path / "case.png").write_bytes(b"png")
    return replay(
        store,
        PLAN,
        RUN,
        history=HISTORY,
        metrics=METRICS,
        tags={"license": "CC0"},
        artifacts={"overlays": [tmp_path / "case.png"]},
    )


def test_replaying_twice_leaves_one_complete_run(store, tmp_path):
    first, second = shown(store, tmp_path), shown(store, tmp_path)
    assert first == second
    client = client_of(store)
    [run] = runs_in(client)
    assert run.info.status == "FINISHED"
    assert run.data.tags["license"] == "CC0"
    assert run.data.params["block.training.steps"] == "20"
    assert run.data.metrics["test.clean.mass.dice"] == pytest.approx(0.7)
    assert [m.value for m in client.get_metric_history(run.info.run_id, "loss")] == [0.5, 0.25]
    assert [a.path for a in client.list_artifacts(run.info.run_id, "overlays")] == ["overlays/case.png"]


def test_a_live_curve_and_its_replay_are_one_curve_in_one_run(store, tmp_path):
    follow = follow_live(store, PLAN, started_unix_s=1.0)
    follow(10, {"loss": 0.5})
    follow(20, {"loss": 0.25, "undefined": float("nan")})
    client = client_of(store)
    eventually(lambda: curve_of(client, "loss") == [0.5, 0.25])
    shown(store, tmp_path)
    assert curve_of(client, "loss") == [0.5, 0.25]


def test_training_goes_on_when_the_store_is_out_of_reach(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////proc/nowhere/mlflow.db")
    follow_live(tmp_path, PLAN, started_unix_s=1.0)(10, {"loss": 1.0})
    eventually(lambda: "not shown live" in caplog.text)


def test_nested_settings_become_dotted_names():
    nested = {"a": {"b": 1}, "m": [{"name": "ct", "kind": "ct"}], "l": [1, 2]}
    assert flatten(nested) == {"a.b": "1", "m.ct.name": "ct", "m.ct.kind": "ct", "l": "[1, 2]"}


def test_a_study_is_one_run_with_its_means_tables_and_pictures_and_replaces_itself(store, tmp_path):
    study = {"name": "s", "folds": [0, 1]}
    names = {"dataset": "d", "condition": "no-pet", "trained_on": "d", "model": "m", "region": "mass"}
    summary = pd.DataFrame([names | {"metric": "dice", "mean": 0.7}, names | {"metric": "hd95", "mean": float("nan")}])
    picture = tmp_path / "report" / "s" / "overlays" / "d" / "A.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"png")
    for _ in range(2):
        show_study(store, study, summary=summary, artifacts={"pictures": [str(picture)]})
    client = client_of(store)
    [run] = runs_in(client, "studies")
    assert run.data.metrics == {"d.no-pet.d.m.mass.dice": 0.7}
    assert run.data.params["folds"] == "[0, 1]"
    assert [a.path for a in client.list_artifacts(run.info.run_id, "pictures/overlays/d")] == [
        "pictures/overlays/d/A.png"
    ]
