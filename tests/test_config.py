"""What a user may write in config/, as Snakemake itself answers it; nothing is run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

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


def name_an_unknown_model(root):
    edit(root / "config" / "config.yaml", lambda c: c["study"].update(models=["unet2d_tinny"]))


def put_a_patient_into_two_folds(root):
    sheet = root / "config" / "cohorts" / "phantom.tsv"
    sheet.write_text(sheet.read_text().replace("PH-002\tPH-002", "PH-002\tPH-001"))


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (
            misspell_a_key,
            "models.unet2d_tiny.training: Additional properties are not allowed ('stepps' was unexpected)",
        ),
        (name_an_unknown_model, "'unet2d_tinny' is not in config/models.yaml; known are: "),
        (put_a_patient_into_two_folds, "patient PH-001 stands in several"),
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
@pytest.mark.parametrize("study", [None, "sts_ibsi"])
def test_the_whole_graph_is_known_without_any_data(checkout, study):
    answer = dry_run(checkout, *([] if study is None else ["--configfile", f"config/{study}.yaml"]))
    assert answer.returncode == 0, answer.stderr
    assert not (checkout / "results").exists()


def test_conda_users_get_the_same_pins():
    environment = yaml.safe_load((ROOT / "envs" / "diffufuse.yaml").read_text())
    [pip] = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip == ["-r ../requirements.lock"]
    pins = (ROOT / "requirements.lock").read_text().split()
    assert "torch==2.13.0" in pins
    assert not [pin for pin in pins if pin.startswith(("nvidia-", "cuda-", "triton")) or "+" in pin or "/" in pin]
