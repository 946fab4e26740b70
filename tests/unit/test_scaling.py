import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit

from diffufuse.errors import BadInput
from diffufuse.evaluate.fold import Predicted
from diffufuse.evaluate.scaling import fit_calibration, fit_temperature, scale_predictions, scaled
from diffufuse.evaluate.schemas import CALIBRATIONS
from diffufuse.files.records import write_record
from diffufuse.files.tables import read_table, write_table
from diffufuse.metrics.calibration import ece, nll
from diffufuse.metrics.conformal import coverage, set_size
from diffufuse.metrics.forecast import forecast_of
from diffufuse.predict.inference import write_prediction
from diffufuse.predict.samples import read_samples, write_samples
from diffufuse.space.volumes import Volume, read_volume, write_volume
from diffufuse.store.case import PreparedCase

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])
SHAPE = (16, 14, 10)
NAMES = {"dataset": "d", "model": "m", "fold": 0, "seed": 1}


def a_patient(seed, *, boldness, voxels=40_000):
    """A forecast whose logits are the true ones times a boldness, that is, which a temperature of it makes true."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(-1, 2, voxels)
    return forecast_of(expit(boldness * logits), generator.random(voxels) < expit(logits))


@pytest.mark.parametrize("boldness", [0.5, 1.0, 2.5])
def test_the_temperature_undoes_how_bold_a_forecast_is(boldness):
    assert fit_temperature([a_patient(seed, boldness=boldness) for seed in range(3)]) == pytest.approx(
        boldness, rel=0.03
    )


def test_patients_count_alike_however_large():
    small, large = a_patient(0, boldness=2.0, voxels=40_000), a_patient(1, boldness=0.5, voxels=400_000)
    assert fit_temperature([small, large]) == pytest.approx(
        fit_temperature([a_patient(0, boldness=2.0), a_patient(1, boldness=0.5)]), rel=0.03
    )


def test_there_is_no_temperature_without_a_voxel():
    nothing = forecast_of(np.zeros((1, 1)), np.zeros((1, 1), bool), within=np.zeros((1, 1), bool))
    assert math.isnan(fit_temperature([nothing]))
    assert math.isnan(fit_temperature([]))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0.05, 20))
def test_a_temperature_moves_no_mask_and_no_order(probabilities, temperature):
    before = np.sort(np.array(probabilities, np.float32))
    after = scaled(before, temperature)
    assert after.dtype == np.float32
    assert ((after >= 0.5) == (before >= 0.5)).all()
    assert (np.diff(after) >= 0).all()
    assert ((after >= 0) & (after <= 1)).all()


def test_a_temperature_divides_the_logit():
    assert scaled(np.array([0.9]), 2.0)[0] == pytest.approx(expit(logit(0.9) / 2))


@pytest.fixture
def run(tmp_path):
    """Two validation patients, predicted too boldly."""
    generator = np.random.default_rng(0)
    (tmp_path / "predictions").mkdir()
    for case in "AB":
        labels = np.zeros(SHAPE, np.uint8)
        labels[4:10, 4:10, 3:7] = 1
        truth = 0.1 + 0.8 * labels
        drawn = (generator.random(SHAPE) < truth).astype(np.uint8)
        write_record({"labels_ml": {"1": {"drawn": 1.0, "resampled": 1.0}}}, tmp_path / f"{case}.json")
        write_volume(Volume(drawn, AFFINE), tmp_path / f"{case}_labels.nii.gz")
        write_volume(Volume(np.ones(SHAPE, bool), AFFINE), tmp_path / f"{case}_body.nii.gz")
        said = expit(3 * logit(truth)).astype(np.float32)
        write_prediction({"mass": said}, PreparedCase(case, None, {}, AFFINE), tmp_path / "predictions")
        write_samples({"mass": [1.0, 2.0]}, case, tmp_path / "predictions")
    return tmp_path


def predicted(run, folder="predictions", cases="AB"):
    return Predicted(run / folder, [run / f"{case}.json" for case in cases], {"mass": [1]})


def test_validation_patients_give_a_temperature_and_a_threshold_that_fit_their_table(run):
    found = fit_calibration(predicted(run), scaling="none", names=NAMES)
    write_table(found, run / "calibration.parquet", CALIBRATIONS)
    [row] = read_table(run / "calibration.parquet", CALIBRATIONS).to_dict("records")
    assert row["patients"] == 2
    assert row["temperature"] == pytest.approx(3, rel=0.1)
    assert row["nll_after"] < row["nll_before"]
    assert 0 < row["threshold"] < 1


def test_scaled_predictions_are_calibrated_with_the_same_masks_samples_and_sets(run):
    plain, own = (fit_calibration(predicted(run), scaling=kind, names=NAMES) for kind in ("none", "temperature"))
    files = {path.name for path in (run / "predictions").iterdir()}
    (run / "predictions" / ".snakemake_timestamp").touch()  # Snakemake keeps it in each folder that a job writes
    (run / "scaled").mkdir()
    scale_predictions(run / "predictions", run / "scaled", calibration=own, lesion=None)
    assert {path.name for path in (run / "scaled").iterdir()} == files
    for case in "AB":
        mask, again = (read_volume(run / folder / f"{case}_mass.nii.gz").array for folder in ("predictions", "scaled"))
        assert (mask == again).all()
        assert read_samples(run / "scaled" / f"{case}_mass_samples.json") == [1.0, 2.0]
    before, after = (
        [comparison.body for *_, comparison in predicted(run, folder).comparisons()]
        for folder in ("predictions", "scaled")
    )
    for bold, tame in zip(before, after, strict=True):
        assert nll(tame) < nll(bold)
        assert ece(tame) < ece(bold)
        sets = ((bold, plain["threshold"][0]), (tame, own["threshold"][0]))
        for metric in (coverage, set_size):
            first, second = (metric(forecast, threshold=threshold) for forecast, threshold in sets)
            assert first == pytest.approx(second)


def test_the_lesion_of_another_dataset_is_scaled_as_the_lesion_of_ones_own(run):
    own = fit_calibration(predicted(run), scaling="temperature", names=NAMES)
    for name in ("mass", "mass_probability"):
        (run / "predictions" / f"A_{name}.nii.gz").rename(
            run / "predictions" / f"A_{name.replace('mass', 'wt')}.nii.gz"
        )
    (run / "scaled").mkdir()
    scale_predictions(run / "predictions", run / "scaled", calibration=own, lesion="mass")
    before, after = (read_volume(run / at / "A_wt_probability.nii.gz").array for at in ("predictions", "scaled"))
    assert after == pytest.approx(scaled(before, own["temperature"][0]), abs=1e-5)
    with pytest.raises(BadInput, match="expected a temperature"):
        scale_predictions(run / "predictions", run / "scaled", calibration=own, lesion=None)


def test_without_validation_patients_nothing_is_known_and_nothing_is_scaled(run):
    found = fit_calibration(predicted(run, cases=""), scaling="none", names=NAMES)
    assert found["patients"][0] == 0
    assert found[["temperature", "threshold", "nll_before"]].isna().all(axis=None)
    (run / "scaled").mkdir()
    with pytest.raises(BadInput, match="no validation patients with voxels to fit it on; give it some in the cohort"):
        scale_predictions(run / "predictions", run / "scaled", calibration=found, lesion=None)
