"""The whole line, from DICOM to MLflow, run by Snakemake on a small phantom study in an empty folder."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from mlflow.tracking import MlflowClient

from diffufuse.dicom.series import read_header
from diffufuse.evaluate.schemas import METRICS
from diffufuse.files.digests import sha256_of
from diffufuse.files.records import read_record
from diffufuse.files.tables import read_table
from diffufuse.metrics.fusion.catalogue import FUSION_METRICS
from diffufuse.metrics.overlap import COUNTED
from diffufuse.space.volumes import read_volume
from diffufuse.study.cohorts import read_cohort

pytestmark = [pytest.mark.workflow, pytest.mark.timeout(1500)]
ROOT = Path(__file__).parents[2]
SNAKEMAKE = Path(sys.executable).with_name("snakemake")
SHEET = """case\tpatient\tfold\tvalidates\tsite\texcluded
PH-001\tPH-001\t0\t1\t\t-
PH-002\tPH-002\t1\t0\t\t-
PH-003\tPH-003\t-\t-\t\t-
PH-004\tPH-004\t0\t-\t\tkept out by this test
"""
RUN = "results/train/phantom/diffufusemed_tiny/fold-0_seed-0"
TRAINED = ("diffufusemed_tiny", "unet2d_tiny")
VARIANTS = [f"diffufusemed_tiny_{change}" for change in ("uniform_gates", "sampled", "scaled")]


def snakemake(folder, *arguments):
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return subprocess.run(
        [SNAKEMAKE, *arguments], cwd=folder, capture_output=True, text=True, check=False, env=environment
    )


def shrink(folder):
    """Three patients, two folds, trainings of seconds, and a model that differs at test time alone."""
    (folder / "config" / "cohorts" / "phantom.tsv").write_text(SHEET)
    for name, change in {
        "config": lambda c: c["study"].update(models=[*TRAINED, *VARIANTS], overlays=1),
        "datasets": lambda c: c["datasets"]["phantom"]["source"].update(patients=3),
        "models": lambda c: [
            *(c["models"][name]["training"].update(steps=100, validate_every=50, batch=4) for name in TRAINED),
        ],
    }.items():
        path = folder / "config" / f"{name}.yaml"
        content = yaml.safe_load(path.read_text())
        change(content)
        path.write_text(yaml.safe_dump(content, sort_keys=False))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    for name in ("Snakefile", "config", "workflow", "src", "profiles"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    shrink(folder)
    done = snakemake(folder)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return folder


@pytest.fixture(scope="module")
def metrics(study):
    return read_table(study / "results/report/phantom/metrics.parquet", METRICS)


def test_every_test_patient_has_every_metric_under_every_condition(metrics):
    dice = metrics[metrics["metric"] == "dice"]
    asked = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())["study"]
    for model in (*TRAINED, *VARIANTS):
        part = dice[dice["model"] == model]
        assert set(zip(part["case"], part["condition"], strict=True)) == {
            (case, condition)
            for case in ("PH-001", "PH-002")
            for condition in asked["only"].get(model, asked["conditions"])
        }
    assert dice["value"].between(0, 1).all()
    assert set(metrics["metric"]) == {*asked["metrics"], *COUNTED} - set(FUSION_METRICS)  # nothing is fused here
    assert {"dice", "iou", "hd95", "precision", "recall", "missed"} <= set(metrics["metric"])


def test_iou_lies_between_its_bounds(metrics):
    wide = metrics.pivot_table(index=["model", "case", "condition"], columns="metric", values="value")
    assert (wide["iou"] <= wide["dice"] + 1e-12).all()
    assert (wide["iou"] >= wide["dice"] / (2 - wide["dice"]) - 1e-12).all()


def test_the_report_has_its_tables_figures_and_pictures(study):
    report = study / "results/report/phantom"
    asked = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())["study"]
    written = {
        "results.md",
        "study.html",
        "summary.json",
        "patients.csv",
        "gallery/phantom/cases.png",
        *(f"tables/{table}.{kind}" for table in asked["tables"] for kind in ("csv", "md", "tex", "html")),
        *(f"figures/{figure}.{kind}" for figure in asked["figures"] for kind in ("csv", "pdf", "png")),
        *(f"conditions/phantom/{name}.png" for name in asked["conditions"] if name != "clean"),
        *(f"overlays/phantom/unet2d_tiny/{case}.png" for case in ("PH-001", "PH-002")),
        *(
            f"uncertainty/phantom/unet2d_tiny/{case}{end}"
            for case in ("PH-001", "PH-002")
            for end in (".png", ".nii.gz")
        ),
        *(f"extremes/phantom/{model}.png" for model in TRAINED),
    }
    assert written <= {path.relative_to(report).as_posix() for path in report.rglob("*") if path.stat().st_size}
    html = snakemake(study, "--report", "report.html", "--quiet")
    assert html.returncode == 0, html.stderr
    assert "ERROR/" not in html.stderr
    assert (study / "report.html").stat().st_size > 500_000


def test_mlflow_shows_the_study_its_models_and_their_trainings_with_curves(study):
    client = MlflowClient(f"sqlite:///{study}/results/track/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("phantom").experiment_id])
    trainings = {f"train/phantom/{model}/fold-{fold}_seed-0" for model in TRAINED for fold in (0, 1)}
    models = {f"model/phantom/{model}" for model in (*TRAINED, *VARIANTS)}
    assert {run.data.tags["path"] for run in runs} == trainings | models | {"study/phantom"}
    assert all("test/clean.mass.dice" in run.data.metrics for run in runs if run.data.tags["stage"] != "study")
    for run in (run for run in runs if run.data.tags["path"] in trainings):
        assert len(client.get_metric_history(run.info.run_id, "loss")) == 10
        assert run.data.params["block.training.steps"] == "100"


def test_mlflow_keeps_the_tables_figures_and_pictures_of_the_study(study):
    client = MlflowClient(f"sqlite:///{study}/results/track/mlflow.db")
    experiment = client.get_experiment_by_name("phantom").experiment_id
    [run] = client.search_runs([experiment], "tags.stage = 'study'")
    kept = study / "results/track/artifacts/phantom" / run.info.run_id / "artifacts"
    overlays = {f"pictures/overlays/phantom/unet2d_tiny/{case}.png" for case in ("PH-001", "PH-002")}
    found = {path.relative_to(kept).as_posix() for path in kept.rglob("*") if path.is_file()}
    assert {"results.md", "tables/calibration.html", "figures/reliability.png", *overlays} <= found


def test_scaled_probabilities_have_the_same_masks(metrics):
    clean = metrics[metrics["condition"] == "clean"]
    of = {
        model: clean[clean["model"] == model].set_index(["case", "metric"])["value"]
        for model in ("diffufusemed_tiny", "diffufusemed_tiny_scaled")
    }
    bold, tame = of.values()
    for metric in ("dice", "hd95", "auc", "coverage"):
        assert bold.xs(metric, level="metric").to_list() == pytest.approx(
            tame.xs(metric, level="metric").to_list(), abs=1e-3
        )
    assert bold.xs("nll", level="metric").to_list() != tame.xs("nll", level="metric").to_list()


def jobs_of(plan):
    """Rule to number of jobs, from what a dry run says."""
    words = map(str.split, plan.split("Job stats:")[1].splitlines())
    return {line[0]: line[1] for line in words if len(line) == 2 and line[1].isdigit()}


def test_another_condition_asks_for_its_own_predictions_and_the_report_alone(study):
    path = study / "config" / "config.yaml"
    before = path.read_text()
    content = yaml.safe_load(before)
    content["study"]["conditions"].append("blur-strong")
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    plan = snakemake(study, "-n", "--", "evaluate").stdout
    path.write_text(before)
    jobs = jobs_of(plan)
    assert jobs["predict_cases"] == jobs["evaluate_predictions"] == str(2 * len(TRAINED))
    assert not {"train_model", "fit_calibration", "prepare_case"} & set(jobs)


def test_without_the_mlflow_store_only_the_store_is_built_anew(study):
    (study / "results/track").rename(study / "kept")
    plan = snakemake(study, "-n").stdout
    (study / "kept").rename(study / "results/track")
    assert set(jobs_of(plan)) == {"track_study", "all", "total"}


def test_a_second_run_does_nothing(study):
    again = snakemake(study)
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout + again.stderr


def test_registration_finds_the_true_displacement_to_a_millimeter(study):
    for case in ("PH-001", "PH-002", "PH-003"):
        found = read_record(study / f"results/prepare/phantom/{case}/{case}.json")["registration"]
        truth = np.array(json.loads((study / f"data/raw/phantom_truth/{case}.json").read_text())["mr_to_petct"])
        body = read_volume(study / f"results/prepare/phantom/{case}/{case}_body.nii.gz")
        voxels = np.argwhere(body.array > 0)[::50]
        points = np.c_[voxels, np.ones(len(voxels))] @ body.affine.T
        for modality, true in {"ct": truth, "pet": truth, "t2fs": np.eye(4)}.items():
            error_mm = np.linalg.norm((points @ (np.reshape(found[modality]["matrix"], (4, 4)) - true).T), axis=1)
            assert error_mm.mean() <= 1.0, (case, modality)


def test_the_labels_are_the_true_mass(study):
    for case in ("PH-001", "PH-002", "PH-003"):
        ours = read_volume(study / f"results/ingest/phantom/{case}/{case}_labels.nii.gz")
        true = read_volume(study / f"data/raw/phantom_truth/{case}_mass.nii.gz")
        volumes = [(v.array == 1).sum() * np.prod(v.spacing_mm) for v in (ours, true)]
        assert volumes[0] == pytest.approx(volumes[1], rel=0.06)


def plain(path):
    """A file's content as a curious person would see it."""
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


def test_nothing_that_names_a_patient_leaves_the_raw_data(study):
    header = read_header(next((study / "data/raw/phantom/PH-001/CT").glob("*.dcm")))
    planted = [
        str(header.get(keyword)).encode()
        for keyword in (
            "PatientName",
            "PatientBirthDate",
            "AccessionNumber",
            "ReferringPhysicianName",
            "InstitutionName",
            "StudyInstanceUID",
            "SeriesInstanceUID",
            "FrameOfReferenceUID",
        )
    ]
    assert all(len(text) > 7 for text in planted)
    results = [path for path in (study / "results").rglob("*") if path.is_file()]
    assert {".gz", ".png", ".json", ".log", ".db", ".html", ".tsv"} <= {path.suffix for path in results}
    assert not [(path, text) for path in results for text in planted if text in plain(path)]


def test_a_bad_case_stops_alone_and_the_line_that_is_offered_excludes_it(study):
    slices = sorted((study / "data/raw/phantom/PH-003/CT").glob("*.dcm"))
    sheet = study / "config/cohorts/phantom.tsv"
    hidden = slices[20].rename(study / "hidden.dcm")
    ingested = study / "results/ingest/phantom"
    before = (ingested / "PH-001.json").read_bytes()
    for case in ("PH-001", "PH-003"):
        shutil.rmtree(ingested / case)
        (ingested / f"{case}.json").unlink()
    try:
        stopped = snakemake(study, "--", "ingest")
        told = stopped.stdout + stopped.stderr
        assert stopped.returncode != 0
        assert "Traceback" not in told
        left = [f"{case}{ending}" for case in ("PH-001", "PH-002") for ending in ("", ".json")]
        assert sorted(path.name for path in ingested.iterdir()) == left
        assert (ingested / "PH-001.json").read_bytes() == before
        assert "1 case(s) stopped" in told
        assert f"1 missing (PH-003/CT/{slices[20].name})" in told
        [line] = [line for line in told.splitlines() if line.startswith("PH-003\tPH-003\t")]
        others = SHEET.replace("\t0\t1\t", "\t0\t-\t").replace("\t1\t0\t", "\t1\t-\t")  # somebody is left to train on
        sheet.write_text(others.replace("PH-003\tPH-003\t-\t-\t\t-", line))
        assert read_cohort(sheet).names == ["PH-001", "PH-002"]
        assert snakemake(study, "--", "ingest").returncode == 0
    finally:
        hidden.rename(slices[20])
        sheet.write_text(SHEET)
    assert snakemake(study, "--", "ingest").returncode == 0
    assert snakemake(study, "--touch", "--quiet").returncode == 0


def test_excluded_cases_are_counted_in_the_table(study):
    table = (study / "results/report/phantom/tables/segmentation.csv").read_text().splitlines()
    column = table[0].split(",").index("excluded")
    assert {row.split(",")[column] for row in table[1:]} == {"1"}


def test_a_killed_training_is_finished_by_the_next_run_with_the_same_weights(study):
    weights = study / RUN / "weights" / "weights.safetensors"
    expected = sha256_of(weights)
    shutil.rmtree(weights.parent)
    log = study / "results/logs/train/phantom/diffufusemed_tiny/fold-0_seed-0.log"
    log.unlink()
    workflow = subprocess.Popen(
        [SNAKEMAKE, "--", "train"], cwd=study, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not log.exists():
        time.sleep(0.1)
        assert workflow.poll() is None
    os.kill(workflow.pid, signal.SIGKILL)
    workflow.wait()
    time.sleep(3)
    assert not weights.exists()
    finished = snakemake(study, "--", "train")
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert sha256_of(weights) == expected
