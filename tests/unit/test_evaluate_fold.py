import math

import numpy as np
import pandas as pd
import pytest

from diffufuse.errors import BadInput
from diffufuse.evaluate.fold import Predicted, evaluate_fold, forecast_table, thresholds_of
from diffufuse.evaluate.schemas import FORECASTS, METRICS
from diffufuse.files.records import write_record
from diffufuse.files.tables import read_table, write_table
from diffufuse.metrics.calibration import ece
from diffufuse.metrics.catalogue import METRICS as CATALOGUE
from diffufuse.metrics.comparison import region_of_interest
from diffufuse.metrics.forecast import forecast_of
from diffufuse.predict.inference import write_prediction
from diffufuse.predict.samples import write_samples
from diffufuse.report.joined import summed_forecasts
from diffufuse.space.volumes import Volume, read_volume, write_volume
from diffufuse.store.case import PreparedCase

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
    write_record({"labels_ml": {"1": {"drawn": 0.5, "resampled": 0.4}}}, tmp_path / "A.json")
    write_volume(Volume(labels, AFFINE), tmp_path / "A_labels.nii.gz")
    write_volume(Volume(body, AFFINE), tmp_path / "A_body.nii.gz")
    (tmp_path / "predictions").mkdir()
    write_prediction(probability, PreparedCase("A", None, {}, AFFINE), tmp_path / "predictions")
    return tmp_path


def predicted(files):
    return Predicted(files / "predictions", [files / "A.json"], REGIONS)


def evaluate(files, *, thresholds=None):
    return evaluate_fold(predicted(files), thresholds=thresholds or {}, names=NAMES)[0]


def value(table, region, metric):
    [found] = table[(table["region"] == region) & (table["metric"] == metric)]["value"]
    return found


def test_every_region_and_metric_has_a_row_that_fits_the_table(files):
    table = evaluate(files)
    write_table(table, files / "metrics.parquet", METRICS)
    kept = read_table(files / "metrics.parquet", METRICS)
    assert list(zip(kept["region"], kept["metric"], strict=True)) == [(r, m) for r in REGIONS for m in CATALOGUE]
    assert dict(zip(kept["metric"], kept["unit"], strict=True))["nll"] == "nat"


def test_calibration_is_measured_on_stored_probabilities_near_the_region_within_the_body(files):
    labels, body = (read_volume(files / f"A_{name}.nii.gz").array for name in ("labels", "body"))
    table = evaluate(files)
    for region, values in REGIONS.items():
        stored = read_volume(files / "predictions" / f"A_{region}_probability.nii.gz").array
        reference = np.isin(labels, values)
        box, near = region_of_interest(stored >= 0.5, reference, spacing_mm=(2, 2, 3))
        within = near & (body[box] > 0)
        assert within.sum() < near.sum()
        assert value(table, region, "ece") == ece(forecast_of(stored[box], reference[box], within=within))
        assert value(table, region, "ece_body") == ece(forecast_of(stored, reference, within=body > 0))


def test_what_was_forecast_is_kept_for_every_region_and_scope_and_sums_over_folds(files):
    _, table = evaluate_fold(predicted(files), thresholds={}, names=NAMES)
    write_table(table, files / "forecasts.parquet", FORECASTS)
    kept = read_table(files / "forecasts.parquet", FORECASTS)
    assert {tuple(pair) for pair in kept[["region", "scope"]].to_numpy()} == {
        (region, scope) for region in REGIONS for scope in ("near", "body")
    }
    body = read_volume(files / "A_body.nii.gz").array > 0
    voxels = kept.groupby(["region", "scope"])[["inside", "outside"]].sum().sum(axis=1)
    assert voxels["mass", "body"] == body.sum() > voxels["mass", "near"]
    twice = summed_forecasts([files / "forecasts.parquet"] * 2)
    assert len(twice) == len(kept)
    assert twice["inside"].sum() == 2 * kept["inside"].sum()


def test_a_forecast_without_a_voxel_is_a_table_without_a_row():
    nothing = forecast_of(np.zeros((2, 2)), np.zeros((2, 2), bool), within=np.zeros((2, 2), bool))
    table = forecast_table({("mass", "near"): nothing}, names=NAMES)
    assert list(table.columns) == FORECASTS.names
    assert table.empty


def test_sets_are_judged_by_the_threshold_of_their_region_and_are_unknown_without_one(files):
    known = evaluate(files, thresholds={"mass": 1.0})
    assert value(known, "mass", "coverage") == 1
    assert value(known, "mass", "set_size") == 2
    assert math.isnan(value(known, "edema", "coverage"))


def test_the_lesion_lends_its_threshold_to_the_lesion_of_another_dataset():
    calibration = pd.DataFrame({"region": ["mass", "edema"], "threshold": [0.7, 0.6]})
    assert thresholds_of(calibration, ["wt"], lesion="mass") == {"wt": 0.7}
    assert thresholds_of(calibration, ["mass", "edema"], lesion="mass") == {"mass": 0.7, "edema": 0.6}
    assert math.isnan(thresholds_of(calibration, ["wt"], lesion=None)["wt"])


def test_samples_beside_a_prediction_give_its_volume_an_interval(files):
    write_samples({"mass": [0.1, 0.2, 0.3], "edema": []}, "A", files / "predictions")
    table = evaluate(files)
    assert value(table, "mass", "volume_covered") == 1
    assert value(table, "mass", "volume_interval_ml") > 0
    assert math.isnan(value(table, "edema", "volume_covered"))


def test_a_prediction_without_its_probability_is_refused(files):
    (files / "predictions" / "A_mass_probability.nii.gz").unlink()
    with pytest.raises(BadInput, match="A_mass_probability"):
        evaluate(files)


def test_a_prediction_on_another_grid_is_refused_by_name(files):
    shifted = AFFINE.copy()
    shifted[0, 3] = 1
    mask = read_volume(files / "predictions" / "A_edema.nii.gz")
    write_volume(Volume(mask.array, shifted), files / "predictions" / "A_edema.nii.gz")
    with pytest.raises(
        BadInput,
        match=r"A_edema\.nii\.gz: .* its grid is not that of the case's reference; remove .*predictions and run",
    ):
        evaluate(files)


def test_a_case_without_the_region_has_no_calibration(files):
    nothing = np.zeros(SHAPE, np.float32)
    write_volume(Volume(nothing.astype(np.uint8), AFFINE), files / "A_labels.nii.gz")
    write_record({"labels_ml": {}}, files / "A.json")
    write_prediction(dict.fromkeys(REGIONS, nothing), PreparedCase("A", None, {}, AFFINE), files / "predictions")
    table = evaluate(files)
    assert math.isnan(value(table, "mass", "ece"))
    assert value(table, "mass", "both_empty") == 1


def test_a_region_that_was_lost_in_resampling_is_not_scored_whatever_is_predicted(files):
    labels = read_volume(files / "A_labels.nii.gz")
    write_volume(labels.with_array(np.where(labels.array == 1, 0, labels.array)), files / "A_labels.nii.gz")
    rows, forecasts = evaluate_fold(predicted(files), thresholds={"mass": 0.5}, names=NAMES)
    values = rows[rows["region"] == "mass"].set_index("metric")["value"]
    assert values["lost"] == 1
    assert values.drop("lost").isna().all()
    assert set(forecasts["region"]) == {"edema"}
    assert value(rows, "edema", "lost") == 0
    assert value(rows, "edema", "dice") > 0.9
