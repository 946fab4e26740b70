"""A path means one thing: what an edit, another study, a repetition or a copy may and may not change, by Snakemake.

One small study is run once: two coarse phantoms that need no registration, and one training of seconds.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress

import numpy as np
import pytest
from coarse_study import LONGER, MODEL, begin, copy_of_the_product, done, planned, shrink, snakemake

from diffufuse.errors import BadInput
from diffufuse.evaluate.schemas import CALIBRATIONS, FORECASTS, METRICS
from diffufuse.files.records import read_record
from diffufuse.files.sealed import read_sealed
from diffufuse.files.tables import read_table
from diffufuse.plan.plans import WEIGHTS
from diffufuse.report.schemas import RUNS, SUMMARY
from diffufuse.space.volumes import read_result
from diffufuse.store.index import PATCHES
from diffufuse.train.history import HISTORY

pytestmark = [pytest.mark.workflow, pytest.mark.timeout(900)]
TRAINING = f"results/train/phantom/{LONGER}/fold-0_seed-0"
REPORT = ["results/report/phantom/summary.json", "results/report/phantom/study.html"]
SECONDS_TO_STOP = 60
TESTED = f"results/{{}}/phantom/test/clean/phantom/{MODEL}/fold-0_seed-0"
FLIPS = 100


def table(schema):
    return lambda path: read_table(path, schema).to_csv()


def voxels(path):
    volume = read_result(path)
    return volume.array.tobytes(), volume.affine.tolist()


# Every kind of file that a later stage reads, and how it is read.
READERS = {
    "results/ingest/phantom/PH-001.json": read_record,
    "results/prepare/phantom/PH-001/PH-001.json": read_record,
    "results/prepare/phantom/PH-001/PH-001_labels.nii.gz": voxels,
    "results/prepare/phantom/PH-001/PH-001_body.nii.gz": voxels,
    "results/prepare/phantom/patches.parquet": table(PATCHES),
    "results/train/phantom/normalization/fold-0.json": read_record,
    f"results/train/phantom/{MODEL}/fold-0_seed-0/plan.json": read_record,
    f"results/train/phantom/{MODEL}/fold-0_seed-0/run.json": read_record,
    f"results/train/phantom/{MODEL}/fold-0_seed-0/history.parquet": table(HISTORY),
    f"results/train/phantom/{MODEL}/fold-0_seed-0/weights/{WEIGHTS}": lambda path: read_sealed(path, "weights"),
    f"{TESTED.format('predict')}/PH-001_mass.nii.gz": voxels,
    f"{TESTED.format('predict')}/PH-001_mass_probability.nii.gz": voxels,
    f"{TESTED.format('evaluate')}/metrics.parquet": table(METRICS),
    f"{TESTED.format('evaluate')}/forecasts.parquet": table(FORECASTS),
    "results/evaluate/phantom/validation/clean/phantom/*/*/calibration.parquet": table(CALIBRATIONS),
    "results/report/phantom/metrics.parquet": table(METRICS),
    "results/report/phantom/summary.parquet": table(SUMMARY),
    "results/report/phantom/runs.parquet": table(RUNS),
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = copy_of_the_product(tmp_path_factory.mktemp("study"))
    shrink(folder)
    git = ["git", "-c", "user.name=A tester", "-c", "user.email=tester@example.org", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "config", "src", "workflow"], ["commit", "-q", "-m", "A study"]):
        subprocess.run([*git, *command], cwd=folder, check=True)
    done(folder, "--", *REPORT)
    return folder


@contextmanager
def edited(path, old, new):
    """A file with a change, put back afterwards, dates and all."""
    before, dates = path.read_text(), path.stat()
    assert old in before
    path.write_text(before.replace(old, new, 1))
    try:
        yield
    finally:
        path.write_text(before)
        os.utime(path, ns=(dates.st_atime_ns, dates.st_mtime_ns))


def test_a_second_run_has_nothing_to_do(study):
    assert planned(study, "--", *REPORT) == {}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("src/diffufuse/train/loop.py", '"""', '"""Edited. '),
        ("workflow/scripts/prepare_case.py", '"""', '"""Edited. '),
        ("config/datasets.yaml", "citation: This repository", "citation: Edited, this repository"),
        ("config/datasets.yaml", "license: Apache-2.0", "license: CC0"),
    ],
    ids=["docstring", "script's docstring", "citation", "license"],
)
def test_words_rerun_nothing(study, file, old, new):
    with edited(study / file, old, new):
        assert planned(study, "--", *REPORT) == {}


def test_the_site_of_a_case_retrains_nothing(study):
    with edited(study / "config/cohorts/phantom.tsv", "PH-002\tPH-002\t-\t-\t\t-", "PH-002\tPH-002\t-\t-\tZürich\t-"):
        assert planned(study, "--", *REPORT) == {"summarize_metrics": 1}


CODE = ('"""', 'EDITED = 1\n"""')
REPORTED = {"summarize_metrics": 1}
EVALUATED = REPORTED | {"join_tables": 1, "evaluate_predictions": 1, "fit_calibration": 1}
PREDICTED = EVALUATED | {"predict_cases": 2}
TRAINED = PREDICTED | {"train_model": 1, "join_tables": 2, "describe_study": 1}
PREPARED = TRAINED | {"prepare_case": 2, "list_cases": 2, "index_slices": 1, "fit_normalization": 1}
READ = PREPARED | {"ingest_case": 2}
EDITS = {
    "how a statistic is computed": ("src/diffufuse/report/statistics.py", *CODE, REPORTED),
    "how a distance is measured": ("src/diffufuse/metrics/surface.py", *CODE, EVALUATED),
    "how a mask is predicted": ("src/diffufuse/predict/cases.py", *CODE, PREDICTED),
    "how a step is trained": ("src/diffufuse/train/loop.py", *CODE, TRAINED),
    "the model of the study": ("src/diffufuse/models/unet2d.py", *CODE, TRAINED),
    "another model": ("src/diffufuse/models/transbts.py", *CODE, {}),
    "how a case is prepared": ("src/diffufuse/prepare/case.py", *CODE, PREPARED),
    "how a series is read": ("src/diffufuse/dicom/stack.py", *CODE, READ),
    "the format of another dataset": ("src/diffufuse/ingest/formats/nifti.py", *CODE, {}),
    "the settings of the model": ("config/models.yaml", "steps: 20\n", "steps: 21\n", TRAINED),
    "those of another model": ("config/models.yaml", "steps: 300\n", "steps: 301\n", {}),
    "a condition that is not in the study": ("config/conditions.yaml", "{absent: [t1c]}", "{absent: [t1c, t2]}", {}),
}


@pytest.mark.parametrize(("file", "old", "new", "expected"), EDITS.values(), ids=EDITS)
def test_an_edit_reruns_what_follows_from_it_and_nothing_else(study, file, old, new, expected):
    with edited(study / file, old, new):
        assert planned(study, "--", *REPORT) == expected


@pytest.mark.parametrize("file", ["results.md", "tables/segmentation.csv", "figures/roc.png", "gallery/sts/cases.png"])
def test_the_report_of_another_study_is_refused_with_the_command_that_fills_it(study, file):
    path = f"results/report/sts_ibsi/{file}"
    status, told = snakemake(study, "--dry-run", "--", path)
    assert status != 0
    assert f"`snakemake --configfile config/sts_ibsi.yaml -- {path}`" in told
    assert "expected a file of the study phantom" in told
    assert "Traceback (most recent call last)" not in told


def test_the_page_of_a_study_names_the_commit_of_its_runs(study):
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=study, capture_output=True, text=True, check=True)
    record = read_record(study / f"results/train/phantom/{MODEL}/fold-0_seed-0/run.json")
    assert record["commit"] == head.stdout.strip()
    assert head.stdout.strip() in (study / "results/report/phantom/study.html").read_text()


def test_another_study_computes_its_report_alone_and_leaves_that_of_the_first_as_it_is(study):
    other = ["--configfile", "config/other.yaml", "--", "results/report/other/summary.json"]
    assert planned(study, *other) == {"join_tables": 1, "summarize_metrics": 1}
    shown = [f"results/report/other/{file}" for file in ("figures/patients.png", "tables/segmentation.csv")]
    expected = {"measure_efficiency", "join_tables", "summarize_metrics", "draw_figure", "write_table"}
    assert set(planned(study, *other, *shown)) == expected
    done(study, *other)
    assert planned(study, *other) == {}
    assert planned(study, "--", *REPORT) == {}


def test_cases_that_are_prepared_again_alike_rerun_nothing_behind_them(study):
    record = study / "results/prepare/phantom/PH-001/PH-001.json"
    before = record.read_bytes(), record.stat().st_mtime_ns
    done(study, "--forcerun", "prepare_case", "--", "prepare")
    assert record.read_bytes() == before[0]
    assert record.stat().st_mtime_ns > before[1]
    assert planned(study, "--", *REPORT) == {}


def stop_after_a_step(folder):
    """Kill Snakemake while the longer training runs; the training keeps its state and ends."""
    log = folder / f"results/logs/train/phantom/{LONGER}/fold-0_seed-0.log"
    process = begin(folder, "--", f"{TRAINING}/run.json")
    while not (log.exists() and f"Train {LONGER}" in log.read_text()):
        assert process.poll() is None, process.stdout.read()[-4000:]
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + SECONDS_TO_STOP
    while "stopped on request after step" not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.1)


def test_a_training_goes_on_from_its_checkpoint_in_a_copy_of_the_folder_elsewhere(study, tmp_path):
    stop_after_a_step(study)
    [checkpoint] = (study / TRAINING / "checkpoints").glob("step-*.ckpt")
    folder = tmp_path / "elsewhere" / "copy"
    shutil.copytree(study, folder, copy_function=shutil.copyfile)  # neither dates nor inodes
    assert planned(folder, "--", f"{TRAINING}/run.json") == {"train_model": 1}
    done(folder, "--", f"{TRAINING}/run.json")
    assert read_record(folder / TRAINING / "run.json")["resumed_at_steps"] == [int(checkpoint.stem.split("-")[1])]
    assert not (folder / TRAINING / "checkpoints").exists()


@pytest.mark.parametrize("file", READERS)
def test_no_flipped_bit_is_read_without_a_word(study, tmp_path, file):
    [path] = study.glob(file)
    read, content, copy = READERS[file], path.read_bytes(), tmp_path / path.name
    expected, generator = read(path), np.random.default_rng(14)
    for _ in range(FLIPS):
        damaged = bytearray(content)
        damaged[generator.integers(len(content))] ^= 1 << generator.integers(8)
        copy.write_bytes(damaged)
        with suppress(BadInput):
            assert read(copy) == expected


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damaged", "later"),
    [
        (f"results/train/phantom/{MODEL}/fold-0_seed-0/run.json", "results/report/phantom/runs.parquet"),
        (f"{TESTED.format('predict')}/PH-001_mass_probability.nii.gz", f"{TESTED.format('evaluate')}/metrics.parquet"),
    ],
)
def test_a_damaged_file_stops_the_run_with_what_makes_it_anew(study, damaged, later):
    (study / later).unlink()
    flip(study / damaged)
    status, told = snakemake(study, "--", later, *REPORT)
    assert status != 0
    [place] = set(re.findall(rf"Stopped: {damaged}: expected .*; remove (\S+) and run snakemake again\.", told))
    remove = study / (damaged if place == "it" else place)
    remove.unlink() if remove.is_file() else shutil.rmtree(remove)
    done(study, "--", later, *REPORT)
    assert planned(study, "--", later, *REPORT) == {}
