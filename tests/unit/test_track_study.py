"""A study in MLflow: the study, its models, their trainings, each a run under the other."""

import json

import pytest
from tracked import (
    HISTORY,
    PLAN,
    RECORD,
    STUDY,
    both_folds,
    client_of,
    curve_of,
    eventually,
    runs_in,
    shown,
    training_in,
)

from diffufuse.files.digests import sha256_of
from diffufuse.track.live import follow_live
from diffufuse.track.runs import flatten

MODEL, VARIANT, FIRST, SECOND = "model/d/m", "model/d/v", PLAN["path"], "train/d/m/fold-1_seed-0"


def below(parent, runs):
    return {path for path, run in runs.items() if run.data.tags.get("mlflow.parentRunId") == parent}


def test_a_study_is_a_tree_of_finished_runs(store, tmp_path):
    ids = shown(store, tmp_path)
    runs = runs_in(client_of(store), "s")
    assert {path: run.info.run_id for path, run in runs.items()} == ids
    assert below(ids["study/s"], runs) == {MODEL, VARIANT}
    assert below(ids[MODEL], runs) == {FIRST, SECOND}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert runs[FIRST].info.end_time - runs[FIRST].info.start_time == 3000
    assert runs[VARIANT].info.end_time == runs[VARIANT].info.start_time == 1000


def test_a_training_shows_its_curves_its_cost_and_its_test(store, tmp_path):
    shown(store, tmp_path)
    client = client_of(store)
    run = runs_in(client, "s")[FIRST]
    assert curve_of(client, "loss", experiment="s") == [0.5, 0.25]
    assert run.data.metrics["test/clean.mass.dice"] == pytest.approx(0.7)
    assert run.data.metrics["cost/seconds_per_step"] == 0.1
    assert run.data.params["block.training.steps"] == "20"
    assert not {"training_cases", "patients"} & set(run.data.params)
    kept = store / "artifacts" / "s" / run.info.run_id / "artifacts"
    assert json.loads((kept / "run.json").read_text())["commit"] == "abc"


def test_a_model_shows_mean_curves_its_means_over_patients_and_how_it_differs_from_another(store, tmp_path):
    shown(store, tmp_path)
    client = client_of(store)
    model, variant = (runs_in(client, "s")[path] for path in (MODEL, VARIANT))
    assert curve_of(client, "loss", experiment="s", path=MODEL) == [0.375, 0.1875]
    assert model.data.metrics["test/clean.mass.dice"] == 0.7
    assert "test/clean.mass.hd95" not in model.data.metrics
    assert variant.data.metrics["test/clean.mass.dice"] == 0.4
    assert variant.data.params["block.settings.temperature"] == "0.0"
    assert model.data.params["block.training.learning_rate"] == "0.01"


def test_runs_are_found_by_their_tags(store, tmp_path):
    ids = shown(store, tmp_path)
    client = client_of(store)
    experiment = client.get_experiment_by_name("s").experiment_id
    for path, asked in {
        SECOND: "tags.stage = 'training' and tags.model = 'm' and tags.fold = '1' and tags.seed = '0'",
        VARIANT: "tags.stage = 'model' and tags.dataset = 'd' and tags.model = 'v'",
        "study/s": "tags.study = 's' and tags.stage = 'study' and tags.commit = 'abc'",
    }.items():
        assert [run.info.run_id for run in client.search_runs([experiment], asked)] == [ids[path]]


def test_the_dataset_is_an_input_with_its_license_and_the_hash_of_its_manifest(store, tmp_path):
    shown(store, tmp_path)
    digest = sha256_of(tmp_path / "d.manifest.tsv")
    for run in runs_in(client_of(store), "s").values():
        [used] = run.inputs.dataset_inputs
        assert used.dataset.name == "d"
        assert digest.startswith(used.dataset.digest)
        assert {("license", "CC0"), ("sha256", digest)} <= {(tag.key, tag.value) for tag in used.tags}


def test_what_is_shown_already_stays_with_its_notes(store, tmp_path):
    ids = shown(store, tmp_path)
    client_of(store).set_tag(ids[FIRST], "mlflow.note.content", "look at this one")
    assert shown(store, tmp_path) == ids
    assert runs_in(client_of(store), "s")[FIRST].data.tags["mlflow.note.content"] == "look at this one"


def test_what_changed_is_replaced_and_leaves_nothing_dead(store, tmp_path):
    before = shown(store, tmp_path)
    again = [training_in(tmp_path, record=RECORD | {"started_unix_s": 9.0}, history=HISTORY.assign(value=1.0))]
    after = shown(store, tmp_path, trainings=again)
    client = client_of(store)
    assert set(after) == set(before) - {SECOND}
    assert after[FIRST] != before[FIRST]
    assert after[VARIANT] == before[VARIANT]
    assert curve_of(client, "loss", experiment="s") == [1.0, 1.0]
    assert set(runs_in(client, "s")) == set(after)
    assert not runs_in(client, "s", deleted=True)
    assert {folder.name for folder in (store / "artifacts" / "s").iterdir()} <= {"models", *after.values()}


def test_two_studies_that_share_trainings_both_show_them(store, tmp_path):
    trainings = both_folds(tmp_path)
    one = shown(store, tmp_path, trainings=trainings)
    other = shown(store, tmp_path, trainings=trainings, study={"name": "t"})
    client = client_of(store)
    assert set(runs_in(client, "s")) == set(one)
    assert set(runs_in(client, "t")) == set(other)
    assert {FIRST, SECOND} <= set(one) & set(other)
    assert curve_of(client, "loss", experiment="s") == curve_of(client, "loss", experiment="t") == [0.5, 0.25]


def test_a_live_curve_and_its_replay_are_one_curve_in_one_run(store, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "s")
    follow = follow_live(store, PLAN, started_unix_s=RECORD["started_unix_s"])
    follow(10, {"loss": 0.5})
    follow(15, {"undefined": float("nan")})
    follow(20, {"loss": 0.25, "undefined": float("nan")})
    client = client_of(store)
    eventually(lambda: curve_of(client, "loss", experiment="s") == [0.5, 0.25])
    live = runs_in(client, "s")[FIRST]
    assert live.info.status == "RUNNING"
    assert live.data.metrics["system/process_memory_megabytes"] > 1
    assert shown(store, tmp_path)[FIRST] == live.info.run_id
    assert curve_of(client, "loss", experiment="s") == [0.5, 0.25]


def test_a_training_that_begins_anew_leaves_nothing_dead(store):
    client = client_of(store)
    for started in (1.0, 2.0):
        follow_live(store, PLAN, started_unix_s=started)(10, {"loss": started})
        eventually(lambda value=started: curve_of(client, "loss") == [value])
    assert not runs_in(client, "d", deleted=True)


def test_training_goes_on_when_the_store_is_out_of_reach(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////proc/nowhere/mlflow.db")
    follow_live(tmp_path, PLAN, started_unix_s=1.0)(10, {"loss": 1.0})
    eventually(lambda: "not shown live" in caplog.text)


def test_nested_settings_become_dotted_names():
    nested = {"a": {"b": 1}, "m": [{"name": "ct", "kind": "ct"}], "l": [1, 2]}
    assert flatten(nested) == {"a.b": "1", "m.ct.name": "ct", "m.ct.kind": "ct", "l": "[1, 2]"}


def test_the_artifacts_of_a_study_lie_in_folders(store, tmp_path):
    identity = shown(store, tmp_path)["study/s"]
    kept = store / "artifacts" / "s" / identity / "artifacts"
    assert {path.relative_to(kept).as_posix() for path in kept.rglob("*.*")} == {
        "results.md",
        "pictures/overlays/d/A.png",
    }
    assert client_of(store).get_run(identity).info.artifact_uri == f"mlflow-artifacts:/s/{identity}/artifacts"
    assert client_of(store).get_run(identity).data.params == {"name": STUDY["name"], "folds": "[0, 1]"}
