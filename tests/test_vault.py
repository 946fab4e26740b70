"""The stages of dvc.yaml, the choice of their study, the way back from a remote; Snakemake notes what it is asked."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from study_jobs import ROOT, RULES, study_of

from diffufuse.errors import BadInput
from diffufuse.study.changes import laid_over
from diffufuse.study.vault import main, read_named, require_parameters, vault_parameters, write_parameters

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES = PIPELINE["stages"]
BLOCKS = yaml.safe_load((ROOT / "config" / "datasets.yaml").read_text())["datasets"]
STUDIES = sorted(
    path.stem
    for path in (ROOT / "config").glob("*.yaml")
    if "name" in (yaml.safe_load(path.read_text()).get("study") or {}) and path.stem != "config"
)
WITHOUT_VENV = {"PATH": "/usr/bin:/bin"}
RUN = "snakemake --configfile config/phantom.yaml config/changes.yaml"
# Folders of results and of pictures that hold no dataset's own.
OF_NO_DATASET = {"results/report/phantom/tables", "results/report/phantom/figures"}


@pytest.fixture
def folder(tmp_path):
    """A working tree whose .venv is not activated."""
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("snakemake", "dvc", "python"):
        (programs / name).write_text(f'#!/bin/sh\necho "{name} $*" >> asked\ncat answers 2> /dev/null || true\n')
        (programs / name).chmod(0o755)
    (tmp_path / "results/report/phantom").mkdir(parents=True)
    (tmp_path / "params.yaml").write_text("study: phantom\n")
    return tmp_path


@pytest.fixture(autouse=True)
def _in_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def asked(folder):
    return (folder / "asked").read_text().splitlines() if (folder / "asked").exists() else []


def filled(text, dataset="phantom"):
    return text.replace("${study}", "phantom").replace("${item}", dataset)


def block_of(name):
    """What a stage does, for one dataset if it is a stage of each."""
    return STAGES[name].get("do", STAGES[name])


def outputs_of(name):
    """Path of every output of a stage to what DVC is told of it."""
    block = block_of(name)
    return {
        filled(path): told for part in ("outs", "plots") for out in block.get(part, []) for path, told in out.items()
    }


def run_stage(name, folder):
    commands = block_of(name)["cmd"]
    for command in [commands] if isinstance(commands, str) else commands:
        subprocess.run(filled(command), shell=True, cwd=folder, env=WITHOUT_VENV, check=True)


@pytest.mark.parametrize("name", [name for name in STAGES if not name.startswith("pictures")])
def test_a_stage_finds_snakemake_where_no_environment_is_activated(name, folder):
    run_stage(name, folder)
    assert next(call for call in asked(folder) if call.startswith("snakemake")).startswith(RUN)


def test_what_a_study_does_not_make_breaks_no_stage(folder):
    for name in STAGES:
        run_stage(name, folder)
    folders = {path for name in STAGES for path in outputs_of(name) if "." not in Path(path).name} - OF_NO_DATASET
    missing = {path for path in folders if not (folder / path).is_dir()}
    # Snakemake makes these in any study
    assert missing == {"data/raw/phantom", "results/prepare/phantom"}


def test_every_stage_of_a_dataset_has_a_twin_that_pushes_nothing():
    of_each = {name for name, stage in STAGES.items() if stage.get("foreach") == "${shared}"}
    assert {name for name, stage in STAGES.items() if stage.get("foreach") == "${kept}"} == {
        f"{n}_kept" for n in of_each
    }
    for name in of_each:
        ours, theirs = block_of(name), block_of(f"{name}_kept")
        assert {key: theirs[key] for key in ("cmd", "deps")} == {key: ours[key] for key in ("cmd", "deps")}
        assert outputs_of(name).keys() == outputs_of(f"{name}_kept").keys()
        assert all(told.get("push") is False for told in outputs_of(f"{name}_kept").values())
        assert all("push" not in told for told in outputs_of(name).values())


def test_every_folder_of_a_dataset_that_the_rules_write_is_an_output_of_that_dataset():
    place = r'"(data/raw|results/(?!logs|benchmarks|report)\w+|results/report/\{study\}/[\w{}]+)/\{dataset\}'
    written = {f"{folder}/{{dataset}}" for folder in re.findall(place, RULES)}
    [pictures] = re.findall(r'picture=r"([a-z_|]+)"', RULES)
    written = {path.replace("{picture}", one) for path in written for one in pictures.split("|")}
    expected = {path.replace("{study}", "phantom").replace("{dataset}", "phantom") for path in written}
    outputs = {path for name, stage in STAGES.items() if "foreach" in stage for path in outputs_of(name)}
    assert len(expected) > 10
    assert outputs == expected | {"data/raw/phantom.manifest.tsv"}


def test_all_that_is_not_of_one_dataset_is_numbers():
    suffixes = {Path(path).suffix for path in outputs_of("report")}
    assert suffixes == {".parquet", ".csv", ".md", ".html", ""}
    assert {path for path in outputs_of("report") if not Path(path).suffix} == OF_NO_DATASET
    assert {Path(path).name for path in outputs_of("report") if path.endswith(".html")} == {"study.html"}


@pytest.mark.parametrize("name", STUDIES)
def test_every_dataset_of_a_study_is_shared_or_kept_as_its_terms_say(name):
    study = study_of(None if name == "phantom" else name)
    told = vault_parameters(study)
    assert sorted([*told["shared"], *told["kept"]]) == sorted(study.cohorts)
    assert all(BLOCKS[dataset]["shareable"] for dataset in told["shared"])
    assert not any(BLOCKS[dataset]["shareable"] for dataset in told["kept"])


def test_what_may_be_passed_on_has_a_license_that_says_so():
    shareable = {name: block["license"] for name, block in BLOCKS.items() if block.get("shareable")}
    assert not {"brats", "btcv", "lits_original", "gfp_pc"} & set(shareable)
    assert not [name for name in shareable if name.startswith("harvard")]
    assert all(re.fullmatch(r"Apache-2\.0|CC0.*|CC BY(-SA)? [34]\.0", license) for license in shareable.values())


def test_a_dataset_that_says_nothing_of_its_terms_is_kept():
    study = study_of()
    blocks = {**study.config["datasets"], "phantom": {"license": "internal"}}
    changed = type(study)({**study.config, "datasets": blocks}, study.cohorts, study.code)
    assert vault_parameters(changed) == {"study": "phantom", "shared": [], "kept": ["phantom"]}


def test_the_file_in_git_is_of_the_phantom_study_and_nothing_is_changed():
    require_parameters(ROOT / "params.yaml", read_named("phantom"))
    assert yaml.safe_load((ROOT / "params.yaml").read_text())["study"] == "phantom"
    assert not any(yaml.safe_load((ROOT / "config" / "changes.yaml").read_text()).values())


def test_a_written_file_is_right_and_another_study_in_it_is_refused_with_what_to_do(tmp_path):
    path, study = tmp_path / "params.yaml", study_of("sts_ibsi")
    write_parameters(vault_parameters(study), path)
    require_parameters(path, study)
    right = path.read_text()
    assert right.endswith("study: sts_ibsi\nshared: [sts_ibsi, msd_brats]\nkept: [brats]\n")
    path.write_text(right.replace("brats]\nkept: [brats]", "brats, brats]\nkept: []"))
    with pytest.raises(BadInput, match="run `make choose STUDY=sts_ibsi`"):
        require_parameters(path, study)


def test_the_program_says_in_one_sentence_which_study_is_unknown(capsys):
    assert main(["nonsense"]) == 1
    assert capsys.readouterr().err.startswith("config/nonsense.yaml: expected")


def test_changes_are_laid_over_key_by_key():
    below = {"a": {"steps": 1, "batch": 2}, "b": [1, 2]}
    assert laid_over(below, {"a": {"steps": 3}, "b": [0], "c": 4}) == {"a": {"steps": 3, "batch": 2}, "b": [0], "c": 4}
    assert below == {"a": {"steps": 1, "batch": 2}, "b": [1, 2]}


def test_the_parameters_that_are_compared_are_those_of_the_study_and_the_changes():
    files = {filled(name) for item in STAGES["report"]["params"] for name in item}
    assert files == {"config/config.yaml", "config/phantom.yaml", "config/changes.yaml"}
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


def test_data_and_results_come_from_the_remote_and_only_what_shows_them_is_made(folder):
    (folder / "answers").write_text("shared\t/disk/shared\n" * 9999)
    assert restore(folder).returncode == 0
    assert asked(folder)[1:] == [
        "dvc pull --allow-missing",
        f"{RUN} --touch --quiet -- report",
        f"{RUN} --quiet -- track",
        f"{RUN} --report results/report/phantom/report.html --quiet all",
    ]
