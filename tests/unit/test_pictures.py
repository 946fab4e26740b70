"""The registry of pictures: each is drawn from prepared cases, folders of predictions and tables of metrics."""

import inspect

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from diffufuse.evaluate.schemas import METRICS
from diffufuse.files.tables import write_table
from diffufuse.predict.inference import write_prediction
from diffufuse.report.pictures import PICTURES
from diffufuse.report.pictures.inputs import Inputs
from diffufuse.store.case import PreparedCase
from diffufuse.store.slices import open_slices, write_slices

SHAPE = (20, 18, 6)
MODALITIES = {
    "pet": {"kind": "pet", "normalization": {"method": "log"}},
    "t1": {"kind": "mr", "normalization": {"method": "zscore"}},
}
REGIONS = {"mass": [1], "edema": [1, 2]}
NOISE = {"corruption": "gaussian_noise", "settings": {"noise_sd": 0.5}}
RUN = {"dataset": "sts", "condition": "clean", "trained_on": "sts", "model": "unet", "seed": 0, "unit": "1"}
OF_MODEL = {"model": "unet", "regions": REGIONS}
NAMES = ("A", "B", "C")


def prepared(folder, name):
    draw, labels = np.random.default_rng(len(name)), np.zeros(SHAPE, np.uint8)
    labels[6:14, 6:12, 3] = 1
    images = {modality: draw.normal(100, 20, SHAPE).astype(np.float32) for modality in MODALITIES}
    whole = np.ones(SHAPE, bool)
    path = folder / f"{name}_slices.b2nd"
    digest = write_slices(path, images=images, presence=dict.fromkeys(images, whole), body=whole, labels=labels)
    statistics = {modality: {"mean": 100.0, "sd": 20.0} for modality in images}
    return PreparedCase(name, open_slices(path, sha256=digest), statistics, np.diag([2.0, 2.0, 3.0, 1.0]))


@pytest.fixture
def study(tmp_path):
    """Three cases, their predictions in a folder for each of two folds, and the metrics of both."""
    cases, rows = {name: prepared(tmp_path, name) for name in NAMES}, []
    for place, (name, case) in enumerate(cases.items()):
        folder = tmp_path / f"fold-{place % 2}"
        folder.mkdir(exist_ok=True)
        said = np.where(case.slices.labels(slice(None)).transpose(1, 2, 0) > 0, 0.9, 0.1).astype(np.float32)
        write_prediction(dict.fromkeys(REGIONS, np.roll(said, place, axis=0)), case, folder)
        for region, value in (("mass", 0.9 - 0.2 * place), ("edema", 0.1 + 0.2 * place)):
            rows.append(RUN | {"fold": place % 2, "case": name, "region": region, "metric": "dice", "value": value})
    table, folders = pd.DataFrame(rows).astype({"fold": "int8", "seed": "int16"}), []
    for fold in (0, 1):
        folders.append(tmp_path / f"fold-{fold}")
        write_table(table[table["fold"] == fold], folders[-1] / "metrics.parquet", METRICS)
    return list(cases.values()), folders


def drawn(picture, cases, folders=(), metrics=(), **settings):
    figure = PICTURES[picture](Inputs(cases, folders, metrics), dataset="sts", modalities=MODALITIES, **settings)
    return [text.get_text() for text in figure.findobj(mpl.text.Text)]


def test_a_gallery_shows_every_case(study):
    assert {*NAMES, "sts, as prepared"} <= set(drawn("gallery", study[0], labels={"mass": 1}))


def test_a_condition_is_shown_on_one_case(study):
    texts = drawn("conditions", study[0][:1], name="gauss", condition=NOISE, study_seed=1)
    assert "gauss, A" in texts


def test_extremes_are_ranked_by_the_first_region_and_found_in_the_folder_of_their_fold(study):
    cases, folders = study
    metrics = [folder / "metrics.parquet" for folder in folders]
    texts = drawn("extremes", cases, folders, metrics, **OF_MODEL)
    assert [text for text in texts if text.split(":")[0] in ("best", "median", "worst")] == [
        "best: A",
        "median: B",
        "worst: C",
    ]
    assert "unet on sts, mass: best, median and worst of 3 by Dice" in texts
    assert any(text.startswith("Dice 1.000\nHD95 0.0 mm") for text in texts)


def test_a_case_is_overlaid_under_each_condition_with_the_dice_of_its_prediction(study):
    cases, folders = study
    conditions = {"clean": {}, "gauss": NOISE}
    texts = drawn("overlays", cases[:1], [folders[0]] * 2, conditions=conditions, study_seed=1, **OF_MODEL)
    assert {"clean", "gauss"} <= set(texts)
    assert texts.count("Dice 1.000\nHD95 0.0 mm") == 2


def test_uncertainty_is_shown_beside_the_probability(study):
    cases, folders = study
    texts = drawn("uncertainty", cases[1:2], [folders[1]], **OF_MODEL)
    assert {"probability", "uncertainty"} <= set(texts)
    assert any(text.startswith("B, mass, unet, axial slice 4 of 6") for text in texts)


def test_all_pictures_are_called_alike():
    for name, function in PICTURES.items():
        assert list(inspect.signature(function).parameters)[:2] == ["inputs", "dataset"], name
