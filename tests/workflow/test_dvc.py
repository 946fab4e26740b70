"""DVC around the workflow: a small study is run, pushed, restored, changed and compared, for real."""

import csv
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from coarse_study import coarse, edit
from moto.server import ThreadedMotoServer

pytestmark = [pytest.mark.workflow, pytest.mark.timeout(1500)]
ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
REPOSITORY = ("Snakefile", "Makefile", "config", "workflow", "src", "profiles", "dvc.yaml", "params.yaml", ".gitignore")
OF_DVC = (".dvc/config", ".dvc/.gitignore", ".dvc/plots", ".dvcignore")
SHEET = """case\tpatient\tfold\tvalidates\tsite\texcluded
PH-001\tPH-001\t0\t1\t\t-
PH-002\tPH-002\t1\t0\t\t-
PH-003\tPH-003\t-\t-\t\t-
"""
FIRST, SECOND = "unet2d_tiny", "attention_unet_tiny"
STUDY = {"models": [FIRST, SECOND], "only": {}, "conditions": ["clean"], "overlay_conditions": ["clean"], "folds": [0]}
STUDY |= {"metrics": ["dice", "hd95"], "tables": ["segmentation"], "figures": ["training", "dice_by_condition"]}
TRAINING = {"batch": 2, "patch": [32, 32, 1], "steps": 20, "validate_every": 10, "warmup_steps": 5}
CHANGES = {
    "+study.folds": "[1]",
    "+study.models": f"[{FIRST}]",
    f"+models.{FIRST}.training.steps": "40",
    f"+models.{FIRST}.training.learning_rate": "0.01",
}
DICE, DISTANCE = (f"phantom/{FIRST}/mass/{metric}" for metric in ("dice", "hd95"))
SUMMARY = "results/report/phantom/summary.json"
BUCKET = "dvc-of-a-test"


def run(folder, *command, **environment):
    """Run a program of this environment in a folder, with the library of that folder; what it told."""
    known = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    known |= {"PATH": f"{PROGRAMS}:{os.environ['PATH']}", "PYTHONPATH": str(folder / "src"), "NO_COLOR": "1"}
    known |= {"GIT_CONFIG_GLOBAL": str(folder.parent / "gitconfig"), "DVC_NO_ANALYTICS": "1", **environment}
    done = subprocess.run(command, cwd=folder, env=known, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (command, done.stdout[-3000:], done.stderr[-3000:])
    return done.stdout + done.stderr


def shrink(config):
    """Three coarse patients that need no registration, and two trainings of seconds."""
    (config / "cohorts" / "phantom.tsv").write_text(SHEET)
    edit(config / "config.yaml", lambda c: c["study"].update(STUDY))
    edit(config / "datasets.yaml", lambda c: coarse(c["datasets"]["phantom"], patients=3))
    edit(
        config / "models.yaml",
        lambda c: [c["models"][m].update(training=c["models"][m]["training"] | TRAINING) for m in (FIRST, SECOND)],
    )


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The clone in which the study was run and committed; its remote is a folder beside it."""
    folder = tmp_path_factory.mktemp("vault") / "first"
    (folder / ".dvc").mkdir(parents=True)
    for name in (*REPOSITORY, *OF_DVC):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, folder / name)
    shrink(folder / "config")
    (folder.parent / "gitconfig").write_text(
        "[user]\nname = A tester\nemail = tester@example.org\n[init]\ndefaultBranch = main\n"
    )
    run(folder, "git", "init", "-q")
    run(folder, "dvc", "remote", "add", "--default", "shared", str(folder.parent / "shared"))
    commit(folder, "A study")
    run(folder, "dvc", "repro")
    commit(folder, "Its results")
    return folder


def commit(folder, message):
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-q", "-m", message)


def clone_of(folder, name):
    """A fresh clone, with a .venv that is not activated."""
    run(folder.parent, "git", "clone", "-q", str(folder), name)
    clone = folder.parent / name
    (clone / ".venv" / "bin").mkdir(parents=True)
    for program in ("snakemake", "dvc", "python"):
        (clone / ".venv" / "bin" / program).symlink_to(PROGRAMS / program)
    return clone


def calls(folder):
    """How often Snakemake has been started for real in a folder."""
    return len(list((folder / ".snakemake" / "log").glob("*.log")))


def require_nothing_to_do(folder):
    assert "up to date" in run(folder, "dvc", "status")
    assert "Nothing to be done" in run(folder, "snakemake", "-n")
    before = calls(folder)
    told = run(folder, "dvc", "repro")
    assert "Running stage" not in told
    assert calls(folder) == before


def hashes_in(remote):
    return {
        path.parent.name + path.name.removesuffix(".dir")
        for path in (remote / "files" / "md5").rglob("*")
        if path.is_file()
    }


def hashes_below(*folders):
    return {
        hashlib.md5(path.read_bytes()).hexdigest() for folder in folders for path in folder.rglob("*") if path.is_file()
    }


def test_a_second_repro_does_nothing(first):
    require_nothing_to_do(first)


def test_a_clone_restored_from_a_folder_reruns_nothing(first):
    run(first, "dvc", "push")
    clone = clone_of(first, "restored")
    run(clone, "make", "-s", "-o", ".venv/ready", "restore")
    require_nothing_to_do(clone)
    assert (clone / SUMMARY).read_bytes() == (first / SUMMARY).read_bytes()
    assert (clone / "results/report/phantom/report.html").stat().st_size > 100_000
    assert (clone / "results/track/mlflow.db").exists()


def test_a_clone_restored_from_s3_reruns_nothing(first, monkeypatch):
    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    address, port = server.get_host_and_port()
    secrets = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    try:
        import boto3

        boto3.client("s3", endpoint_url=f"http://{address}:{port}").create_bucket(Bucket=BUCKET)
        run(first, "dvc", "remote", "add", "--local", "--force", "s3", f"s3://{BUCKET}/dvc")
        run(first, "dvc", "remote", "modify", "--local", "s3", "endpointurl", f"http://{address}:{port}")
        run(first, "dvc", "push", "-r", "s3")
        clone = clone_of(first, "from_s3")
        shutil.copy(first / ".dvc" / "config.local", clone / ".dvc" / "config.local")
        run(clone, "dvc", "remote", "default", "--local", "s3")
        run(clone, "make", "-s", "-o", ".venv/ready", "restore")
    finally:
        server.stop()
    require_nothing_to_do(clone)


@pytest.fixture(scope="module")
def changed(first):
    """An experiment in which folds, models, steps and learning rate differ; its name."""
    settings = [word for name, value in CHANGES.items() for word in ("-S", f"config/changes.yaml:{name}={value}")]
    run(first, "dvc", "exp", "run", "--name", "changed", *settings)
    return "changed"


def test_an_experiment_computes_what_it_was_told(first, changed):
    told = json.loads((first / SUMMARY).read_text())
    assert {name.split("/")[1] for name in told} == {FIRST}
    record = json.loads((first / f"results/train/phantom/{FIRST}/fold-1_seed-0/plan.json").read_text())
    training = record.get("content", record)["block"]["training"]
    assert (training["steps"], training["learning_rate"], training["batch"]) == (40, 0.01, 2)


def test_experiments_are_one_table_with_the_primary_endpoint(first, changed):
    rows = list(csv.DictReader(io.StringIO(run(first, "dvc", "exp", "show", "--csv"))))
    [ours] = [row for row in rows if row["Experiment"] == changed]
    assert float(ours[DICE]) == pytest.approx(json.loads((first / SUMMARY).read_text())[DICE], abs=1e-4)
    assert ours[f"models.{FIRST}.training.steps"] == "40"
    assert ours["config/changes.yaml:study.folds"] == "[1]"


def test_parameters_metrics_and_curves_are_compared_between_two_experiments(first, changed):
    params = json.loads(run(first, "dvc", "params", "diff", "HEAD", changed, "--json"))
    assert params["config/changes.yaml"][f"models.{FIRST}.training.learning_rate"]["new"] == 0.01
    metrics = json.loads(run(first, "dvc", "metrics", "diff", "--all", "HEAD", changed, "--json"))[SUMMARY]
    assert 0 <= metrics[DICE]["old"] <= 1
    assert metrics[DISTANCE]["new"] != metrics[DISTANCE]["old"]
    assert metrics[f"phantom/{SECOND}/mass/dice"]["new"] is None
    run(first, "dvc", "plots", "diff", "HEAD", changed, "--out", "plots")
    page = (first / "plots" / "index.html").read_text()
    drawn = {plot["title"]["text"]: plot for plot in plots_in(page) if plot}
    [curves] = [plot for title, plot in drawn.items() if title.startswith("Training")]
    steps = {rev: {float(row["step"]) for row in rows_of(curves, rev)} for rev in ("HEAD", changed)}
    assert max(steps["HEAD"]) <= 20 < max(steps[changed]) <= 40
    assert {row["model"] for row in rows_of(curves, "HEAD")} == {FIRST, SECOND}
    assert {row["curve"] for row in rows_of(curves, changed)} == {"Loss", "Validation Dice"}
    [dice] = [plot for title, plot in drawn.items() if title.startswith("Dice")]
    assert {row["condition"] for row in rows_of(dice, changed)} == {"clean"}


def plots_in(page):
    """The specifications that the page of `dvc plots` draws."""
    decoder = json.JSONDecoder()
    return [decoder.raw_decode(page, found.end())[0] for found in re.finditer(r"var spec = ", page)]


def rows_of(plot, revision):
    return [row for row in plot["data"]["values"] if row["rev"] == revision]


def test_nothing_of_a_dataset_that_may_not_be_passed_on_is_pushed(first, changed):
    edit(first / "config" / "datasets.yaml", lambda c: c["datasets"]["phantom"].update(shareable=False))
    run(first, "python", "-m", "diffufuse.study.vault", "phantom")
    run(first, "dvc", "repro")
    run(first, "dvc", "remote", "add", "--local", "empty", str(first.parent / "empty"))
    run(first, "dvc", "push", "-r", "empty")
    report = first / "results/report/phantom"
    images = [
        first / "data/raw/phantom",
        *(first / f"results/{stage}/phantom" for stage in ("ingest", "prepare", "train", "predict")),
    ]
    images += [report / picture for picture in ("overlays", "gallery", "uncertainty")]
    assert all(hashes_below(folder) for folder in images)
    pushed = hashes_in(first.parent / "empty")
    assert not pushed & hashes_below(*images)
    assert hashes_below(report / "tables") <= pushed
    assert hashes_below(*images) <= hashes_in(first.parent / "shared") | hashes_in(first / ".dvc" / "cache")
