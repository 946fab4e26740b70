"""What a user may write in config/, as Snakemake itself answers it; nothing is run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from diffufuse.study.cohorts import read_cohort

ROOT = Path(__file__).parents[1]
SNAKEMAKE = Path(sys.executable).with_name("snakemake")
CODE = ("Snakefile", "config", "workflow", "src", "profiles")


@pytest.fixture
def checkout(tmp_path):
    """The code alone, without data and results."""
    for name in CODE:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)
    return tmp_path


def dry_run(folder, *arguments):
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [SNAKEMAKE, "--dry-run", "--quiet", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def edit(path, change):
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))


def misspell_a_key(root):
    edit(root / "config" / "models.yaml", lambda c: c["models"]["unet2d_tiny"]["training"].update(stepps=1))


def misspell_a_metric(root):
    edit(root / "config" / "config.yaml", lambda c: c["study"].update(metrics=["dise"]))


def misspell_a_setting(root):
    edit(root / "config" / "models.yaml", lambda c: c["models"]["unet2d_tiny"]["settings"].update(chanels=[4]))


def misspell_a_weight_of_the_loss(root):
    edit(root / "config" / "models.yaml", lambda c: c["models"]["unet2d_tiny"].update(loss={"dise": 1}))


def misspell_a_setting_of_a_corruption(root):
    block = {"corruption": "drift", "settings": {"amplitud": 0.2}}
    edit(root / "config" / "conditions.yaml", lambda c: c["conditions"].update(drift=block))


def join_a_label_that_does_not_exist(root):
    edit(root / "config" / "datasets.yaml", lambda c: c["datasets"]["phantom"]["regions"].update(mass=[3]))


def name_an_unknown_model(root):
    edit(root / "config" / "config.yaml", lambda c: c["study"].update(models=["unet2d_tinny"]))


def put_a_patient_into_two_folds(root):
    sheet = root / "config" / "cohorts" / "phantom.tsv"
    sheet.write_text(sheet.read_text().replace("PH-002\tPH-002", "PH-002\tPH-001"))


def forget_the_lesion(root):
    edit(root / "config" / "datasets.yaml", lambda c: c["datasets"]["phantom"].pop("lesion"))


def name_a_lesion_and_why_there_is_none(root):
    edit(root / "config" / "datasets.yaml", lambda c: c["datasets"]["phantom"].update(no_lesion="None."))


def repeat_a_key(root):
    path = root / "config" / "config.yaml"
    path.write_text(path.read_text().replace("  seeds: [0]\n", "  seeds: [0]\n  seeds: [1]\n"))


def save_in_latin_1(root):
    path = root / "config" / "datasets.yaml"
    path.write_bytes(path.read_text(encoding="utf-8").encode("latin-1"))


def break_a_dataset_that_the_study_does_not_name(root):
    edit(root / "config" / "datasets.yaml", lambda c: c["datasets"]["lits"]["labels"].update(tumor=1))


def transfer_to(*names):
    def change(root):
        edit(root / "config" / "config.yaml", lambda c: c["study"].update(transfers=list(names)))

    return change


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (
            misspell_a_key,
            "models.unet2d_tiny.training: Additional properties are not allowed ('stepps' was unexpected)",
        ),
        (
            name_an_unknown_model,
            "'unet2d_tinny' is not in config/models.yaml, did you mean 'unet2d_tiny'?; known are: ",
        ),
        (put_a_patient_into_two_folds, "patient PH-001 stands in several"),
        (forget_the_lesion, "datasets.phantom: 'lesion' is a required property"),
        (name_a_lesion_and_why_there_is_none, "datasets.phantom.lesion: 'mass' is expected to be empty"),
        (misspell_a_metric, "study.metrics: 'dise' does not exist, did you mean 'dice'?"),
        (misspell_a_setting, "models.unet2d_tiny.settings: unet2d has no argument 'chanels', did you mean 'channels'?"),
        (misspell_a_weight_of_the_loss, "unet2d_tiny.loss: the objective has no weight 'dise', did you mean 'dice'?"),
        (misspell_a_setting_of_a_corruption, "conditions.drift.settings: drift reads no 'amplitud', did you mean"),
        (repeat_a_key, "expected each key once, got `seeds` also in line "),
        (save_in_latin_1, ": expected YAML in UTF-8, got the byte 0xe8, as Latin-1"),
        (
            break_a_dataset_that_the_study_does_not_name,
            "datasets.lits.labels.tumor: expected a number of its own, got 1",
        ),
        (join_a_label_that_does_not_exist, "datasets.phantom.regions.mass: 3 is not a value of"),
        pytest.param(transfer_to("brain"), "study.transfers: 'brain' is not in config/datasets.yaml", id="unknown"),
        pytest.param(transfer_to("lits"), "lits.tsv: expected a cohort sheet", id="no_sheet"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_fault_in_the_config_is_refused_when_it_is_read(checkout, fault, told):
    fault(checkout)
    answer = dry_run(checkout)
    assert answer.returncode != 0
    assert told in answer.stdout + answer.stderr
    assert "Traceback (most recent call last)" not in answer.stdout + answer.stderr


@pytest.mark.workflow
def test_a_study_cannot_set_a_seed_of_its_own_as_no_path_would_name_it(checkout):
    answer = dry_run(checkout, "--config", "seed=7")
    assert answer.returncode != 0
    assert "seed: expected 1 as in config/config.yaml, got 7" in answer.stdout + answer.stderr


@pytest.mark.workflow
def test_numbers_that_the_command_line_turned_into_texts_are_answered_with_how_to_give_them(checkout):
    answer = dry_run(checkout, "--config", "study={folds: [0]}")
    assert answer.returncode != 0
    sentence = "config.study.folds.0: '0' is not of type 'integer'; --config gives texts for what is in braces, so"
    assert sentence in answer.stdout + answer.stderr


@pytest.mark.workflow
def test_a_study_cannot_change_a_block_of_a_catalogue_as_paths_name_the_block_alone(checkout):
    answer = dry_run(checkout, "--config", "models={unet2d_tiny: {output: labels}}")
    assert answer.returncode != 0
    assert "models.unet2d_tiny: expected the block of config/models.yaml" in answer.stdout + answer.stderr


@pytest.mark.workflow
@pytest.mark.parametrize("study", [None, "sts_ibsi"])
def test_the_whole_graph_is_known_without_any_data(checkout, study):
    answer = dry_run(checkout, *([] if study is None else ["--configfile", f"config/{study}.yaml"]))
    assert answer.returncode == 0, answer.stderr
    assert not (checkout / "results").exists()


@pytest.mark.workflow
def test_a_model_is_tested_on_all_cases_of_another_dataset_and_fold_by_fold_on_its_own(checkout):
    transfer_to("brats", "btcv")(checkout)
    run = "unet2d_tiny/fold-0_seed-0"
    answer = dry_run(checkout, "rules", "--", f"results/predict/brats/test/clean/phantom/{run}")
    assert answer.returncode == 0, answer.stdout
    assert re.search(r"predict_cases +1\n", answer.stdout)
    assert re.search(r"fetch_dataset +2\n", answer.stdout)
    cases = [
        name for sheet in ("brats", "phantom") for name in read_cohort(checkout / f"config/cohorts/{sheet}.tsv").names
    ]
    assert re.search(rf"ingest_case +{len(cases)}\n", answer.stdout)
    answer = dry_run(checkout, "rules", "--", f"results/predict/phantom/test/clean/phantom/{run}")
    assert answer.returncode == 0, answer.stdout
    assert re.search(r"predict_cases +1\n", answer.stdout)
    assert re.search(r"fetch_dataset +1\n", answer.stdout)
    answer = dry_run(checkout, "rules", "--", f"results/predict/btcv/test/clean/phantom/{run}")
    assert answer.returncode != 0
    assert "phantom is not tested on btcv. Thirteen organs are labeled, and no lesion." in answer.stdout + answer.stderr
