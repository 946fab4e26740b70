"""What a checked study answers to the rules, on the repository's own studies and on a small made-up one."""

import functools
import re
from collections import Counter
from dataclasses import replace
from itertools import product

import pytest
import yaml
from study_jobs import ROOT, RULES, configuration, job, study_of

from diffufuse.errors import BadInput
from diffufuse.study.cohorts import Case, Cohort
from diffufuse.study.members import (
    CORRUPTIONS,
    FIGURES,
    FORMATS,
    JOINED,
    MODELS,
    PICTURES,
    REGISTRIES,
    REMOVALS,
    SOURCES,
    TABLES,
    members_of,
)
from diffufuse.study.read import read_study
from diffufuse.study.study import Study

STUDIES = ("phantom", "sts_ibsi")
RUN = {"fold": "0", "seed": "0"}
TEST = "{dataset}/{condition}/{model}/{fold}/{seed}"
TRANSFER = "{dataset}/{trained_on}/{model}/{fold}/{seed}"
TRAINING = "{dataset}/{model}/{fold}/{seed}"


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    """Cohort sheets are read below the working directory."""
    monkeypatch.chdir(ROOT)


@functools.cache
def read_once(name):
    return study_of(name)


@pytest.fixture(params=STUDIES)
def real(request):
    return read_once(request.param)


def cohort(letter, *roles):
    """A cohort of cases A-0, A-1, ... from their folds of test and validation."""
    return Cohort(tuple(Case(f"{letter}-{n}", f"{letter}{n}", *role, site="") for n, role in enumerate(roles)))


def dataset(*modalities, **block):
    kinds = {name: {"kind": name if name in ("ct", "pet") else "mr"} for name in modalities}
    return {
        "format": "nifti",
        "modalities": kinds,
        "lesion": "mass",
        "regions": {"edema": [2], "mass": [1]},
        "spacing_mm": [1, 1, 2],
    } | block


def small(**asked):
    """Two datasets and three to transfer to, of which one can be scored; a model, its variant, and one that scales."""
    config = {
        "seed": 5,
        "study": {
            "name": "small",
            "datasets": ["legs", "arms"],
            "transfers": ["brains", "organs", "sounds"],
            "conditions": ["clean", "no-ct", "noise"],
            "models": ["net", "net_variant", "net_scaled"],
            "only": {"net_scaled": ["clean"], "net_variant": ["noise", "clean"]},
            "folds": [0, 1],
            "seeds": [0, 3],
            "metrics": ["dice"],
        }
        | asked,
        "datasets": {
            "legs": dataset("ct", "t1"),
            "arms": dataset("ct", no_lesion="Only bones."),
            "brains": dataset("t1", lesion="wt", regions={"tc": [1], "wt": [1, 2]}, spacing_mm=[2, 2, 2]),
            "organs": dataset("ct", no_lesion="Only organs."),
            "sounds": dataset("us"),
        },
        "conditions": {
            "clean": {},
            "no-ct": {"absent": ["ct"]},
            "noise": {"corruption": "gaussian_noise"},
            "gain": {"corruption": "gain", "after": "normalization"},
        },
        "models": {
            "net": {
                "task": "segment",
                "architecture": "unet2d",
                "training": {"regimen": "supervised", "corruption": {"conditions": ["noise"]}},
            },
            "net_variant": {"task": "segment", "weights_of": "net", "settings": {"gates": 0}, "samples": 8},
            "net_scaled": {"task": "segment", "predictions_of": "net_variant", "scaling": "temperature"},
            "other_scaled": {"task": "segment", "predictions_of": "net"},
        },
    }
    for block in config["datasets"].values():
        if "no_lesion" in block:
            del block["lesion"]
    cohorts = {
        "legs": cohort("L", (0, 1), (1, 0), (0, None), (None, None)),
        "arms": cohort("A", (0, None), (1, None)),
        "brains": cohort("B", (None, None), (None, None)),
    }
    return Study(config, cohorts, code=None)


# Cases.


def test_the_parts_of_a_fold_are_all_cases_once(real):
    for name in real.datasets:
        for fold in real.folds:
            wildcards = {"dataset": name, "trained_on": name, "fold": str(fold), "condition": "clean"}
            parts = [real.cases_in(job(part=part, **wildcards)) for part in ("test", "validation", "training")]
            assert sorted(case for part in parts for case in part) == sorted(real.cohorts[name].names)
            assert all(parts), "a fold of a real study tests, validates and trains"
            assert real.cases_trained_on(job(**wildcards)) == parts[2]


def test_the_cases_of_a_part_are_those_of_the_sheet():
    study, fold = small(), {"dataset": "legs", "trained_on": "legs", "condition": "clean", "fold": "0"}
    assert study.cases_in(job(part="test", **fold)) == ["L-0", "L-2"]
    assert study.cases_in(job(part="validation", **fold)) == ["L-1"]
    assert study.cases_in(job(part="training", **fold)) == ["L-3"]


def test_a_calibration_names_no_part_and_gets_the_validation_cases():
    assert small().cases_in(job(dataset="legs", model="net", **RUN)) == ["L-1"]


def test_no_case_is_tested_twice(real):
    for name in real.datasets:
        tested = real.all_cases_tested(job(dataset=name))
        assert len(set(tested)) == len(tested)


def test_every_case_stands_once_with_its_dataset_transfers_after_the_study_s_own(real):
    assert max(Counter(real.cases).values()) == 1
    assert [name for name, _ in real.cases] == [name for name, group in real.cohorts.items() for _ in group.names]
    assert list(real.cohorts)[: len(real.datasets)] == real.datasets
    assert real.cases_of(job(dataset=real.datasets[0])) == real.cohorts[real.datasets[0]].names


# Transfer.


def transferred(**changes):
    wildcards = {"part": "test", "condition": "clean", "dataset": "brains", "trained_on": "legs", "model": "net"}
    return job(**wildcards | RUN | changes)


def test_a_model_tests_all_cases_of_another_dataset():
    assert small().cases_in(transferred()) == ["B-0", "B-1"]
    assert small().cases_in(transferred(condition="noise")) == ["B-0", "B-1"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"part": "validation"},
            "legs is not tested on brains. All of its cases are test cases; ask for the part test",
        ),
        ({"part": "training"}, "ask for the part test, not training"),
        ({"condition": "gain"}, "legs is not tested on brains. gain acts on normalized images; choose another"),
        ({"trained_on": "arms"}, "arms is not tested on brains. The model learned no lesion. Only bones."),
        ({"dataset": "arms"}, "legs is not tested on arms. Only bones."),
    ],
)
def test_a_test_without_a_meaning_is_refused_with_the_reason(changes, told):
    with pytest.raises(BadInput, match=re.escape(told)):
        small().cases_in(transferred(**changes))


def test_a_transfer_that_shares_no_modality_is_refused_with_what_there_is():
    study = small()
    study.cohorts["sounds"] = cohort("S", (None, None))
    with pytest.raises(BadInput, match="the model learned from ct, t1, the cases have us"):
        study.cases_in(transferred(dataset="sounds"))


def test_the_transfers_are_the_cohorts_that_the_study_does_not_train_on(real):
    assert set(real.transfers) | set(real.datasets) == set(real.cohorts)
    assert not set(real.transfers) & set(real.datasets)


def test_the_real_study_is_tested_on_gliomas_and_not_on_organs():
    study = read_once("sts_ibsi")
    assert study.transfers == ["msd_brats", "brats"]
    assert {path.split("/")[0] for path in study.transfer_tests(TRANSFER)} == {"msd_brats", "brats"}


# Runs and tests.


def test_runs_are_the_product_of_datasets_trained_models_folds_and_seeds(real):
    runs = real.runs(TRAINING)
    assert set(runs) == {
        f"{one}/{model}/{fold}/{seed}"
        for one, model, fold, seed in product(real.datasets, real.trained, real.folds, real.seeds)
    }
    assert len(set(runs)) == len(runs)
    assert real.first_runs(TRAINING) == [run for run in runs if run.endswith(f"/{real.folds[0]}/{real.seeds[0]}")]


def test_runs_of_other_models_are_those_asked_for():
    assert small(folds=[1], seeds=[0]).runs(TRAINING, ["net_scaled"]) == ["legs/net_scaled/1/0", "arms/net_scaled/1/0"]


def test_only_models_that_are_used_are_trained_each_once():
    assert small().trained == ["net"]
    assert small().predicting == ["net", "net_variant"]
    assert small().scaling == ["net_scaled", "other_scaled"]
    assert small(models=["net_scaled"]).trained == ["net"]
    assert small(models=["net_scaled"]).predicting == []


def test_a_model_that_scales_uses_the_predictions_of_one_and_the_weights_of_another():
    study, scaled = small(), job(dataset="legs", model="net_scaled", **RUN)
    assert (study.predicted_as("net_scaled"), study.trained_as("net_scaled")) == ("net_variant", "net")
    assert study.scaled_run(scaled) == "net_variant/fold-0_seed-0"
    assert study.trained_run(scaled) == "legs/net/fold-0_seed-0"
    assert study.scaled_run(job(dataset="legs", model="net", **RUN)) == "net/fold-0_seed-0"


def test_the_weights_for_another_dataset_are_those_of_where_the_model_was_trained():
    assert small().trained_run(transferred(fold="1", seed="3")) == "legs/net/fold-1_seed-3"


def test_only_limits_a_model_to_its_conditions_in_the_study_s_order():
    study = small()
    assert study.conditions_of("net") == ["clean", "no-ct", "noise"]
    assert study.conditions_of("net_variant") == ["clean", "noise"]
    assert study.conditions_of("net_scaled") == ["clean"]


def test_only_may_name_conditions_of_another_study():
    assert small(conditions=["clean"]).conditions_of("net_variant") == ["clean"]


def test_every_model_is_tested_under_its_conditions_at_home():
    study = small()
    tests = study.tests(TEST)
    assert len(tests) == len(set(tests)) == 2 * 2 * 2 * (3 + 2 + 1)
    assert "legs/no-ct/net/1/3" in tests
    assert "legs/no-ct/net_variant/1/3" not in tests


def test_every_run_of_a_real_study_is_tested_clean(real):
    tests = set(real.tests(TEST))
    for name, model, fold, seed in product(real.datasets, real.models, real.folds, real.seeds):
        assert f"{name}/clean/{model}/{fold}/{seed}" in tests


def test_transfers_test_the_models_without_an_only_where_a_score_has_a_meaning():
    assert set(small().transfer_tests(TRANSFER)) == {
        f"brains/legs/net/{fold}/{seed}" for fold, seed in product((0, 1), (0, 3))
    }
    assert small(transfers=[]).transfer_tests(TRANSFER) == small().transfer_tests(TRANSFER)


def test_an_only_of_the_default_study_that_leaves_out_no_condition_leaves_out_no_transfer():
    """A study is laid over the default one, whose `only` names the average, and has no other condition than clean."""
    study = study_of("fusion_harvard", only={"average": ["clean"]})
    tested = {path.split()[1] for path in study.transfer_tests("{dataset} {model}")}
    assert "average" in tested
    assert tested == set(study.models)
    pictures = [name.split("/")[1] for name in study.pictures.names if name.startswith("fused/harvard_ct_mri")]
    assert pictures
    assert study.pictures._fusing("harvard_ct_mri") == study.models


def test_a_study_without_transfers_tests_at_home_alone():
    study = read_once("phantom")
    assert study.transfers == study.transfer_tests(TRANSFER) == []


# What each stage reads of a block: a change elsewhere in it must not rerun the stage.

SETTINGS = {
    "reading": (
        *("format", "reference", "annotation", "labels", "kind", "series", "file", "channel", "fill_gaps"),
        *("partial", "follows", "aligned"),
    ),
    "geometry": ("kind", "follows", "bias_correction"),
    "registration": ("reference", "spacing_mm", "registration"),
    "appearance": ("kind", "normalization"),
    "contrast": ("kind", "like"),
    "regions_tested": ("regions",),
}


@pytest.mark.parametrize("question", SETTINGS)
@pytest.mark.parametrize("name", ["phantom", "sts_ibsi", "sts", "msd_brats"])
def test_a_stage_reads_its_own_keys_of_a_dataset_and_no_others(question, name):
    before = configuration()

    def answer(config):
        return getattr(Study(config, {}, code=None).parameters, question)(job(dataset=name, model="unet2d_tiny"))

    def edited(key, modality=None):
        config = configuration()
        block = config["datasets"][name]
        (block["modalities"][modality] if modality else block)[key] = {"edited": [0]}
        return answer(config)

    block = before["datasets"][name]
    for key in block.keys() - {"modalities"}:
        assert (edited(key) != answer(before)) is (key in SETTINGS[question]), key
    for modality, settings in block["modalities"].items():
        for key in settings:
            reads = key in SETTINGS[question] and question != "registration"
            assert (edited(key, modality) != answer(before)) is reads, (modality, key)


def test_modalities_keep_the_order_of_channels_and_a_key_that_is_absent_stays_so():
    found = small().parameters.modalities("legs", ("kind", "follows"))
    assert list(found.items()) == [("ct", {"kind": "ct"}), ("t1", {"kind": "mr"})]


def test_registration_is_rigid_without_limits_unless_a_block_says_otherwise():
    study = small()
    study.config["datasets"]["legs"]["reference"] = "t1"
    asked = {"reference": "t1", "spacing_mm": [1, 1, 2], "transform": "rigid", "gate": {}}
    assert study.parameters.registration(job(dataset="legs")) == asked
    study.config["datasets"]["legs"]["registration"] = {"transform": "affine"}
    assert study.parameters.registration(job(dataset="legs")) == asked | {"transform": "affine"}


def test_a_training_knows_the_conditions_that_it_learns_from_and_no_others():
    learned = small().parameters.conditions_learned(job(dataset="legs", model="net"))
    assert learned == {"noise": {"corruption": "gaussian_noise"}}


def test_a_variant_differs_by_settings_and_samples_at_test_time_alone():
    assert small().parameters.test_settings(job(model="net_variant")) == {"settings": {"gates": 0}, "samples": 8}
    assert small().parameters.test_settings(job(model="net")) == {"settings": {}, "samples": 1}


def test_a_case_of_another_dataset_is_shown_in_the_trained_dataset_s_voxels_and_lesion():
    study = small()
    assert study.parameters.transfer_settings(transferred(dataset="legs")) is None
    assert study.parameters.transfer_settings(transferred()) == {
        "modalities": {"t1": {"kind": "mr"}},
        "spacing_mm": [1, 1, 2],
        "learned": "mass",
        "lesion": "wt",
    }


def test_all_regions_are_tested_at_home_and_the_lesion_elsewhere():
    study = small()
    regions = {"tc": [1], "wt": [1, 2]}
    assert study.parameters.regions_tested(job(dataset="brains", trained_on="brains", model="net")) == regions
    assert study.parameters.regions_tested(job(dataset="brains", model="net")) == regions
    assert study.parameters.regions_tested(transferred()) == {"wt": [1, 2]}


# Report.


def test_the_report_of_another_study_is_refused_with_the_command_that_fills_it():
    with pytest.raises(BadInput) as told:
        small().refuse_other(job(other_study="sts_ibsi", file="tables/transfer.md"))
    assert str(told.value) == (
        "results/report/sts_ibsi/tables/transfer.md: expected a file of the study small, which this run computes; for "
        "the study sts_ibsi run `snakemake --configfile config/sts_ibsi.yaml -- "
        "results/report/sts_ibsi/tables/transfer.md`."
    )


def test_joining_takes_the_study_s_metrics_and_knows_whose_weights_are_used():
    trained_as = {"net": "net", "net_variant": "net", "net_scaled": "net"}
    assert small().parameters.joining == {"metrics": ["dice"], "trained_as": trained_as}


def test_no_word_that_describes_a_dataset_reaches_a_table(real):
    told = ("title", "license", "shareable", "terms", "citation", "source")
    blocks = real.parameters.context["datasets"]
    assert blocks
    assert not [(name, key) for name, block in blocks.items() for key in told if key in block]
    for name, block in blocks.items():
        assert block == {key: value for key, value in real.config["datasets"][name].items() if key not in told}


def test_tables_compare_with_the_first_model_unless_another_is_named():
    assert small().parameters.context["compare_with"] == "net"
    assert small(compare_with="net_variant").parameters.context["compare_with"] == "net_variant"


def test_tables_know_the_transfers_that_were_refused_too_so_that_they_can_say_why():
    study = small()
    assert study.parameters.context["transfers"] == ["brains", "organs", "sounds"]
    assert set(study.parameters.context["datasets"]) == set(study.config["datasets"])
    assert set(study.parameters.context["conditions"]) == {"clean", "no-ct", "noise"}


# Code.


def test_the_code_of_fetched_files_does_not_count_as_each_has_a_hash():
    study = read_once("sts_ibsi")
    assert study.code_of_source(job(dataset="sts_ibsi")) == ""
    assert study.code_of_source(job(dataset="phantom")) == study.code_of("fetch_dataset.py")(job(dataset="phantom"))


@pytest.mark.parametrize(
    ("wildcards", "expected"),
    [
        ({"dataset": "sts_ibsi"}, {SOURCES: ["archive"], FORMATS: ["nifti"], CORRUPTIONS: []}),
        ({"dataset": "phantom", "case": "PH-001"}, {SOURCES: ["phantom"], FORMATS: ["dicom"], MODELS: None}),
        ({"model": "unet2d_tiny"}, {MODELS: ["unet2d"]}),
        ({"model": "diffufusemed_small_sampled"}, {MODELS: ["diffufusemed"]}),
        ({"model": "transbts_small_scaled"}, {MODELS: ["transbts"]}),
        ({"model": "unet2d_small_plain"}, {CORRUPTIONS: [], REMOVALS: []}),
        (
            {"model": "unet2d_small_scaled"},
            {CORRUPTIONS: ["gaussian_noise", "rician_noise", "poisson_noise", "motion_blur", "drift"]},
        ),
        ({"model": "unet2d_tiny", "condition": "bias"}, {CORRUPTIONS: ["bias_field"]}),
        ({"model": "unet2d_tiny", "condition": "clean"}, {CORRUPTIONS: []}),
        ({"model": "unet2d_tiny", "condition": "no-pet"}, {CORRUPTIONS: []}),
        ({"model": "unet2d_tiny", "condition": "missing-slices"}, {REMOVALS: ["missing_slices"]}),
        ({"study": "sts_ibsi", "figure": "roc"}, {FIGURES: ["roc"]}),
        ({"study": "sts_ibsi", "table": "seeds"}, {TABLES: ["seeds"], FIGURES: None}),
        ({"study": "sts_ibsi", "joined": "runs"}, {JOINED: ["runs"]}),
        ({"picture": "gallery", "dataset": "sts_ibsi", "subject": "cases"}, {PICTURES: ["gallery"], CORRUPTIONS: []}),
        ({"picture": "conditions", "dataset": "sts_ibsi", "subject": "streaks"}, {CORRUPTIONS: ["streaks"]}),
        (
            {"picture": "overlays", "dataset": "sts_ibsi", "subject": "multi_encoder_small/STS-001"},
            {CORRUPTIONS: ["gaussian_noise", "kspace_motion"]},
        ),
    ],
)
def test_wildcards_name_the_members_that_count(wildcards, expected):
    found = members_of(read_once("sts_ibsi"), job(**wildcards))
    assert set(found) == set(REGISTRIES)
    assert {name: keys and list(dict.fromkeys(keys)) for name, keys in found.items() if name in expected} == expected


def test_the_page_of_results_counts_the_tables_of_its_study():
    assert members_of(study_of(tables=["seeds"]), job(study="phantom"))[TABLES] == ["seeds"]


# Reading.


def test_all_studies_share_one_seed():
    for name in STUDIES:
        assert read_once(name).seed == configuration()["seed"]
    with pytest.raises(BadInput, match=r"seed: expected 1 as in config/config.yaml, got 2; .* set study.seeds\."):
        read_study(configuration() | {"seed": 2}, ROOT)


def test_no_study_s_file_sets_a_seed():
    files = [path for path in (ROOT / "config").glob("*.yaml") if path.name != "config.yaml"]
    assert files
    assert not [path for path in files if "seed" in yaml.safe_load(path.read_text())]


def test_a_study_stays_as_it_was_read_whatever_becomes_of_the_configuration():
    config = configuration()
    study = read_study(config, ROOT)
    config["study"]["models"].append("nonsense")
    config["datasets"]["phantom"]["regions"]["mass"].append(7)
    assert "nonsense" not in study.models
    assert study.parameters.regions_tested(job(dataset="phantom", model="unet2d_tiny")) == {"mass": [1]}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: c["study"].update(modells=[]), r"config.study: .*'modells' was unexpected"),
        (lambda c: c["models"]["unet2d_tiny"]["training"].update(steps="many"), r"models.unet2d_tiny.training"),
        (lambda c: c["datasets"]["phantom"].pop("format"), r"datasets.phantom: 'format' is a required property"),
        (lambda c: c["conditions"]["bias"].update(severity=1), r"conditions.bias: .*'severity' was unexpected"),
        (lambda c: c["study"].update(models=["unet3000"]), r"study.models: 'unet3000' is not in config/models.yaml"),
    ],
    ids=["config", "models", "datasets", "conditions", "names"],
)
def test_every_part_is_checked_when_it_is_read(change, told):
    config = configuration()
    change(config)
    with pytest.raises(BadInput, match=told):
        read_study(config, ROOT)


def test_the_rules_ask_only_what_a_study_answers():
    asked = set(re.findall(r"STUDY\.(pictures\.\w+|\w+)", RULES))
    assert len(asked) > 20
    study = small()
    for name in asked:
        holder = study.pictures if name.startswith("pictures.") else study
        assert hasattr(type(holder), name.removeprefix("pictures.")) or hasattr(holder, name.removeprefix("pictures."))


def test_a_study_answers_nothing_that_no_rule_and_no_part_of_it_asks():
    rest = RULES + "".join(path.read_text() for path in (ROOT / "src" / "diffufuse" / "study").glob("*.py"))
    names = [name for name in vars(Study) if not name.startswith("_") and name not in ("config", "cohorts", "code")]
    assert [name for name in names if not re.search(rf"(STUDY|self|study)\.{name}\b", rest)] == []


def test_no_two_rules_write_one_log_unless_they_write_one_output():
    logs, outputs = {}, {}
    for block in re.split(r"^rule (?=\w+:)", RULES, flags=re.M)[1:]:
        rule = block.split(":")[0]
        told = {word: re.search(rf"^    {word}:\n((?:        .*\n)+)", block, flags=re.M) for word in ("log", "output")}
        if told["log"]:
            paths = {word: found and re.findall(r'"(results/[^"]+)"', found[1]) for word, found in told.items()}
            outputs[rule] = paths["output"]
            for path in paths["log"]:
                logs.setdefault(re.sub(r"\{\w+\}", "{}", path), []).append(rule)
    assert {"results/logs/report/{}/tables/{}.log", "results/logs/report/{}/figures/{}.log"} <= set(logs)
    shared = [rules for rules in logs.values() if len({str(outputs[rule]) for rule in rules}) > 1]
    assert shared == []


@pytest.mark.parametrize(
    ("case", "change", "retrains"),
    [
        ("L-3", {"site": "Zürich"}, False),
        ("L-1", {"site": "Zürich"}, False),
        ("L-0", {"validates": None}, False),
        ("L-1", {"fold": 2}, False),
        ("L-3", {"patient": "L9"}, True),
        ("L-3", {"validates": 0}, True),
        ("L-2", {"fold": 1}, True),
    ],
)
def test_a_training_depends_on_the_part_of_the_sheet_that_it_reads(case, change, retrains):
    def split(cases):
        study = replace(small(), cohorts={"legs": Cohort(tuple(cases))})
        return study.parameters.split(job(dataset="legs", fold="0"))

    legs = small().cohorts["legs"]
    expected = [{"name": "L-1", "patient": "L1", "validates": 0}, {"name": "L-3", "patient": "L3", "validates": None}]
    assert split(legs.cases) == expected
    read = Cohort(tuple(Case(**given, fold=None, site="") for given in expected))
    assert (read.training(0), read.validation(0)) == (legs.training(0), legs.validation(0))
    edited = [replace(one, **change) if one.name == case else one for one in legs.cases]
    assert (split(edited) != expected) == retrains
