"""A study's models in MLflow's registry: each training is a version that is loaded and answers as the library does."""

import json
import shutil

import mlflow
import numpy as np
import pytest
from mlflow.models import Model
from tracked import BLOCK, PLAN, RECORD, both_folds, client_of, runs_in, shown, training_in

from diffufuse.plan.plans import load_model
from diffufuse.predict.fusing import fuse_scan
from diffufuse.predict.inference import predict_case
from diffufuse.store.scan import Scan
from diffufuse.track.interface import example_of

FIRST, SECOND = "d_fold-0_seed-0", "d_fold-1_seed-0"
NAME = "s-m"
FUSED = {"method": "display", "black": 0, "white": 1}
GAME = {
    "task": "segment",
    "architecture": "fuse4seg",
    "settings": {
        **{"leader_width": 8, "leader_blocks": 1, "leader_heads": 2, "leader_nodes": 1},
        **{"follower_widths": [8, 16], "follower_blocks": 1, "follower_layers": 1, "follower_heads": 2},
    },
    "output": "regions",
    "training": {"regimen": "bilevel", "patch": [16, 16, 1]},
}
FUSER = {"task": "fuse", "architecture": "average", "settings": {}, "output": "image", "training": {}}
SETTINGS_3D = {"channels": [4, 8, 8], "strides": [[2, 2, 1], [2, 2, 2]], "groups": 2}
VOLUME = {**BLOCK, "architecture": "unet3d", "settings": SETTINGS_3D}
VOLUME["training"] = {**BLOCK["training"], "patch": [16, 16, 4]}


def versions(store, name=NAME):
    """Alias → version of a registered model."""
    client = client_of(store)
    return {
        alias: client.get_model_version(name, version)
        for alias, version in client.get_registered_model(name).aliases.items()
    }


def names(store):
    return {model.name for model in client_of(store).search_registered_models()}


def models_in(store, study="s"):
    client = client_of(store)
    found = client.search_logged_models([client.get_experiment_by_name(study).experiment_id])
    return {model.model_id: model for model in found}


def folder_of(store, version):
    return store / "artifacts" / version.source.removeprefix("mlflow-artifacts:/")


def as_input(scan):
    return {"images": scan.images, "presence": scan.presence, "body": scan.body}


def plan_with(block, **changes):
    modalities = [{**entry, "normalization": FUSED} for entry in PLAN["modalities"]]
    return {**PLAN, "block": block, "modalities": modalities, **changes}


def test_each_training_is_a_version_of_its_model_with_its_run_and_tags(store, tmp_path):
    ids = shown(store, tmp_path)
    assert names(store) == {NAME}
    found = versions(store)
    assert set(found) == {FIRST, SECOND}
    assert [int(found[alias].version) for alias in (FIRST, SECOND)] == [1, 2]
    assert found[FIRST].run_id == ids[PLAN["path"]]
    assert {"study": "s", "model": "m", "fold": "0", "seed": "0", "license": "CC0"}.items() <= found[FIRST].tags.items()
    assert {version.source for version in found.values()} == {
        one.artifact_location for one in models_in(store).values()
    }
    assert {model.status for model in models_in(store).values()} == {"READY"}


@pytest.mark.parametrize("block", [BLOCK, VOLUME])
def test_a_loaded_model_answers_as_the_library_does(store, tmp_path, block):
    plan = {**PLAN, "block": block}
    shown(store, tmp_path, trainings=[training_in(tmp_path, plan=plan)])
    moved = shutil.move(folder_of(store, versions(store)[FIRST]), tmp_path / "moved")
    loaded = mlflow.pyfunc.load_model(str(moved))
    scan = drawn_scan(plan)
    expected = predict_case(load_model(plan, tmp_path / plan["path"] / "weights"), scan, plan)
    answer = loaded.predict(as_input(scan))
    assert list(answer) == list(expected) == ["mass", "edema"]
    for region, probability in expected.items():
        np.testing.assert_array_equal(answer[region], probability)
        assert np.ptp(probability) > 0.01


def drawn_scan(plan):
    """A scan of another size than the example, with a modality that lacks a part."""
    draw = np.random.default_rng(0)
    images = draw.gamma(2.0, 0.1, (len(plan["modalities"]), 20, 18, 5)).astype(np.float32)
    presence = np.ones(images.shape, bool)
    presence[0, :4] = False
    return Scan(images * presence, presence, np.ones(images.shape[1:], bool))


def test_a_loaded_network_that_fuses_answers_with_its_image_and_with_the_masks_of_it(store, tmp_path):
    plan = plan_with(GAME)
    shown(store, tmp_path, trainings=[training_in(tmp_path, plan=plan)])
    loaded = mlflow.pyfunc.load_model(str(folder_of(store, versions(store)[FIRST])))
    scan, network = drawn_scan(plan), load_model(plan, tmp_path / plan["path"] / "weights")
    answer = loaded.predict(as_input(scan))
    assert list(answer) == ["fused", "mass", "edema"]
    np.testing.assert_array_equal(answer["fused"], fuse_scan(network, scan, plan)[0])
    np.testing.assert_array_equal(answer["mass"], predict_case(network, scan, plan)["mass"])


def test_a_loaded_fuser_answers_with_its_image_alone(store, tmp_path):
    plan = plan_with(FUSER, regions=[])
    shown(store, tmp_path, trainings=[training_in(tmp_path, plan=plan)])
    loaded = mlflow.pyfunc.load_model(str(folder_of(store, versions(store)[FIRST])))
    scan = drawn_scan(plan)
    answer = loaded.predict(as_input(scan))
    assert list(answer) == ["fused"]
    np.testing.assert_allclose(answer["fused"][5:], scan.images[:, 5:].clip(0, 1).mean(axis=0), atol=1e-6)


def test_the_example_is_one_that_the_model_takes_and_no_patient(store, tmp_path):
    shown(store, tmp_path)
    folder = folder_of(store, versions(store)[FIRST])
    saved = Model.load(str(folder))
    example = saved.load_input_example(str(folder))
    made = as_input(example_of(PLAN))
    for name, array in made.items():
        np.testing.assert_array_equal(example[name], array)
        assert example[name].dtype == array.dtype
    probability = mlflow.pyfunc.load_model(str(folder)).predict(example)["mass"]
    assert probability.shape == made["body"].shape
    assert [entry.name for entry in saved.signature.inputs] == ["images", "presence", "body"]
    assert saved.signature.inputs.inputs[0].shape == (2, -1, -1, -1)
    assert [entry.name for entry in saved.signature.outputs] == ["mass", "edema"]


def test_a_model_of_other_modalities_is_refused(store, tmp_path):
    shown(store, tmp_path)
    loaded = mlflow.pyfunc.load_model(str(folder_of(store, versions(store)[FIRST])))
    one = {name: array[:1] for name, array in as_input(example_of(PLAN)).items()}
    with pytest.raises(mlflow.exceptions.MlflowException, match="shape"):
        loaded.predict(one)


def test_weights_take_no_room_twice_and_nothing_is_pickled(store, tmp_path):
    shown(store, tmp_path)
    folder = folder_of(store, versions(store)[FIRST])
    [weights] = folder.rglob("*.safetensors")
    assert weights.samefile(tmp_path / PLAN["path"] / "weights" / "weights.safetensors")
    assert {file.suffix for file in folder.rglob("*") if file.is_file()} <= {
        *("", ".json", ".yaml", ".txt", ".md", ".safetensors")
    }
    assert str(tmp_path) not in (folder / "MLmodel").read_text()


def test_a_card_tells_what_the_model_learned_from_and_how_it_was_tested_and_names_no_case(store, tmp_path):
    cases = {"training_cases": ["Xavier", "Yvonne"], "patients": {"Xavier": "Xavier", "Yvonne": "Yvonne"}}
    shown(store, tmp_path, trainings=[training_in(tmp_path, plan=PLAN | cases)])
    version = versions(store)[FIRST]
    card = (folder_of(store, version) / "card.md").read_text()
    assert version.description == card
    for told in ("CC0", "Nobody, 2026", "2 cases of 2 patients", "commit abc", "SUV", f"models:/{NAME}@{FIRST}"):
        assert told in card
    assert "| dice | mass | 0.7 | 2 |" in card
    assert "Xavier" not in card


def test_a_second_time_adds_nothing(store, tmp_path):
    trainings = both_folds(tmp_path)
    shown(store, tmp_path, trainings=trainings)
    before = versions(store), set(models_in(store))
    client_of(store).set_registered_model_alias(NAME, "champion", "2")
    shown(store, tmp_path, trainings=trainings)
    after = versions(store)
    assert int(after.pop("champion").version) == 2
    assert {alias: version.run_id for alias, version in after.items()} == {
        alias: version.run_id for alias, version in before[0].items()
    }
    assert [int(after[alias].version) for alias in (FIRST, SECOND)] == [1, 2]
    assert set(models_in(store)) == before[1]
    assert len(client_of(store).search_model_versions(f"name = '{NAME}'")) == 2


def test_a_training_that_changed_replaces_its_version_and_leaves_nothing_dead(store, tmp_path):
    trainings = both_folds(tmp_path)
    shown(store, tmp_path, trainings=trainings)
    before = versions(store)
    again = training_in(tmp_path, record=RECORD | {"started_unix_s": 9.0})
    ids = shown(store, tmp_path, trainings=[again, trainings[1]])
    after = versions(store)
    assert int(after[FIRST].version) == 3
    assert after[FIRST].run_id == ids[PLAN["path"]]
    assert after[SECOND].version == before[SECOND].version
    assert {int(one.version) for one in client_of(store).search_model_versions(f"name = '{NAME}'")} == {2, 3}
    kept = {version.source.split("/")[-2] for version in after.values()}
    assert set(models_in(store)) == kept
    assert {folder.name for folder in (store / "artifacts" / "s" / "models").iterdir()} == kept


def test_models_that_a_study_no_longer_has_go_and_those_of_others_stay(store, tmp_path):
    trainings = both_folds(tmp_path)
    other = training_in(tmp_path, plan={**PLAN, "path": "train/d/n/fold-0_seed-0", "model": "n"})
    shown(store, tmp_path, trainings=[*trainings, other])
    shown(store, tmp_path, trainings=trainings, study={"name": "t"})
    client_of(store).create_registered_model("somebody's")
    assert names(store) == {NAME, "s-n", "t-m", "somebody's"}
    shown(store, tmp_path, trainings=trainings[:1])
    assert names(store) == {NAME, "t-m", "somebody's"}
    assert set(versions(store)) == {FIRST}
    assert len(models_in(store)) == 1
    assert set(versions(store, "t-m")) == {FIRST, SECOND}


def test_what_a_killed_job_left_half_made_is_removed(store, tmp_path):
    trainings = both_folds(tmp_path)
    shown(store, tmp_path, trainings=trainings)
    client = client_of(store)
    tags = versions(store)[FIRST].tags
    experiment = client.get_experiment_by_name("s").experiment_id
    half = client.create_logged_model(experiment, "half", tags={"content": "x"})
    client.delete_registered_model_alias(NAME, FIRST)
    shown(store, tmp_path, trainings=trainings)
    assert half.model_id not in models_in(store)
    assert len(models_in(store)) == 2
    assert versions(store)[FIRST].tags == tags


def test_a_damaged_weight_is_refused_when_the_model_is_loaded(store, tmp_path):
    shown(store, tmp_path)
    folder = folder_of(store, versions(store)[FIRST])
    [weights] = folder.rglob("*.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.unlink()
    weights.write_bytes(content)
    with pytest.raises(Exception, match="damaged or edited"):
        mlflow.pyfunc.load_model(str(folder))


def test_runs_and_models_have_one_license(store, tmp_path):
    ids = shown(store, tmp_path)
    run = runs_in(client_of(store), "s")[PLAN["path"]]
    assert run.info.run_id == ids[PLAN["path"]]
    assert json.loads(run.inputs.dataset_inputs[0].dataset.profile)["license"] == versions(store)[FIRST].tags["license"]
