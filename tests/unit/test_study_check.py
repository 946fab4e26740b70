from pathlib import Path

import pytest

from diffufuse.errors import BadInput
from diffufuse.study.check import check_study
from diffufuse.study.code_digest import Code
from diffufuse.study.forms import check_form

ROOT = Path(__file__).parents[2]
CODE = Code(ROOT / "src", ROOT / "workflow" / "scripts")
UNET = {"task": "segment", "architecture": "unet2d", "settings": {"channels": [8, 16]}, "output": "regions"}
Z = {"method": "zscore"}
CT, PET, T1 = ({"kind": kind, "normalization": Z} for kind in ("ct", "pet", "mr"))
HEADER = "case\tpatient\tfold\tvalidates\tsite\texcluded\n"


def dataset(regions=("mass",), **modalities):
    """The part of a dataset's block that is checked against itself."""
    labels = {name: number for number, name in enumerate(regions, start=1)}
    return {
        "reference": next(iter(modalities)),
        "modalities": modalities,
        "annotation": {"values": {str(number): name for name, number in labels.items()}},
        "labels": labels,
        "regions": {name: [number] for name, number in labels.items()},
    }


@pytest.fixture
def config(tmp_path):
    (tmp_path / "sts.tsv").write_text(HEADER + "A\tA\t0\t-\t\t-\nB\tB\t1\t-\t\t-\n")
    return {
        "study": {"datasets": ["sts"], "conditions": ["clean"], "models": ["unet"], "folds": [0], "seeds": [0]},
        "datasets": {"sts": dataset(pet=PET, ct=CT)},
        "conditions": {
            "clean": {},
            "no-t2": {"absent": ["t2"]},
            "nothing": {"absent": ["pet", "ct"]},
            "gauss": {"corruption": "gaussian_noise", "settings": {"noise_sd": 0.3}},
            "rician": {"corruption": "rician_noise", "settings": {"noise_sd": 0.3}, "kinds": ["mr"]},
            "poisson-ct": {
                "corruption": "poisson_noise",
                "settings": {"noise_sd": 0.3},
                "kinds": ["pet"],
                "modalities": ["ct"],
            },
            "poisson": {"corruption": "poisson_noise", "settings": {"noise_sd": 0.3}, "kinds": ["pet"]},
        },
        "models": {
            "unet": UNET | {"training": {"regimen": "supervised", "corruption": {"conditions": ["gauss"]}}},
            "greedy": UNET
            | {"training": {"regimen": "supervised", "corruption": {"conditions": ["gauss", "gauss-7"]}}},
            "harmless": UNET | {"training": {"regimen": "supervised", "corruption": {"conditions": ["clean"]}}},
            "variant": {"task": "segment", "weights_of": "unet", "settings": {}},
            "orphan": {"task": "segment", "weights_of": "unett", "settings": {}},
            "second_hand": {"task": "segment", "weights_of": "variant", "settings": {}},
            "greedy_variant": {"task": "segment", "weights_of": "greedy", "settings": {}},
        },
    }


def test_a_sound_study_gives_its_cohorts(config, tmp_path):
    assert check_study(config, tmp_path, code=CODE)["sts"].names == ["A", "B"]


def test_variants_corruptions_and_a_model_to_compare_with_are_accepted(config, tmp_path):
    config["study"] |= {
        "models": ["unet", "variant"],
        "conditions": ["clean", "gauss", "poisson"],
        "compare_with": "variant",
    }
    assert set(check_study(config, tmp_path, code=CODE)) == {"sts"}


@pytest.mark.parametrize(
    ("part", "names", "told"),
    [
        (
            "models",
            ["unet3000"],
            "'unet3000' is not in config/models.yaml, did you mean 'unet'.; known are: unet, greedy",
        ),
        ("conditions", ["no-pett"], "did you mean 'no-t2'.; known are: clean, no-t2, nothing, gauss"),
        ("datasets", ["stss"], r"known are: sts\."),
        ("conditions", ["no-t2"], "no-t2 speaks of t2, which sts does not have; known are: pet, ct"),
        ("conditions", ["nothing"], "leaves no modality"),
        (
            "conditions",
            ["rician"],
            r"rician corrupts no modality of sts; .* kind mr, known are: pet \(pet\), ct \(ct\)",
        ),
        ("conditions", ["poisson-ct"], "poisson-ct corrupts no modality of sts"),
        (
            "models",
            ["orphan"],
            "orphan uses the weights of unett, which .* does not train, did you mean 'unet'.; known are: unet, greedy",
        ),
        ("models", ["second_hand"], "second_hand uses the weights of variant, which .* does not train"),
        (
            "models",
            ["greedy"],
            "models.greedy.training.corruption.conditions: 'gauss-7' is not .*; known are: gauss, rician",
        ),
        ("models", ["greedy_variant"], "models.greedy.training.corruption.conditions: 'gauss-7'"),
        ("models", ["harmless"], "'clean' is not a condition of config/conditions.yaml with a corruption"),
        ("compare_with", "greedy", r"'greedy' is not a model of the study; known are: unet\."),
        ("folds", [7], "fold 7 has no cases .* known are: 0, 1"),
    ],
)
def test_an_unknown_name_is_refused_with_the_known_ones(config, tmp_path, part, names, told):
    config["study"][part] = ["clean", *names] if part == "conditions" else names
    with pytest.raises(BadInput, match=told):
        check_study(config, tmp_path, code=CODE)


SCHEMA = {
    "additionalProperties": {
        "additionalProperties": False,
        "properties": {"steps": {"type": "integer", "minimum": 1}, "batch": {"type": "integer"}},
        "required": ["steps"],
    }
}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            {"unet": {"steps": 1, "bach": 2}},
            r"unet: .*'bach' was unexpected\), did you mean 'batch'\?; known are: steps, batch\.",
        ),
        ({"unet": {"steps": 0}}, "models.unet.steps: 0 is less than the minimum of 1"),
        ({"unet": {"steps": "many"}}, "models.unet.steps: 'many' is not of type 'integer'"),
        ({"unet": {}}, "models.unet: 'steps' is a required property; add it."),
    ],
)
def test_another_form_is_refused_with_its_place(content, told):
    with pytest.raises(BadInput, match=told):
        check_form(content, SCHEMA, where="models")


def test_the_right_form_is_accepted():
    check_form({"unet": {"steps": 3}}, SCHEMA, where="models")


BRAIN = dataset(["wt"], t1=T1, ct=CT) | {"lesion": "wt"}
ORGANS = dataset(["liver"], ct=CT) | {"no_lesion": "Only organs."}


@pytest.fixture
def external(config, tmp_path):
    """The study with two more datasets in the catalogue, to the first of which its models can be transferred."""
    config["datasets"]["sts"] |= {"lesion": "mass"}
    config["datasets"] |= {"brats": dict(BRAIN), "btcv": ORGANS}
    (tmp_path / "brats.tsv").write_text(HEADER + "C\tC\t-\t-\t\t-\n")
    return config


def test_only_transfers_that_can_be_scored_need_a_sheet_and_it_may_have_no_folds(external, tmp_path):
    external["study"]["transfers"] = ["btcv", "brats"]
    found = check_study(external, tmp_path, code=CODE)
    assert list(found) == ["sts", "brats"]
    assert found["brats"].names == ["C"]


def test_a_transfer_is_scored_if_one_of_the_study_s_datasets_allows_it(external, tmp_path):
    external["datasets"]["mr_only"] = dataset(["wt"], t1=T1) | {"lesion": "wt"}
    external["study"] |= {"datasets": ["sts"], "transfers": ["mr_only"]}
    assert list(check_study(external, tmp_path, code=CODE)) == ["sts"]
    (tmp_path / "mr_only.tsv").write_text(HEADER + "D\tD\t-\t-\t\t-\n")
    (tmp_path / "brats.tsv").write_text(HEADER + "C\tC\t0\t-\t\t-\nE\tE\t1\t-\t\t-\n")
    external["study"]["datasets"] = ["sts", "brats"]
    assert list(check_study(external, tmp_path, code=CODE)) == ["sts", "brats", "mr_only"]


@pytest.mark.parametrize(
    ("transfers", "told"),
    [
        (
            ["bratss"],
            r"study.transfers: 'bratss' is not in config/datasets.yaml, did you mean 'brats'.; known are: sts, brats",
        ),
        (["sts"], "study.transfers: sts is a dataset of the study"),
    ],
)
def test_a_transfer_to_what_is_unknown_or_at_home_is_refused(external, tmp_path, transfers, told):
    external["study"]["transfers"] = transfers
    with pytest.raises(BadInput, match=told):
        check_study(external, tmp_path, code=CODE)


def test_a_transfer_that_is_scored_needs_its_sheet(external, tmp_path):
    external["study"]["transfers"] = ["brats"]
    (tmp_path / "brats.tsv").unlink()
    with pytest.raises(
        BadInput,
        match=r"brats.tsv: expected a cohort sheet .* none; draft one by `snakemake results/ingest/brats/cohort.tsv`",
    ):
        check_study(external, tmp_path, code=CODE)


def test_a_transfer_never_tests_a_patient_that_was_trained_on(external, tmp_path):
    external["study"]["transfers"] = ["brats"]
    (tmp_path / "brats.tsv").write_text(HEADER + "C\tC\t-\t-\t\t-\nB-2\tB\t-\t-\t\t-\n")
    with pytest.raises(
        BadInput, match=r"study.transfers: brats has 1 patients of sts, .* the first B; leave brats out"
    ):
        check_study(external, tmp_path, code=CODE)


def test_a_patient_that_was_trained_on_is_known_in_capitals_too(external, tmp_path):
    external["study"]["transfers"] = ["brats"]
    (tmp_path / "brats.tsv").write_text(HEADER + "C\tb\t-\t-\t\t-\n")
    with pytest.raises(BadInput, match="brats has 1 patients of sts"):
        check_study(external, tmp_path, code=CODE)


def test_one_case_of_two_patients_in_two_datasets_is_refused(external, tmp_path):
    external["study"]["transfers"] = ["brats"]
    (tmp_path / "brats.tsv").write_text(HEADER + "A\tC\t-\t-\t\t-\n")
    with pytest.raises(BadInput, match=r"brats: expected case A to be of one patient in all .*, got A and C; rename"):
        check_study(external, tmp_path, code=CODE)


@pytest.mark.parametrize("dataset", ["sts", "brats"])
def test_a_lesion_that_is_no_region_is_refused_with_the_regions(external, tmp_path, dataset):
    external["study"]["transfers"] = ["brats"]
    external["datasets"][dataset] = external["datasets"][dataset] | {"lesion": "tumour"}
    known = ", ".join(external["datasets"][dataset]["regions"])
    with pytest.raises(BadInput, match=rf"datasets.{dataset}.lesion: 'tumour' is not a region; known are: {known}\."):
        check_study(external, tmp_path, code=CODE)
