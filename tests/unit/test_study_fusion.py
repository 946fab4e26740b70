"""Fusers in a study: what models read, where that lies, and what is refused."""

import copy
import re
from dataclasses import replace

import pytest
from study_jobs import ROOT, job, study_of

from diffufuse.errors import BadInput
from diffufuse.study.check_fusion import check_reading, check_task
from diffufuse.study.cohorts import Case, Cohort
from diffufuse.study.inputs import fuses, input_modalities, needed_fusers
from diffufuse.study.study import Study
from diffufuse.study.testable import refusal_elsewhere, withholds_all

DISPLAY = {"black": 0, "white_sd": 4}
LEGS = {
    "format": "nifti",
    "modalities": {
        "pet": {"kind": "pet", "normalization": {"method": "cohort"}, "display": {"black": 0, "white": 15}},
        "ct": {"kind": "ct", "normalization": {"method": "cohort"}},
        "t1": {"kind": "mr", "normalization": {"method": "zscore"}, "display": DISPLAY},
    },
    "pair": {"structure": "t1", "function": "pet"},
    "regions": {"mass": [1]},
    "lesion": "mass",
    "spacing_mm": [2, 2, 3],
}
ATLAS = {
    "format": "pairs",
    "modalities": {name: {"kind": "picture", "display": {"black": 0, "white": 1}} for name in ("mri", "spect")},
    "pair": {"structure": "mri", "function": "spect"},
}
WITH_CT = {name: {"display": DISPLAY, **block} for name, block in LEGS["modalities"].items()}
HEADS = {
    "format": "nifti",
    "modalities": {name: LEGS["modalities"]["t1"] for name in ("t1", "flair")},
    "pair": {"structure": "t1", "function": "flair"},
    "regions": {"wt": [1]},
    "lesion": "wt",
}
BOTH = {"modalities": ["structure", "function"], "values": "display"}


def trained(task, architecture, regimen, **block):
    output = {"segment": "regions", "fuse": "image"}[task]
    training = {"regimen": regimen, "corruption": {"conditions": []}}
    return {"task": task, "architecture": architecture, "output": output, "training": training} | block


MODELS = {
    "plain": trained("segment", "convnext_unet", "supervised"),
    "game": trained("segment", "fuse4seg", "bilevel", input=BOTH),
    "mean": trained("fuse", "average", "fixed", input=BOTH),
    "leader": trained("fuse", "fuse4seg_leader", "label_free", input=BOTH),
    "mean_follower": trained("segment", "convnext_unet", "supervised", input={"fuser": "mean"}),
    "mean_follower_scaled": {"task": "segment", "predictions_of": "mean_follower", "scaling": "temperature"},
    "game_scaled": {"task": "segment", "predictions_of": "game", "scaling": "temperature"},
    "two": trained("segment", "convnext_unet", "supervised", input=BOTH),
    "pet_alone": trained("segment", "convnext_unet", "supervised", input={**BOTH, "modalities": ["function"]}),
    "pet_and_ct": trained("fuse", "average", "fixed", input={**BOTH, "modalities": ["pet", "ct"]}),
}
RUN = {"fold": "0", "seed": "3"}


def study(*models, datasets=("legs",), transfers=("atlas",)):
    config = {
        "seed": 1,
        "study": {
            "name": "fusion",
            "datasets": list(datasets),
            "transfers": list(transfers),
            "conditions": ["clean", "no-pet"],
            "models": list(models),
            "folds": [0],
            "seeds": [3],
            "metrics": ["dice"],
        },
        "datasets": {"legs": LEGS, "atlas": ATLAS, "heads": HEADS},
        "conditions": {"clean": {}, "no-pet": {"absent": ["pet"]}},
        "models": MODELS,
    }
    sheets = {
        "legs": Cohort(
            tuple(Case(f"L-{n}", f"L{n}", *role, site="") for n, role in enumerate([(0, None), (1, 0), (2, 1)]))
        ),
        "atlas": Cohort(tuple(Case(f"A-{n}", f"A{n}", 0, None, site="") for n in range(2))),
        "heads": Cohort((Case("H-0", "H0", None, None, site=""),)),
    }
    return Study(config, {name: sheets[name] for name in (*datasets, *transfers)}, code=None)


# What a model reads.


def test_a_role_is_the_modality_that_the_dataset_names_in_the_model_s_order():
    block = {"input": {"modalities": ["function", "structure", "ct"]}}
    assert list(input_modalities("m", block, "legs", LEGS)) == ["pet", "t1", "ct"]
    assert list(
        input_modalities(
            "m",
            {"input": {"modalities": ["function"]}},
            "atlas",
            ATLAS | {"modalities": {"spect": {"kind": "picture", "normalization": {"method": "log"}}}},
        )
    ) == ["spect"]


def test_without_an_input_all_modalities_are_read_as_they_are_normalized():
    read = input_modalities("m", {}, "legs", LEGS)
    assert {name: block["normalization"]["method"] for name, block in read.items()} == {
        "pet": "cohort",
        "ct": "cohort",
        "t1": "zscore",
    }


def test_on_the_display_scale_black_and_white_are_the_dataset_s():
    read = input_modalities("m", {"input": BOTH}, "legs", LEGS)
    assert read["t1"] == {"kind": "mr", "normalization": {"method": "display", **DISPLAY}}
    assert read["pet"]["normalization"] == {"method": "display", "black": 0, "white": 15}


def test_a_fused_image_is_one_modality_whatever_the_dataset():
    ((name, block),) = input_modalities("m", {"input": {"fuser": "mean"}}, "legs", LEGS).items()
    assert (name, block["kind"], block["normalization"]["white"]) == ("fused", "fused", 1)


@pytest.mark.parametrize(
    ("asked", "dataset", "told"),
    [
        (
            {"modalities": ["flair"]},
            LEGS,
            "'flair' is not a modality of legs; known are: pet, ct, t1, structure, function",
        ),
        ({"modalities": ["structure"]}, {**LEGS, "pair": {}}, "names its structure, but legs has no `pair`"),
        ({"modalities": ["t1", "structure"]}, LEGS, "expected each modality of legs once, got t1, t1"),
        ({"modalities": ["ct", "t1"], "values": "display"}, LEGS, "but ct has none; add it"),
        ({"modalities": ["structure"]}, ATLAS, "expected display, as mri of legs is read in gray levels alone"),
    ],
)
def test_what_a_dataset_does_not_have_is_refused(asked, dataset, told):
    with pytest.raises(BadInput, match=re.escape(told)):
        input_modalities("m", {"input": asked}, "legs", dataset)


def test_a_game_and_a_fuser_fuse_and_a_segmenter_of_fused_images_does_not():
    assert {name for name, block in MODELS.items() if fuses(block)} == {"game", "mean", "leader", "pet_and_ct"}
    assert needed_fusers(["mean_follower", "two", "mean_follower"], MODELS) == ["mean"]


# Where it lies.


def test_a_fuser_is_trained_for_the_segmenter_that_reads_its_images():
    assert study("mean_follower_scaled").trained == ["mean", "mean_follower"]
    assert study("two", "game").trained == ["game", "two"]


def test_a_segmenter_of_fused_images_reads_what_the_fuser_of_its_own_fold_and_seed_made():
    prepared = study("mean_follower").prepared
    learned = prepared.learned_from(job(dataset="legs", model="mean_follower", **RUN))
    folder = "results/predict/legs/{}/clean/legs/mean/fold-0_seed-3"
    assert learned == [folder.format("training"), folder.format("validation")]
    tested = job(dataset="legs", trained_on="legs", part="test", condition="no-pet", model="mean_follower", **RUN)
    assert prepared.read_in_part(tested) == ["results/predict/legs/test/no-pet/legs/mean/fold-0_seed-3"]
    assert prepared.in_part(tested) == ["results/prepare/legs/case_lists/test-0.json"]


def test_a_fold_that_validates_on_no_case_asks_for_no_fused_image_of_one():
    """Such a folder would be empty, and is taken for a damaged one."""
    asked, fold = study("mean_follower"), {"fold": "1", "seed": "3"}
    cohort = Cohort(tuple(replace(case, validates=None) for case in asked.cohorts["legs"].cases))
    prepared = replace(asked, cohorts={"legs": cohort}).prepared
    learned = prepared.learned_from(job(dataset="legs", model="mean_follower", **fold))
    assert learned == ["results/predict/legs/training/clean/legs/mean/fold-1_seed-3"]
    validated = job(dataset="legs", trained_on="legs", part="validation", condition="clean", model="mean_follower")
    assert prepared.read_in_part(job(**dict(validated.items()), **fold)) == []


def test_no_fused_image_that_is_learned_from_is_of_a_case_that_the_fuser_or_the_segmenter_is_tested_on():
    asked = study("mean_follower")
    parts = {
        part: set(asked.cases_in(job(dataset="legs", part=part, model="mean", **RUN)))
        for part in ("training", "validation", "test")
    }
    assert not parts["test"] & (parts["training"] | parts["validation"])
    assert asked.cases_trained_on(job(dataset="legs", **RUN)) == sorted(parts["training"])


def test_the_condition_is_applied_once_by_the_fuser():
    parameters = study("mean_follower", "two").parameters
    assert parameters.condition(job(dataset="legs", condition="no-pet", model="mean_follower")) == {}
    assert parameters.condition(job(dataset="legs", condition="no-pet", model="mean")) == {"absent": ["pet"]}
    assert parameters.condition(job(dataset="legs", condition="no-pet", model="two")) == {"absent": ["pet"]}


def test_a_set_of_pairs_has_one_record_for_all_its_cases():
    prepared = study("mean", datasets=["atlas"], transfers=[]).prepared
    assert prepared.all(job(dataset="atlas")) == ["results/prepare/atlas/pairs.json"]


def test_a_fuser_is_tested_on_another_pair_role_by_role_and_a_segmenter_is_not():
    asked = study("mean", "two")
    assert asked.transfer_tests("{dataset} {trained_on} {model}") == ["atlas legs mean"]
    elsewhere = job(dataset="atlas", trained_on="legs", part="test", condition="clean", model="mean", **RUN)
    assert asked.cases_in(elsewhere) == ["A-0", "A-1"]
    settings = asked.parameters.transfer_settings(elsewhere)
    assert list(settings["modalities"]) == ["mri", "spect"]
    assert asked.parameters.sources(elsewhere) == settings["modalities"]
    with pytest.raises(BadInput, match="No labels: pairs of images are fused"):
        asked.cases_in(job(**{**dict(elsewhere.items()), "model": "two"}))


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("two", None),
        ("game", None),
        ("mean", None),
        ("pet_alone", "No modality is shared: pet_alone reads pet, the cases have t1, flair."),
        ("mean_follower", "mean_follower reads images that are fused of the pair of legs."),
        ("mean_follower_scaled", "mean_follower_scaled reads images that are fused of the pair of legs."),
        ("pet_and_ct", "pet_and_ct fuses pet and ct, not the pair of legs."),
    ],
)
def test_a_model_is_tested_on_another_dataset_by_what_it_reads_or_not_at_all(model, told):
    """Asked for nevertheless, its cases would lack what it reads after hours of training."""
    asked = study(model, transfers=["heads"])
    assert refusal_elsewhere(model, "legs", "heads", asked.config) == told
    assert asked.transfer_tests("{dataset} {trained_on} {model}") == ([] if told else [f"heads legs {model}"])
    elsewhere = job(dataset="heads", trained_on="legs", part="test", condition="clean", model=model, **RUN)
    if told:
        with pytest.raises(BadInput, match=re.escape(f"legs is not tested on heads. {told}")):
            asked.cases_in(elsewhere)
    else:
        assert asked.cases_in(elsewhere) == ["H-0"]


@pytest.mark.parametrize(
    ("condition", "model", "read"),
    [
        ({"absent": ["pet"]}, "pet_alone", ["pet"]),
        ({"absent": ["pet"]}, "two", []),
        ({"present": ["ct"]}, "two", ["t1", "pet"]),
        ({"present": ["ct"]}, "mean_follower_scaled", ["t1", "pet"]),
        ({"present": ["ct"]}, "plain", []),
        ({}, "pet_alone", []),
    ],
)
def test_a_condition_can_withhold_all_that_a_model_reads(condition, model, read):
    assert withholds_all(condition, model, "legs", study(model).config) == read


def test_what_only_labels_or_a_grid_could_give_is_refused_of_pairs():
    asked = study("mean", "two", datasets=["atlas"], transfers=[])
    one = {"dataset": "atlas", "trained_on": "atlas", **RUN}
    assert asked.parameters.learned(job(model="mean", **one)) == {}
    for ask in (asked.parameters.learned, asked.parameters.regions_tested):
        with pytest.raises(BadInput, match="two: expected a dataset with labels, but atlas is a set of pairs"):
            ask(job(model="two", **one))
    with pytest.raises(BadInput, match=r"ask for results/prepare/atlas/pairs\.json"):
        asked.parameters.registration(job(dataset="atlas", case="A-0"))


def test_a_model_that_scales_the_probabilities_of_a_game_has_no_fused_images_of_its_own():
    one = {"dataset": "legs", "trained_on": "legs", "condition": "clean", **RUN}
    asked = study("game", "game_scaled")
    assert list(asked.parameters.sources(job(model="game", **one))) == ["t1", "pet"]
    assert asked.parameters.sources(job(model="game_scaled", **one)) is None


def test_a_fuser_has_no_regions_and_no_calibration():
    asked, one = study("mean", "two"), {"dataset": "legs", "trained_on": "legs", **RUN}
    assert asked.parameters.learned(job(model="mean", **one)) == {}
    assert asked.parameters.regions_tested(job(model="mean", **one)) == {}
    assert asked.calibrated_run(job(model="mean", **one)) == []
    assert asked.calibrated_run(job(model="two", **one)) == ["two/fold-0_seed-3"]
    assert (asked.segmenting, asked.fusing) == (["two"], ["mean"])


# What is refused.


@pytest.mark.parametrize(
    ("model", "changes", "told"),
    [
        ("mean_follower", {"input": {"fuser": "means"}}, "got 'means' for mean_follower, did you mean 'mean'?"),
        ("mean_follower", {"input": {"fuser": "two"}}, "expected a segmenter that reads the image of a trained fuser"),
        ("mean", {"input": {"fuser": "leader"}}, "expected a segmenter that reads the image of a trained fuser"),
        ("mean", {"output": "regions"}, "models.mean.output: expected image with `task: fuse`, got regions"),
        ("two", {"output": "image"}, "models.two.output: expected regions or labels with `task: segment`"),
        ("mean_follower_scaled", {"task": "fuse"}, "expected segment, as its source has, got fuse"),
        ("game", {"input": {"modalities": ["t1", "pet"]}}, "expected two modalities with `values: display` to fuse"),
        ("leader", {"input": {**BOTH, "modalities": ["t1"]}}, "expected two modalities with `values: display` to fuse"),
    ],
)
def test_a_model_that_is_not_what_it_says_is_refused(model, changes, told, monkeypatch):
    monkeypatch.setattr("diffufuse.study.check_fusion._check_architecture", lambda *_: None)
    models = copy.deepcopy(MODELS)
    models[model] |= changes
    check_task("two", MODELS, code=None)
    with pytest.raises(BadInput, match=re.escape(told)):
        check_task(model, models, code=None)


@pytest.mark.parametrize("asked", [["function", "structure"], ["pet", "t1"], ["function", "t1"]])
def test_a_fuser_that_takes_the_function_for_the_structure_is_refused(asked):
    """A pair would get the colors of its structure, and the channels of a leader would be exchanged elsewhere."""
    config = {"datasets": {"legs": LEGS}, "models": copy.deepcopy(MODELS)}
    config["models"]["mean"]["input"] = {"modalities": asked, "values": "display"}
    config["models"]["two"]["input"] = {"modalities": asked, "values": "display"}
    check_reading(["two", "pet_and_ct"], ["legs"], config | {"datasets": {"legs": {**LEGS, "modalities": WITH_CT}}})
    with pytest.raises(BadInput, match="expected the structure, t1 in legs, before the function, pet, whose color"):
        check_reading(["mean"], ["legs"], config)


def test_a_condition_that_leaves_a_model_nothing_is_refused_unless_the_model_is_not_tested_under_it(monkeypatch):
    monkeypatch.chdir(ROOT)
    chosen = {"conditions": ["clean", "no-pet"], "models": ["convnext_unet_small", "convnext_unet_small_function"]}
    chosen |= {"compare_with": "convnext_unet_small", "only": {}}
    with pytest.raises(BadInput, match="no-pet withholds pet, all that convnext_unet_small_function reads of sts_ibsi"):
        study_of("fusion_sts", **chosen)
    study_of("fusion_sts", **chosen | {"only": {"convnext_unet_small_function": ["clean"]}})


def test_a_segmenter_on_pairs_without_labels_is_refused():
    config = {"datasets": {"legs": LEGS, "atlas": ATLAS}, "models": MODELS}
    check_reading(["mean", "game"], ["legs"], config)
    check_reading(["mean", "leader"], ["atlas"], config)
    with pytest.raises(BadInput, match="two learns regions, but atlas is a set of pairs without labels"):
        check_reading(["mean", "two"], ["atlas"], config)
