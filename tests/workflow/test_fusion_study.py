"""Fusion through the whole workflow: volumes with a game, a fuser and a segmenter of its images; pairs of pictures."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from diffufuse.evaluate.schemas import METRICS
from diffufuse.files.records import read_record
from diffufuse.files.tables import read_table
from diffufuse.metrics.fusion.catalogue import FUSION_METRICS
from diffufuse.pixels.color import luma_and_chroma
from diffufuse.pixels.image_file import read_picture
from diffufuse.pixels.orientation import as_picture
from diffufuse.space.volumes import read_volume
from diffufuse.store.case import read_prepared

pytestmark = [pytest.mark.workflow, pytest.mark.timeout(1500)]
ROOT = Path(__file__).parents[2]
SNAKEMAKE = Path(sys.executable).with_name("snakemake")
SHEET = """case\tpatient\tfold\tvalidates\tsite\texcluded
PH-001\tPH-001\t0\t-\t\t-
PH-002\tPH-002\t-\t0\t\t-
PH-003\tPH-003\t-\t-\t\t-
PH-004\tPH-004\t-\t-\t\t-
"""
GAME, FUSER, DISJOINT = "fuse4seg_tiny", "average_tiny", "convnext_unet_tiny_on_average"
VOLUMES = {
    "name": "phantom",
    "datasets": ["phantom"],
    "conditions": ["clean", "no-ct"],
    "models": [GAME, FUSER, DISJOINT],
    "only": {GAME: ["clean"]},
    "overlay_conditions": ["clean"],
    "compare_with": GAME,
    "folds": [0],
    "metrics": ["dice", "iou", "hd95", "psnr", "ssim", "qabf", "vif"],
    "tables": ["fusion", "fusion_segmentation", "fusion_ablation", "segmentation", "comparison", "efficiency"],
    "figures": ["game", "fusion_and_dice", "patients"],
    "overlays": 1,
}
PAIRS = {
    "name": "pairs",
    "datasets": ["phantom_pairs"],
    "conditions": ["clean"],
    "models": ["fuse4seg_leader_tiny", FUSER],
    "only": {},
    "overlay_conditions": ["clean"],
    "compare_with": FUSER,
    "folds": [0],
    "metrics": ["psnr", "ssim", "qabf", "vif"],
    "tables": ["fusion", "comparison"],
    "figures": ["forest"],
    "overlays": 1,
}
RUN = "fold-0_seed-0"


def coarse(block):
    """Four patients with CT and T1 that are taken to lie on each other, so that nothing is registered."""
    block["source"]["patients"] = 4
    block["spacing_mm"] = [5.0, 5.0, 8.0]
    block["modalities"] = {name: block["modalities"][name] for name in ("ct", "t1")}
    block["modalities"]["ct"] |= {"follows": "t1", "aligned": "taken so in this test, to save the registration"}
    block["modalities"]["t1"]["bias_correction"] = "none"
    block["pair"]["function"] = "ct"


def shorten(models):
    short = {"batch": 4, "patch": [32, 32, 1], "validate_every": 1000, "warmup_steps": 5}
    for name in (GAME, DISJOINT, "fuse4seg_leader_tiny"):
        models[name]["training"] |= short | {"steps": 30}
    models[GAME]["training"]["game"] = {"warm_up_steps": 15, "inner_steps": 2, "leader_learning_rate": 1.0e-3}


def changed(folder, part, change):
    path = folder / "config" / f"{part}.yaml"
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def snakemake(folder, *arguments):
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment |= {"PYTHONPATH": str(folder / "src")}
    done = subprocess.run(
        [SNAKEMAKE, *arguments], cwd=folder, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fusion")
    for name in ("Snakefile", "config", "workflow", "src", "profiles"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    (folder / "config/cohorts/phantom.tsv").write_text(SHEET)
    changed(folder, "config", lambda content: content.update(study=content["study"] | VOLUMES))
    changed(folder, "datasets", lambda content: coarse(content["datasets"]["phantom"]))
    changed(folder, "models", lambda content: shorten(content["models"]))
    (folder / "pairs.yaml").write_text(yaml.safe_dump({"study": PAIRS}))
    snakemake(folder)
    snakemake(folder, "--configfile", "pairs.yaml")
    return folder


def predicted(study, model, condition="clean", dataset="phantom"):
    return study / f"results/predict/{dataset}/test/{condition}/{dataset}/{model}/{RUN}"


def metrics_of(study, name):
    return read_table(study / f"results/report/{name}/metrics.parquet", METRICS)


def test_a_fused_image_is_there_for_people_and_for_the_next_model(study):
    for model in (GAME, FUSER):
        case = read_prepared(predicted(study, model) / "fused/PH-001.json")
        volume = read_volume(predicted(study, model) / "PH-001_fused.nii.gz")
        fused = case.scan.images[0]
        np.testing.assert_allclose(volume.array, fused, atol=1e-3)
        assert 0 <= fused.min() < fused.max() <= 1
    prepared = read_prepared(study / "results/prepare/phantom/PH-001/PH-001.json")
    np.testing.assert_array_equal(case.slices.labels(slice(None)), prepared.slices.labels(slice(None)))


def test_a_condition_is_applied_by_the_fuser_and_reaches_its_segmenter(study):
    clean, lacking = (read_prepared(predicted(study, FUSER, name) / "fused/PH-001.json") for name in ("clean", "no-ct"))
    assert not np.array_equal(clean.scan.images, lacking.scan.images)
    dice = metrics_of(study, "phantom").query("metric == 'dice' and model == @DISJOINT")
    assert set(dice["condition"]) == {"clean", "no-ct"}


def test_the_fuser_of_a_segmenter_learned_from_its_training_cases_alone(study):
    plans = [read_record(study / f"results/train/phantom/{model}/{RUN}/plan.json") for model in (FUSER, DISJOINT)]
    assert plans[0]["training_cases"] == plans[1]["training_cases"] == ["PH-003", "PH-004"]
    learned = study / f"results/predict/phantom/training/clean/phantom/{FUSER}/{RUN}/fused"
    assert {path.stem for path in learned.glob("*.json")} == {"PH-003", "PH-004"}


def test_fused_images_and_masks_are_scored_where_there_are_some(study):
    values = metrics_of(study, "phantom")
    of_images = values[values["metric"].isin(FUSION_METRICS)]
    assert set(of_images["model"]) == {GAME, FUSER}
    assert set(of_images["region"]) == {"image"}
    assert set(values[values["metric"] == "dice"]["model"]) == {GAME, DISJOINT}
    pairs = metrics_of(study, "pairs")
    assert set(pairs["metric"]) >= {"psnr", "ssim", "qabf", "vif"}
    assert pairs["case"].nunique() == 6


def test_the_reports_show_what_was_fused(study):
    report = study / "results/report"
    shown = {path.relative_to(report).as_posix() for path in report.rglob("*") if path.stat().st_size}
    assert {f"phantom/tables/{table}.csv" for table in VOLUMES["tables"]} <= shown
    assert {f"phantom/figures/{figure}.png" for figure in VOLUMES["figures"]} <= shown
    assert {"phantom/fused/phantom/PH-001.png", "phantom/edge_profiles/phantom/PH-001.png"} <= shown
    assert [name for name in shown if name.startswith("pairs/fused/phantom_pairs/")]
    table = (report / "phantom/tables/fusion_segmentation.csv").read_text()
    assert GAME in table
    assert DISJOINT in table


def test_a_fused_picture_has_the_luma_of_fusion_and_the_colors_of_its_source(study):
    folder = predicted(study, FUSER, dataset="phantom_pairs")
    [picture, *_] = sorted(folder.glob("*_fused.png"))
    case = picture.name.removesuffix("_fused.png")
    [source] = (study / "data/raw/phantom_pairs").rglob(f"uptake/{case}.png")
    levels = read_picture(picture)
    luma, *chroma = luma_and_chroma(levels)
    _, *of_source = luma_and_chroma(read_picture(source))
    fused = as_picture(read_prepared(folder / f"fused/{case}.json").slices.images(0)[0])
    unclipped = ((levels > 0) & (levels < 1)).all(axis=-1)
    assert unclipped.mean() > 0.5
    step = 1 / 255
    np.testing.assert_allclose(luma[unclipped], fused[unclipped], atol=step)
    for saved, known in zip(chroma, of_source, strict=True):
        np.testing.assert_allclose(saved[unclipped], known[unclipped], atol=step)
    assert np.abs(of_source).max() > 0.1


def test_a_second_run_does_nothing(study):
    assert "Nothing to be done" in snakemake(study)
    assert "Nothing to be done" in snakemake(study, "--configfile", "pairs.yaml")
