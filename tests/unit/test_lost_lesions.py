"""A lesion that is smaller than a voxel of the common grid, from its preparation to the tables."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from evidence import an_evidence
from small_studies import evidence_of

from diffufuse.errors import BadInput
from diffufuse.evaluate.fold import evaluate_fold
from diffufuse.evaluate.predicted import Predicted
from diffufuse.evaluate.scaling import fit_calibration
from diffufuse.metrics.overlap import COUNTED
from diffufuse.plan.constants import fit_constants
from diffufuse.plan.plans import make_plan, network_of
from diffufuse.predict.cases import Prediction, predict_cases
from diffufuse.predict.inference import predict_case
from diffufuse.prepare.case import prepare_case
from diffufuse.prepare.writing import write_prepared
from diffufuse.report.figures import FIGURES
from diffufuse.report.invariants import require_sound
from diffufuse.report.lost import lost_note
from diffufuse.report.page import results_page
from diffufuse.report.patients import patient_values, summarize
from diffufuse.report.pictures.extremes import ranked_cases
from diffufuse.report.published import COLUMNS as OF_IMAGES
from diffufuse.report.reported import COLUMNS
from diffufuse.report.tables import TABLES
from diffufuse.report.tables.comparison import compare
from diffufuse.report.tables.segmentation import segmentation
from diffufuse.space.volumes import Volume
from diffufuse.store.case import read_all_prepared
from diffufuse.store.index import index_slices
from diffufuse.study.cohorts import Case, Cohort
from diffufuse.train.batches import sampler_of
from diffufuse.train.validation import validation_dice

MODALITIES = {"t1": {"kind": "mr", "bias_correction": "none", "normalization": {"method": "zscore"}}}
BLOCK = {
    "architecture": "unet2d",
    "settings": {"channels": [8, 16, 32], "groups": 4},
    "output": "regions",
    "training": {
        "patch": [16, 16, 1],
        "foreground_share": 0.5,
        "modality_dropout": 0.0,
        "corruption": {"probability": 0.0, "together": 0.0, "conditions": []},
    },
}
REGIONS = {"mass": [1]}
NO_REPORTED = pd.DataFrame(columns=COLUMNS)
NO_IMAGES = pd.DataFrame(columns=OF_IMAGES)
RADIUS_MM = {"BIG-1": 8.0, "BIG-2": 7.0, "TINY-1": 1.1, "TINY-2": 1.1, "NONE-1": 0.0}
NAMES = {"dataset": "sts", "condition": "clean", "trained_on": "sts", "model": "unet2d", "fold": 0, "seed": 0}


def leg(radius_mm, seed=0):
    """A leg in voxels of 1 x 1 x 2 mm with a ball of a lesion in it."""
    grid = Volume(np.zeros((40, 40, 20), np.float32), np.diag([1.0, 1.0, 2.0, 1.0]))
    x, y, z = np.indices(grid.shape) * np.reshape([1, 1, 2], (3, 1, 1, 1))
    away_mm = np.sqrt((x - 19) ** 2 + (y - 19) ** 2 + (z - 18) ** 2)
    tissue = np.random.default_rng(seed).normal(500, 50, grid.shape)
    return {"t1": grid.with_array(tissue.astype(np.float32))}, grid.with_array((away_mm < radius_mm).astype(np.uint8))


def write_case(folder, name):
    images, labels = leg(RADIUS_MM[name], seed=len(name))
    prepared = prepare_case(images, labels, modalities=MODALITIES, reference="t1", spacing_mm=(2.5, 2.5, 4.0))
    files = {part: folder / name / part for part in ("images", "masks")}
    files |= {"labels": folder / f"{name}_labels.nii.gz", "body": folder / f"{name}_body.nii.gz"}
    files |= {"slices": folder / f"{name}_slices.b2nd", "record": folder / f"{name}.json"}
    write_prepared(prepared, name, modalities=MODALITIES, **files)
    return files["record"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lost")
    for name in RADIUS_MM:
        write_case(folder, name)
    return folder


@pytest.fixture(scope="module")
def cases(folder):
    return read_all_prepared([folder / f"{name}.json" for name in RADIUS_MM])


def plan_of(cases, *training):
    cohort = Cohort(tuple(Case(name, name, int(name in training), None, "") for name in cases))
    constants = fit_constants([cases[name] for name in cohort.training(0)], modalities=MODALITIES)
    names = {"dataset": "sts", "model": "unet2d", "fold": 0, "seed": 0, "study_seed": 1}
    settings = {"block": BLOCK, "modalities": MODALITIES, "constants": constants, "regions": REGIONS}
    return make_plan(cohort, **names, **settings, conditions={})


def index_of(cases):
    return index_slices(((name, case.slices) for name, case in cases.items()), dataset="sts", regions=REGIONS)


@pytest.fixture(scope="module")
def predictions(folder, cases):
    """Of an untrained network; in `nothing` a network that predicts nothing."""
    plan = plan_of(cases, "BIG-1")
    network = network_of(plan).eval()
    for name, bias in (("something", 0.0), ("nothing", -50.0)):
        (folder / name).mkdir()
        head = [part for part in network.parameters() if part.ndim == 1][-1]
        head.data.fill_(bias)
        settings = {"condition": {}, "study_seed": 1, "names": ("sts", "clean")}
        predict_cases(Prediction(network, plan, 1, None), cases, folder / name, **settings)
    return folder


def evaluated(folder, name, model="unet2d"):
    predicted = Predicted(folder / name, [folder / f"{case}.json" for case in RADIUS_MM], REGIONS)
    return evaluate_fold(predicted, thresholds={}, names=NAMES | {"model": model})[0]


def study_of(folder):
    """One model that predicts nothing, and one that predicts something everywhere."""
    records = [
        (case, "clean", model, 0, rows.set_index("metric")["value"][["dice", "iou", *COUNTED]].to_dict())
        for name, model in (("nothing", "unet2d"), ("something", "average"))
        for case, rows in evaluated(folder, name, model).groupby("case", sort=False)
    ]
    return evidence_of(*records, asked=("dice", "iou"), patients={name: name for name in RADIUS_MM})


def test_the_record_has_the_volumes_before_and_after_and_says_what_is_lost(cases, caplog):
    assert cases["TINY-1"].labels_ml["1"]["drawn"] > 0
    assert cases["TINY-1"].labels_ml["1"]["resampled"] == 0
    assert {name for name, case in cases.items() if case.lost([1])} == {"TINY-1", "TINY-2"}
    assert not cases["NONE-1"].labels_ml


def test_who_predicts_nothing_gets_no_dice_for_a_lost_lesion_and_one_for_none(predictions):
    table = evaluated(predictions, "nothing")
    dice = table[table["metric"] == "dice"].set_index("case")["value"]
    assert dice.to_dict() == pytest.approx(
        {"BIG-1": 0.0, "BIG-2": 0.0, "TINY-1": np.nan, "TINY-2": np.nan, "NONE-1": 1.0}, nan_ok=True
    )
    lost = table[table["metric"] == "lost"].set_index("case")["value"]
    assert lost.to_dict() == {"BIG-1": 0, "BIG-2": 0, "TINY-1": 1, "TINY-2": 1, "NONE-1": 0}


def test_the_best_and_worst_case_are_among_the_scored(predictions):
    assert set(ranked_cases(evaluated(predictions, "nothing")).values()) <= {"BIG-1", "BIG-2", "NONE-1"}


def test_every_table_counts_the_lost_ones(predictions, tmp_path):
    study = study_of(predictions)
    require_sound(study)
    row = segmentation(study).set_index("model").loc["unet2d"]
    assert row["patients"] == "5"
    assert row["dice"].endswith("(n=3)")
    assert row[["missed", "spurious", "both_empty", "lost"]].tolist() == ["2", "0", "1", "2"]
    assert lost_note(study).startswith("Lost in resampling and not scored: tumor of 2 patients in sts.")
    page = results_page(study, TABLES, study="s", reported=NO_REPORTED, published=NO_IMAGES)
    assert f"\n\n{lost_note(study)}\n\n" in page
    [pair] = compare(study).query("metric == 'dice'").to_dict("records")
    assert (pair["patients"], pair["left_out"]) == (3, 2)
    values = patient_values(study.metrics, study.patients)
    assert set(values.loc[(values["metric"] == "lost") & (values["value"] == "1"), "patient"]) == {"TINY-1", "TINY-2"}


def test_lost_lesions_calibrate_nothing(predictions):
    for name, patients in (("TINY-1", 0), ("BIG-1", 1)):
        predicted = Predicted(predictions / "something", [predictions / f"{name}.json"], REGIONS)
        names = {part: NAMES[part] for part in ("dataset", "model", "fold", "seed")}
        assert fit_calibration(predicted, scaling="none", names=names)["patients"].tolist() == [patients]


def test_lost_lesions_teach_nothing_and_validate_nothing(cases, caplog):
    plan = plan_of(cases, "BIG-1", "TINY-1", "NONE-1")
    sampler = sampler_of(plan, cases, index_of(cases))
    assert set(sampler.cases) == set(sampler.index["case"]) == {"BIG-1", "NONE-1"}
    assert "TINY-1: mass was lost in resampling, so the case is not trained on" in caplog.text
    network = network_of(plan)
    both, one = (
        validation_dice(network, [cases[name] for name in names], plan, predict=predict_case)
        for names in (("BIG-2", "TINY-1"), ("BIG-2",))
    )
    assert both == one
    assert np.isnan(validation_dice(network, [cases["TINY-1"]], plan, predict=predict_case)["mass"])


def test_a_fold_that_lost_all_its_lesions_is_not_trained(cases):
    with pytest.raises(BadInput, match="got none; choose a finer spacing_mm"):
        sampler_of(plan_of(cases, "TINY-1", "TINY-2"), cases, index_of(cases))


@pytest.fixture(scope="module")
def with_a_lost_one():
    """A study of many models and conditions of which one patient's lesion was lost."""
    study = an_evidence()
    metrics, lost = study.metrics.copy(), study.metrics["case"] == "STS-003"
    metrics.loc[lost, "value"] = np.where(metrics.loc[lost, "metric"] == "lost", 1.0, np.nan)
    summary = summarize(metrics, study.patients, excluded={"sts_ibsi": 0, "brats": 0}, study_seed=1)
    study = replace(study, metrics=metrics, summary=summary)
    require_sound(study)
    return study


@pytest.mark.parametrize("name", TABLES)
def test_every_table_is_of_the_others(name, with_a_lost_one):
    assert "nan" not in TABLES[name].build(with_a_lost_one).to_csv().lower()


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_of_the_others(name, with_a_lost_one):
    figure = FIGURES[name]
    assert figure.draw(figure.data(with_a_lost_one)).axes is not None


def test_a_lost_lesion_with_a_score_is_a_fault(with_a_lost_one):
    metrics = with_a_lost_one.metrics.copy()
    metrics.loc[(metrics["case"] == "STS-003") & (metrics["metric"] == "dice"), "value"] = 1.0
    with pytest.raises(ValueError, match="no value of a lost region"):
        require_sound(replace(with_a_lost_one, metrics=metrics))
