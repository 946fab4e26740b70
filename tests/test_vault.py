"""The stages of dvc.yaml, and the way back from a remote; Snakemake and DVC only note what they are asked."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
WITHOUT_VENV = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def folder(tmp_path):
    """A working tree whose .venv is not activated."""
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("snakemake", "dvc"):
        (programs / name).write_text(f'#!/bin/sh\necho "{name} $*" >> asked\ncat answers 2> /dev/null || true\n')
        (programs / name).chmod(0o755)
    (tmp_path / "results/report/phantom").mkdir(parents=True)
    return tmp_path


def asked(folder):
    return (folder / "asked").read_text().splitlines() if (folder / "asked").exists() else []


def run_stage(name, folder):
    commands = STAGES[name]["cmd"]
    for command in [commands] if isinstance(commands, str) else commands:
        command = command.replace("${study}", "phantom")
        subprocess.run(command, shell=True, cwd=folder, env=WITHOUT_VENV, check=True)


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_finds_snakemake_where_no_environment_is_activated(name, folder):
    run_stage(name, folder)
    assert asked(folder)[0].startswith("snakemake --configfile config/phantom.yaml")


def test_pictures_that_a_study_does_not_make_break_no_stage(folder):
    run_stage("report", folder)
    report = STAGES["report"]
    outputs = {next(iter(out)) for out in (*report["outs"], *report["plots"])}
    folders = {path.replace("${study}", "phantom") for path in outputs if "." not in Path(path).name}
    made = {path for path in folders if (folder / path).is_dir()}
    # these are there in any study, and Snakemake makes them
    assert folders - made == {"results/report/phantom/tables", "results/track"}


def test_every_parameter_of_a_study_is_one_of_the_report():
    files = {name.replace("${study}", "phantom") for item in STAGES["report"]["params"] for name in item}
    assert files == {"config/config.yaml", "config/models.yaml", "config/phantom.yaml"}
    assert all((ROOT / name).exists() for name in files)


def restore(folder):
    command = ["make", "-s", "-o", ".venv/ready", "-f", str(ROOT / "Makefile"), "restore"]
    return subprocess.run(command, cwd=folder, env=os.environ, capture_output=True, text=True, check=False)


def test_without_a_remote_one_sentence_says_what_to_do(folder):
    done = restore(folder)
    assert done.returncode != 0
    sentence, *rest = done.stderr.splitlines()
    assert "`dvc remote add" in sentence
    assert all(re.match(r"make(\[\d+\])?: \*\*\*", line) for line in rest)
    assert asked(folder) == ["dvc remote list"]


def test_data_and_results_come_from_the_remote_and_nothing_is_to_be_done(folder):
    (folder / "answers").write_text("shared\t/disk/shared\n")
    assert restore(folder).returncode == 0
    assert asked(folder)[1:] == ["dvc pull", "snakemake --configfile config/phantom.yaml --touch --quiet"]
