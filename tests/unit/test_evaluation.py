import math

import numpy as np
import pytest

from diffufuse.errors import BadInput
from diffufuse.evaluation import evaluate_folder
from diffufuse.inference import write_prediction
from diffufuse.metrics.calibration import ece, region_of_interest
from diffufuse.prepared import PreparedCase
from diffufuse.tables import METRICS, read_table, write_table
from diffufuse.volumes import Volume, read_volume, write_volume

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])
SHAPE = (16, 14, 10)
REGIONS = {"mass": [1], "edema": [1, 2]}
NAMES = {"dataset": "d", "condition": "clean", "trained_on": "d", "model": "m", "fold": 0, "seed": 1}


@pytest.fixture
def files(tmp_path):
    """A reference of two labels, a body, and probabilities that find both almost."""
    draw = np.random.default_rng(0)
    labels, body = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, bool)
    labels[4:10, 4:10, 3:7], labels[5:8, 5:8, 4:6], body[:12] = 2, 1, True
    probability = {
        region: np.clip(0.8 * np.isin(labels, values) + 0.25 * draw.random(SHAPE), 0, 1).astype(np.float32)
        for region, values in REGIONS.items()
    }
    write_volume(Volume(labels, AFFINE), tmp_path / "labels.nii.gz")
    write_volume(Volume(body, AFFINE), tmp_path / "body.nii.gz")
    (tmp_path / "predictions").mkdir()
    write_prediction(probability, PreparedCase("A", None, {}, AFFINE), tmp_path / "predictions")
    return tmp_path


def evaluate(files, metrics, **rest):
    references = {"A": files / "labels.nii.gz"}
    return evaluate_folder(files / "predictions", references, regions=REGIONS, metrics=metrics, names=NAMES, **rest)


def value(table, region, metric):
    [found] = table[(table["region"] == region) & (table["metric"] == metric)]["value"]
    return found


def test_every_region_and_metric_has_a_row_that_fits_the_table(files):
    table = evaluate(files, ["dice", "nll"])
    write_table(table, files / "metrics.parquet", METRICS)
    kept = read_table(files / "metrics.parquet", METRICS)
    assert set(zip(kept["region"], kept["metric"], strict=True)) >= {(r, m) for r in REGIONS for m in ("dice", "nll")}
    assert dict(zip(kept["metric"], kept["unit"], strict=True))["nll"] == "nat"


def test_calibration_is_measured_on_stored_probabilities_near_the_region_within_the_body(files):
    labels, body = (read_volume(files / f"{name}.nii.gz").array for name in ("labels", "body"))
    bodies = {"A": files / "body.nii.gz"}
    for region, values in REGIONS.items():
        stored = read_volume(files / "predictions" / f"A_{region}_probability.nii.gz").array
        reference = np.isin(labels, values)
        near = region_of_interest(stored >= 0.5, reference, spacing_mm=(2, 2, 3))
        within = near & (body > 0)
        assert within.sum() < near.sum()
        assert value(evaluate(files, ["ece"]), region, "ece") == ece(stored[near], reference[near])
        assert value(evaluate(files, ["ece"], bodies=bodies), region, "ece") == ece(stored[within], reference[within])


def test_masks_are_enough_for_metrics_of_masks(files):
    for path in (files / "predictions").glob("*_probability.nii.gz"):
        path.unlink()
    assert value(evaluate(files, ["dice"]), "mass", "dice") == 1
    with pytest.raises(BadInput, match="A_mass_probability"):
        evaluate(files, ["dice", "brier"])


def test_a_prediction_on_another_grid_is_refused_by_name(files):
    shifted = AFFINE.copy()
    shifted[0, 3] = 1
    mask = read_volume(files / "predictions" / "A_edema.nii.gz")
    write_volume(Volume(mask.array, shifted), files / "predictions" / "A_edema.nii.gz")
    with pytest.raises(BadInput, match=r"A_edema\.nii\.gz, case A: expected the grid of the case's reference"):
        evaluate(files, ["dice"])


def test_a_case_without_the_region_has_no_calibration(files):
    nothing = np.zeros(SHAPE, np.float32)
    write_volume(Volume(nothing.astype(np.uint8), AFFINE), files / "labels.nii.gz")
    write_prediction(dict.fromkeys(REGIONS, nothing), PreparedCase("A", None, {}, AFFINE), files / "predictions")
    table = evaluate(files, ["ece", "dice"])
    assert math.isnan(value(table, "mass", "ece"))
    assert value(table, "mass", "both_empty") == 1
