"""Scores of fused images, of volumes and of pairs, and their names beside all other metrics."""

import fusion_metrics as published
import numpy as np
import pandas as pd
import pytest
from fused_cases import PET, PICTURE, SHAPE, T1, case_in, displayed, pair_of, plan_of, predicted, stored_pair

from diffufuse.errors import BadInput
from diffufuse.evaluate import fused as scoring
from diffufuse.evaluate.fold import evaluate_fold
from diffufuse.evaluate.fused import evaluate_fused, evenly_spread, mean_scores, scores
from diffufuse.evaluate.predicted import Predicted
from diffufuse.evaluate.scaling import scale_predictions
from diffufuse.evaluate.schemas import CALIBRATIONS, FORECASTS, METRICS
from diffufuse.files.tables import read_table, read_tables, write_table
from diffufuse.metrics import catalogue
from diffufuse.metrics.fusion.catalogue import FUSION_METRICS, evaluate
from diffufuse.metrics.fusion.images import Fusion
from diffufuse.metrics.registry import ALL_METRICS, CORE_OF_IMAGES, IMAGE, of_masks
from diffufuse.plan.plans import network_of
from diffufuse.predict.fusing import fuse_scan
from diffufuse.report.patients import METRICS_IN_GIT
from diffufuse.store.case import PreparedCase, read_prepared
from diffufuse.store.fused import FUSED
from diffufuse.store.slices import open_slices, write_slices
from diffufuse.train.validation import validation_fusion

NAMES = {"dataset": "d", "condition": "clean", "trained_on": "d", "model": "m", "fold": "0", "seed": "1"}
SOURCES = {"t1": T1, "pet": PET}


@pytest.fixture
def case(tmp_path):
    return case_in(tmp_path)


def values_of(folder, tmp_path, **settings):
    return evaluate_fused(folder, [tmp_path / "A.json"], fused_cases=["A"], sources=SOURCES, names=NAMES, **settings)


def test_every_metric_has_a_row_of_the_image_that_fits_the_table(case, tmp_path):
    table = values_of(predicted(case, plan_of("average"), tmp_path / "out"), tmp_path)
    write_table(table, tmp_path / "metrics.parquet", METRICS)
    kept = read_table(tmp_path / "metrics.parquet", METRICS)
    assert kept["metric"].tolist() == list(FUSION_METRICS)
    assert set(kept["region"]) == {IMAGE}
    assert set(kept["case"]) == {"A"}
    assert kept["unit"].tolist() == [metric.unit for metric in FUSION_METRICS.values()]
    assert kept["value"].notna().sum() > 12


def test_a_volume_has_the_mean_over_slices_with_body_and_both_sources(case, tmp_path):
    """The first of six slices holds no body, of the last nothing was acquired, and PET is cut off in a corner."""
    folder = predicted(case, plan_of("maximum"), tmp_path / "out")
    scan = case.selected(["t1", "pet"]).scan
    t1, pet = displayed(scan) * scan.presence.all(axis=0)
    drawn = [[image[..., z].T[::-1, ::-1] for image in (t1, pet, np.maximum(t1, pet))] for z in range(1, SHAPE[2] - 1)]
    expected = pd.DataFrame([evaluate(Fusion(*images)) for images in drawn]).mean()
    found = values_of(folder, tmp_path).set_index("metric")["value"]
    for name in ("psnr", "ssim", "qabf", "mi", "en", "sd", "sf", "ag", "cc", "fmi"):
        assert found[name] == pytest.approx(expected[name], rel=2e-3), name


@pytest.mark.parametrize("beyond", [0.0, 0.7])
def test_where_one_source_was_not_acquired_nothing_is_scored(beyond, tmp_path):
    """Of PET the first rows and columns are missing: the score is that of the rest, whatever T1 shows beyond."""
    draw = np.random.default_rng(4)
    t1, pet = draw.random((2, 40, 30, 2))
    present = np.ones(t1.shape, bool)
    present[:9], present[:, :5] = False, False
    inner = Fusion(*(image[9:, 5:, 0].T[::-1, ::-1] for image in (t1, pet, np.maximum(t1, pet))))
    t1 = np.where(present, t1, beyond)
    images = {"t1": t1, "pet": np.where(present, pet, 0), "fused": np.where(present, np.maximum(t1, pet), t1)}
    presence = {name: present if name == "pet" else np.ones(t1.shape, bool) for name in images}
    body, labels = np.ones(t1.shape, bool), np.zeros(t1.shape, np.uint8)
    body[..., 1] = False
    path = tmp_path / "A_slices.b2nd"
    digest = write_slices(path, images=images, presence=presence, body=body, labels=labels, bounded=True)
    case = PreparedCase("A", open_slices(path, sha256=digest), {}, np.eye(4))
    found = scores(case.selected(["fused"]), case, sources={"t1": PICTURE, "pet": PICTURE})
    expected = evaluate(inner)
    for name in ("psnr", "ssim", "ssim_sum", "qabf", "sf", "ag", "cc", "en"):
        assert found[name] == pytest.approx(expected[name], rel=1e-3), name


def test_a_case_without_one_of_its_sources_has_undefined_scores(tmp_path):
    image = np.random.default_rng(5).random((20, 20, 1))
    body, labels = np.ones(image.shape, bool), np.zeros(image.shape, np.uint8)
    presence = {"t1": body, "pet": ~body, "fused": body}
    path = tmp_path / "A_slices.b2nd"
    digest = write_slices(path, images=dict.fromkeys(presence, image), presence=presence, body=body, labels=labels)
    case = PreparedCase("A", open_slices(path, sha256=digest), {}, np.eye(4))
    found = scores(case.selected(["fused"]), case, sources={"t1": PICTURE, "pet": PICTURE})
    assert list(found) == list(FUSION_METRICS)
    assert np.isnan(list(found.values())).all()


def test_while_a_fuser_trains_its_images_are_scored_where_both_sources_were_acquired_too(case, tmp_path):
    plan, seen = plan_of("maximum"), case.selected(["t1", "pet"])
    scored = validation_fusion(network_of(plan), [seen], plan, metrics=("psnr", "ssim"), fuse=fuse_scan)
    expected = values_of(predicted(case, plan, tmp_path / "out"), tmp_path).set_index("metric")["value"]
    assert scored == pytest.approx({name: expected[name] for name in scored}, rel=1e-3)


def test_a_pair_has_the_value_of_its_one_slice(tmp_path):
    case, structure, color = pair_of(tmp_path)
    sources = {"mri": PICTURE, "pet": PICTURE}
    folder = predicted(case, plan_of("average", modalities=sources), tmp_path / "out")
    luma = color @ [0.299, 0.587, 0.114]
    expected = evaluate(Fusion(structure, luma, (structure + luma) / 2))
    found = scores(read_prepared(folder / FUSED / "P.json"), case, sources=sources)
    for name in ("psnr", "ssim", "qabf", "sf", "ag", "cc"):
        assert found[name] == pytest.approx(expected[name], rel=1e-3), name
    assert expected["qabf"] != pytest.approx(evaluate(Fusion(structure.T, luma.T, ((structure + luma) / 2).T))["qabf"])


def test_under_a_condition_the_sources_are_those_that_were_acquired(case, tmp_path):
    noise = {"corruption": "gaussian_noise", "settings": {"noise_sd": 2.0}}
    clean, noisy = (
        values_of(predicted(case, plan_of("average"), tmp_path / name, condition=condition), tmp_path)
        for name, condition in (("clean", {}), ("noisy", noise))
    )
    psnr = [table.set_index("metric")["value"]["psnr"] for table in (clean, noisy)]
    assert psnr[1] < psnr[0] - 1


def test_of_a_model_that_fuses_nothing_no_case_is_opened(tmp_path):
    table = evaluate_fused(tmp_path, [tmp_path / "absent.json"], fused_cases=["A"], sources=None, names=NAMES)
    assert not len(table)
    write_table(table, tmp_path / "metrics.parquet", METRICS)


def test_an_image_of_an_unknown_case_is_refused(case, tmp_path):
    folder = predicted(case, plan_of("average"), tmp_path / "out")
    with pytest.raises(
        BadInput, match=r"A\.json: expected the fused image of a case as it was written, but it is of another"
    ):
        evaluate_fused(folder, [], fused_cases=["A"], sources=SOURCES, names=NAMES)


def test_a_case_whose_fused_image_is_missing_is_told_and_not_left_out(case, tmp_path):
    folder = predicted(case, plan_of("average"), tmp_path / "out")
    with pytest.raises(
        BadInput, match="out: expected the fused image of B as it was written, but it is missing; remove it and run"
    ):
        evaluate_fused(folder, [tmp_path / "A.json"], fused_cases=["A", "B"], sources=SOURCES, names=NAMES)


def test_a_fuser_has_no_masks_no_forecasts_and_no_calibration(case, tmp_path):
    folder = predicted(case, plan_of("average"), tmp_path / "out")
    values, forecasts = evaluate_fold(Predicted(folder, [tmp_path / "A.json"], {}), thresholds={}, names=NAMES)
    assert not len(values)
    write_table(forecasts, tmp_path / "forecasts.parquet", FORECASTS)
    assert not len(read_table(tmp_path / "forecasts.parquet", FORECASTS))
    assert read_tables([], CALIBRATIONS).columns.tolist() == CALIBRATIONS.names
    joined = pd.concat([values, values_of(folder, tmp_path)], ignore_index=True)
    write_table(joined, tmp_path / "metrics.parquet", METRICS)


def test_scaled_probabilities_come_without_the_fused_image(case, tmp_path):
    plan = plan_of("fuse4seg", output="labels", leader_width=8, leader_heads=2, follower_widths=[8, 16])
    folder, scaled = predicted(case, plan, tmp_path / "out", network=network_of(plan).eval()), tmp_path / "scaled"
    scaled.mkdir()
    row = {**NAMES, "region": "mass", "patients": 1, "temperature": 2.0, "nll_before": 1.0, "nll_after": 0.9}
    calibration = pd.DataFrame([row | {"threshold": 0.5}])
    scale_predictions(folder, scaled, calibration=calibration, lesion=None)
    assert sorted(path.name for path in scaled.iterdir()) == ["A_mass.nii.gz", "A_mass_probability.nii.gz"]


def test_slices_are_spread_evenly_from_the_first_to_the_last():
    assert evenly_spread(np.arange(5), most=8).tolist() == [0, 1, 2, 3, 4]
    assert evenly_spread(np.arange(10, 20), most=4).tolist() == [10, 13, 16, 19]
    chosen = evenly_spread(np.arange(100), most=scoring.MOST_SLICES)
    assert len(set(chosen)) == scoring.MOST_SLICES
    assert set(np.diff(chosen)) == {3, 4}


def test_a_metric_that_no_slice_defines_is_nan_and_others_leave_such_slices_out():
    draw = np.random.default_rng(0)
    a, b = draw.random((2, 20, 20))
    flat = np.full((20, 20), 0.5)
    both = mean_scores([(a, b, (a + b) / 2), (a, b, flat)])
    assert both["cc"] == pytest.approx(evaluate(Fusion(a, b, (a + b) / 2))["cc"])
    assert np.isnan(mean_scores([(a, b, flat)])["cc"])
    assert np.isnan(list(mean_scores([]).values())).all()


def test_the_infinite_psnr_of_a_source_itself_counts_as_undefined():
    a, b = np.random.default_rng(0).random((2, 20, 20))
    assert evaluate(Fusion(a, b, a))["psnr"] == np.inf
    assert np.isnan(mean_scores([(a, b, a)])["psnr"])
    assert mean_scores([(a, b, a), (a, b, (a + b) / 2)])["psnr"] == evaluate(Fusion(a, b, (a + b) / 2))["psnr"]


@pytest.mark.real
@pytest.mark.parametrize("modality", published.SCORES)
def test_published_images_have_the_scores_on_record(shared_data, modality):
    assert (shared_data / "fused" / "bsafusion").is_dir()
    found = mean_scores(published.triples(modality))
    recorded = dict(zip(published.COLUMNS, map(float, published.SCORES[modality].split()), strict=True))
    assert {name: found[name] for name in recorded} == pytest.approx(recorded, rel=6e-4)


@pytest.mark.real
def test_a_rule_on_published_sources_has_the_scores_on_record(shared_data, tmp_path):
    """Predicted, saved and scored as in a study: the maximum of MR and CT."""
    assert (shared_data / "fused" / "bsafusion").is_dir()
    sources, found = {"mri": PICTURE, "ct": PICTURE}, []
    for number, (structure, function, _) in enumerate(published.triples("CT")):
        case = stored_pair(tmp_path, f"P{number}", {"mri": structure, "ct": function})
        folder = predicted(case, plan_of("maximum", modalities=sources), tmp_path / case.name)
        found.append(scores(read_prepared(folder / FUSED / f"{case.name}.json"), case, sources=sources))
    told = zip(published.COLUMNS, published.TRIVIAL["maximum"].split(), strict=True)
    for name, text in ((name, text) for name, text in told if text != "-"):
        assert np.mean([one[name] for one in found]) == pytest.approx(float(text), rel=4e-3), name


def test_no_two_metrics_share_a_name_and_only_those_of_images_read_one():
    assert not set(catalogue.METRICS) & set(FUSION_METRICS)
    assert list(ALL_METRICS) == [*catalogue.METRICS, *FUSION_METRICS]
    assert {name for name, metric in ALL_METRICS.items() if metric.reads == "image"} == set(FUSION_METRICS)
    assert not any(map(of_masks, FUSION_METRICS))
    assert of_masks("dice")
    assert of_masks("hd95")
    assert not of_masks("ece")


def test_the_core_of_image_metrics_is_kept_in_git():
    assert set(CORE_OF_IMAGES) <= set(FUSION_METRICS) & set(METRICS_IN_GIT)
    assert "psnr_of_peak" not in METRICS_IN_GIT
