"""One small study for tests that run Snakemake: two coarse phantoms that need no registration, trainings of seconds."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
SNAKEMAKE = Path(sys.executable).with_name("snakemake")
SHEET = """case\tpatient\tfold\tvalidates\tsite\texcluded
PH-001\tPH-001\t0\t-\t\t-
PH-002\tPH-002\t-\t-\t\t-
"""
MODEL, LONGER = "unet2d_tiny", "attention_unet_tiny"


def copy_of_the_product(folder):
    """What runs a study, in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("Snakefile", "config", "workflow", "src", "profiles"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    return folder


def edit(path, change):
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def coarse(block, *, patients=2):
    """Patients with CT and T1 that are taken to lie on each other, so that nothing is registered."""
    block["source"]["patients"] = patients
    block["spacing_mm"] = [5.0, 5.0, 8.0]
    block["modalities"] = {name: block["modalities"][name] for name in ("ct", "t1")}
    block["pair"]["function"] = "ct"
    block["modalities"]["ct"] |= {"follows": "t1", "aligned": "taken so in this test, to save the registration"}
    block["modalities"]["t1"]["bias_correction"] = "none"


def train_shortly(block, short, steps):
    """A training of its own: in the file, models share one by an alias."""
    block["training"] = block["training"] | short | {"steps": steps}


def shrink(folder):
    config = folder / "config"
    (config / "cohorts" / "phantom.tsv").write_text(SHEET)
    study = {"models": [MODEL], "only": {}, "conditions": ["clean"], "overlay_conditions": ["clean"], "folds": [0]}
    study |= {"metrics": ["dice"], "tables": ["transfer"], "figures": ["transfer"], "overlays": 1}
    edit(config / "config.yaml", lambda c: c["study"].update(study))
    edit(config / "datasets.yaml", lambda c: coarse(c["datasets"]["phantom"]))
    short = {"batch": 2, "patch": [32, 32, 1], "validate_every": 1000}
    for model, steps in ((MODEL, 20), (LONGER, 300)):
        edit(config / "models.yaml", lambda c, name=model, s=steps: train_shortly(c["models"][name], short, s))
    other = {"name": "other", "metrics": ["iou", "hd95"], "tables": ["segmentation"], "figures": ["patients"]}
    (config / "other.yaml").write_text(yaml.safe_dump({"study": other}))


def begin(folder, *arguments):
    """Start Snakemake on the library of that folder."""
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment |= {"PYTHONPATH": str(folder / "src")}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([SNAKEMAKE, *arguments], cwd=folder, env=environment, **streams)


def snakemake(folder, *arguments):
    """Run Snakemake to its end; exit status and what it told."""
    process = begin(folder, *arguments)
    told, _ = process.communicate()
    return process.returncode, told


def done(folder, *arguments):
    """Run Snakemake, which must succeed."""
    status, told = snakemake(folder, *arguments)
    assert status == 0, told[-4000:]
    return told


def planned(folder, *arguments):
    """Rule to its number of jobs, as Snakemake would run them now; empty if there is nothing to do."""
    told = done(folder, "--dry-run", *arguments)
    if "Nothing to be done" in told:
        return {}
    lines = told.split("Job stats:")[1].split("\n\n")[0].splitlines()
    found = dict(line.split() for line in lines if re.fullmatch(r"\w+ +\d+", line.strip()))
    return {rule: int(count) for rule, count in found.items() if rule not in ("total", "all", "report")}
