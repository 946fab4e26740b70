"""Our metrics against other people's: equal where definitions agree, and by how much they differ where not.

The numbers of the last part stand in docs/metrics.md; `pytest -k metrics_page` tells what the page should say.
"""

import math
from importlib.metadata import version

import numpy as np
import pytest
import surface_distance
import torch
from metrics_page import PAGE, answered, rows_of
from monai import metrics as monai
from scipy import ndimage
from sklearn import metrics as sklearn
from torchmetrics.functional import classification as torchmetrics
from torchmetrics.functional import segmentation

from diffufuse.metrics import calibration, discrimination, overlap
from diffufuse.metrics.catalogue import METRICS
from diffufuse.metrics.comparison import Comparison
from diffufuse.metrics.forecast import STEPS, forecast_of, pooled
from diffufuse.metrics.surface import assd, hd95, nsd, surface_distances

SEEDS = range(12)
SPACINGS_MM = [(0.98, 0.98, 3.27), (1.0, 1.0, 1.0), (0.7, 1.3, 2.1)]
BOX_MM = (1.5, 1.5, 3.0)


def blobs(seed, shape=(36, 32, 18)):
    draw = np.random.default_rng(seed)
    return [ndimage.gaussian_filter(draw.normal(size=shape), 2) > cut for cut in (0.06, 0.05)]


def tensors(*arrays):
    return [torch.from_numpy(np.ascontiguousarray(array))[None, None] for array in arrays]


def of_monai(prediction, reference, spacing_mm):
    """HD95, ASSD and NSD at 2 mm, as the documentation calls them."""
    pair, settings = tensors(prediction, reference), {"include_background": True, "spacing": spacing_mm}
    return {
        "hd95": monai.compute_hausdorff_distance(*pair, percentile=95, **settings).item(),
        "assd": monai.compute_average_surface_distance(*pair, symmetric=True, **settings).item(),
        "nsd": monai.compute_surface_dice(*pair, class_thresholds=[2.0], **settings).item(),
    }


def ours(prediction, reference, spacing_mm):
    found = surface_distances(prediction, reference, spacing_mm=spacing_mm)
    return {"hd95": hd95(found, penalty_mm=math.nan), "assd": assd(found, penalty_mm=math.nan), "nsd": nsd(found)}


def drawn(seed, *, gamma=2.0, size=5000, certain=True):
    """Probabilities in steps of 1/65535, none at the edge of a bin but 0 and 1, as float32, and what came true."""
    draw = np.random.default_rng(seed)
    level = draw.integers(1, STEPS, size)
    level = level[np.all([level * bins % STEPS for bins in (15, 20)], axis=0)]
    if certain:
        level[:50], level[50:90] = 0, STEPS
    probability = level / STEPS
    return probability.astype(np.float32), draw.random(level.size) < probability**gamma


@pytest.mark.parametrize("spacing_mm", SPACINGS_MM)
@pytest.mark.parametrize("seed", SEEDS)
def test_surfaces_are_as_far_apart_as_monai_says(seed, spacing_mm):
    pair = blobs(seed)
    assert ours(*pair, spacing_mm) == pytest.approx(of_monai(*pair, spacing_mm), rel=1e-5)


def test_surfaces_of_shapes_that_meet_the_border_or_hold_each_other_are_so_as_well():
    inner, outer = np.zeros((2, 20, 20, 20), bool)
    inner[8:12, 8:12, 8:12], outer[:, 2:18, 0:20] = True, True
    for pair in ((inner, outer), (outer, inner), (outer, ~outer)):
        assert ours(*pair, (1.0, 1.5, 3.0)) == pytest.approx(of_monai(*pair, (1.0, 1.5, 3.0)), rel=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_overlap_and_volume_are_those_of_monai_and_torchmetrics(seed):
    prediction, reference = blobs(seed)
    pair, flat = tensors(prediction, reference), [torch.from_numpy(mask.ravel()).int() for mask in blobs(seed)]
    as_floats = [mask.float() for mask in pair]
    peers = {
        overlap.dice: [monai.compute_dice(*as_floats), torchmetrics.binary_f1_score(*flat)],
        overlap.iou: [monai.compute_iou(*as_floats), torchmetrics.binary_jaccard_index(*flat)],
        overlap.precision: [torchmetrics.binary_precision(*flat)],
        overlap.recall: [torchmetrics.binary_recall(*flat)],
    }
    for function, theirs in peers.items():
        assert [function(prediction, reference)] * len(theirs) == pytest.approx([t.item() for t in theirs], rel=1e-6)
    volumes = torchmetrics.binary_confusion_matrix(*flat)
    shared, extra, lacking = overlap.confusion(prediction, reference)
    assert [[shared, extra], [lacking, 0]] == [[volumes[1, 1], volumes[0, 1]], [volumes[1, 0], 0]]
    voxel_ml = 0.7 * 1.3 * 2.1 / 1000
    error_ml = overlap.volume_error_ml(prediction, reference, spacing_mm=(0.7, 1.3, 2.1))
    assert error_ml == pytest.approx(abs(volumes[:, 1].sum() - volumes[1].sum()).item() * voxel_ml)


@pytest.mark.parametrize("spacing_mm", SPACINGS_MM)
@pytest.mark.parametrize("shift", [(3, 0, 0), (0, 2, 0), (0, 0, 4), (2, 1, 0)])
def test_the_largest_distance_of_a_shifted_box_is_that_of_surface_distance(shift, spacing_mm):
    # its surface runs through the corners of voxels, ours through their centers: a shift moves both alike
    reference = np.zeros((30, 28, 26), bool)
    reference[8:18, 8:16, 8:14] = True
    prediction = np.roll(reference, shift, axis=(0, 1, 2))
    found = surface_distances(prediction, reference, spacing_mm=spacing_mm)
    theirs = surface_distance.compute_surface_distances(reference, prediction, spacing_mm)
    largest_mm = max(side.max() for side in found)
    assert largest_mm == pytest.approx(surface_distance.compute_robust_hausdorff(theirs, 100))


def test_surface_distance_weighs_by_area_and_puts_the_surface_between_voxels():
    reference = np.zeros((20, 20, 20), bool)
    reference[5:15, 5:15, 5:15] = True
    found = surface_distance.compute_surface_distances(reference, reference, (1, 1, 3))
    voxels = surface_distances(reference, reference, spacing_mm=(1, 1, 3))
    # 11^3 - 9^3 corners of voxels bound what 10^3 - 8^3 voxels bound
    assert found["distances_gt_to_pred"].size == 11**3 - 9**3
    assert voxels.forth_mm.size == 10**3 - 8**3
    # a cube of 10 x 10 x 30 mm, less what is cut off at edges and corners
    assert found["surfel_areas_gt"].sum() == pytest.approx(4 * 300 + 2 * 100, rel=0.06)
    assert found["surfel_areas_gt"].min() < found["surfel_areas_gt"].max()
    # a voxel more on one side is one millimeter more there, whatever the surface's place
    grown = reference.copy()
    grown[15, 5:15, 5:15] = True
    theirs = surface_distance.compute_surface_distances(reference, grown, (1, 1, 3))
    forth_mm, back_mm = surface_distances(grown, reference, spacing_mm=(1, 1, 3))
    assert forth_mm.max() == back_mm.max() == theirs["distances_pred_to_gt"].max() == 1


@pytest.mark.parametrize("bins", [15, 20])
@pytest.mark.parametrize("gamma", [1.0, 2.5])
@pytest.mark.parametrize(
    ("function", "reduction"),
    [(calibration.ece, "expected"), (calibration.ace, "average"), (calibration.mce, "maximum")],
)
def test_errors_are_those_of_monai(function, reduction, gamma, bins):
    probability, reference = drawn(3, gamma=gamma)
    theirs = monai.CalibrationErrorMetric(num_bins=bins, calibration_reduction=reduction)
    theirs(*tensors(probability, reference.astype(np.float32)))
    assert function(forecast_of(probability, reference), bins=bins) == pytest.approx(
        theirs.aggregate().item(), abs=1e-5
    )


@pytest.mark.parametrize("bins", [15, 20])
@pytest.mark.parametrize("gamma", [1.0, 2.5])
@pytest.mark.parametrize(("function", "norm"), [(calibration.ece, "l1"), (calibration.mce, "max")])
def test_errors_are_those_of_torchmetrics_where_nothing_is_certain(function, norm, gamma, bins):
    probability, reference = drawn(4, gamma=gamma, certain=False)
    target = torch.from_numpy(reference).int()
    theirs = torchmetrics.binary_calibration_error(torch.from_numpy(probability).double(), target, bins, norm)
    assert function(forecast_of(probability, reference), bins=bins) == pytest.approx(theirs.item(), abs=1e-7)


@pytest.mark.parametrize("seed", SEEDS)
def test_proper_scores_are_those_of_scikit_learn(seed):
    probability, reference = drawn(seed, certain=False)
    exact = np.rint(probability * np.float64(STEPS)) / STEPS
    forecast = forecast_of(probability, reference)
    assert calibration.brier(forecast) == pytest.approx(sklearn.brier_score_loss(reference, exact), rel=1e-12)
    assert calibration.nll(forecast) == pytest.approx(sklearn.log_loss(reference, exact), rel=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_ranks_are_those_of_scikit_learn_and_torchmetrics(seed):
    draw = np.random.default_rng(seed)
    level = draw.integers(0, (40, STEPS)[seed % 2] + 1, 3000)
    exact, reference = level / STEPS, draw.random(3000) < 0.2
    forecast = forecast_of(exact, reference)
    tensor = torch.from_numpy(exact), torch.from_numpy(reference).int()
    assert discrimination.auc(forecast) == pytest.approx(sklearn.roc_auc_score(reference, exact), abs=1e-12)
    assert discrimination.ap(forecast) == pytest.approx(sklearn.average_precision_score(reference, exact), abs=1e-12)
    assert discrimination.auc(forecast) == pytest.approx(torchmetrics.binary_auroc(*tensor).item(), abs=1e-6)
    assert discrimination.ap(forecast) == pytest.approx(torchmetrics.binary_average_precision(*tensor).item(), abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_curves_are_those_of_scikit_learn(seed):
    draw = np.random.default_rng(seed)
    exact, reference = draw.integers(0, 50, 2000) / STEPS, draw.random(2000) < 0.2
    forecast = forecast_of(exact, reference)
    threshold, false_positive, true_positive = discrimination.roc_curve(forecast)
    theirs = sklearn.roc_curve(reference, exact, drop_intermediate=False)
    for part, expected in zip((false_positive, true_positive, threshold), theirs, strict=True):
        np.testing.assert_allclose(part, expected[1:], atol=1e-12)
    threshold, recall, precision = discrimination.precision_recall_curve(forecast)
    theirs = sklearn.precision_recall_curve(reference, exact)
    np.testing.assert_allclose(precision[::-1], theirs[0][:-1], atol=1e-12)
    np.testing.assert_allclose(recall[::-1], theirs[1][:-1], atol=1e-12)
    np.testing.assert_allclose(threshold[::-1], theirs[2], atol=1e-12)


def boxes():
    """The example of the page: a box, cut by two slices, and an island behind it."""
    reference, prediction = np.zeros((2, 40, 30, 20), bool)
    reference[8:20, 8:20, 5:13] = True
    prediction[8:18, 8:20, 5:13] = True
    prediction[30:33, 12:15, 8:11] = True
    return prediction, reference


def on_the_box():
    """What each tool finds on the example, by the name of its row."""
    prediction, reference = boxes()
    found, mine = surface_distances(*boxes(), spacing_mm=BOX_MM), ours(*boxes(), BOX_MM)
    assert mine == pytest.approx(of_monai(*boxes(), BOX_MM), rel=1e-5)
    pair, settings = tensors(*boxes()), {"include_background": True}
    in_voxels = monai.compute_hausdorff_distance(*pair, percentile=95, **settings)
    forth_mm = monai.compute_average_surface_distance(*pair, spacing=BOX_MM, **settings)
    areas = monai.compute_surface_dice(*pair, class_thresholds=[2.0], spacing=BOX_MM, use_subvoxels=True, **settings)
    deepmind = surface_distance.compute_surface_distances(reference, prediction, BOX_MM)
    theirs_mm = surface_distance.compute_average_surface_distance(deepmind)
    within = surface_distance.compute_surface_dice_at_tolerance(deepmind, 2.0)
    assert within == pytest.approx(areas.item())
    return {
        "`hd95`, MONAI given `spacing`": f"{mine['hd95']:.2f} mm",
        "MONAI without `spacing`": f"{in_voxels.item():.2f} voxels",
        "MedPy `hd95`": f"{np.percentile(np.concatenate(found), 95):.2f} mm",
        "surface-distance `compute_robust_hausdorff`": (
            f"{surface_distance.compute_robust_hausdorff(deepmind, 95):.2f} mm"
        ),
        "`assd`, MedPy, MONAI given `symmetric`": f"{mine['assd']:.3f} mm",
        "MONAI without `symmetric`": f"{forth_mm.item():.3f} mm",
        "surface-distance `compute_average_surface_distance`": "{:.3f} and {:.3f} mm".format(*theirs_mm),
        "`nsd`, MONAI": f"{mine['nsd']:.4f}",
        "surface-distance, MONAI given `use_subvoxels`": f"{within:.4f}",
    }


def aggregated(metric, *cases, **settings):
    """The mean that a metric of MONAI makes of several cases."""
    for case in cases:
        metric(*tensors(*(mask.astype(np.float32) for mask in case)), **settings)
    return metric.aggregate().item()


def with_empty_masks():
    """What we and others answer where a mask is empty, by the name of the row."""
    (prediction, reference), none = boxes(), np.zeros((40, 30, 20), bool)
    hit, missed = (Comparison(mask, reference, BOX_MM) for mask in (prediction, none))
    hd95_mean = aggregated(monai.HausdorffDistanceMetric(percentile=95), boxes(), (none, reference), spacing=BOX_MM)
    dice_mean = aggregated(monai.DiceMetric(), boxes(), (reference, none))
    empty = [torch.zeros(1, 1, 4, 4, 4)] * 2
    scores = monai.compute_dice(*empty), monai.compute_dice(*empty, ignore_empty=False)
    whole = segmentation.dice_score(*(mask.int() for mask in empty), num_classes=1, include_background=True)
    flat = [torch.from_numpy(mask.ravel()).int() for mask in (none, reference)]
    monai_says = "MONAI {}, {} given `ignore_empty=False`".format(*(answered(score.item()) for score in scores))
    f1, precision = torchmetrics.binary_f1_score(flat[0], flat[0]), torchmetrics.binary_precision(*flat)
    return {
        "`hd95` in mm, mean of the box and one missed": [
            f"{(METRICS['hd95'].of(hit) + METRICS['hd95'].of(missed)) / 2:.2f}",
            f"MONAI {hd95_mean:.2f}, as if there were one case",
        ],
        "`dice`, mean of the box and one spurious": [
            f"{METRICS['dice'].of(hit) / 2:.3f}",
            f"MONAI {dice_mean:.3f}, as if there were one case",
        ],
        "`dice` of two empty masks": [
            f"{overlap.dice(none, none):g}",
            f"{monai_says}; TorchMetrics `dice_score` {answered(whole.item())}, `binary_f1_score` {f1.item():g}",
        ],
        "`precision` of a missed one": [
            answered(METRICS["precision"].of(missed)),
            f"TorchMetrics {precision.item():g}",
        ],
        "a distance where one is empty": [
            "penalty",
            "surface-distance fails under NumPy 2, MedPy raises an error",
        ],
    }


def of_probabilities():
    """What we and others say of the same probabilities, by the name of the row."""
    said, true = np.repeat([0.96, 1.0], 5), np.arange(10) < 9
    tensor = torch.from_numpy(said), torch.from_numpy(true).int()
    certain = [torchmetrics.binary_calibration_error(*tensor, 20, norm).item() for norm in ("l1", "max")]
    edge, happened = np.repeat([0.10, 0.12], 5), np.arange(10) < 5
    theirs = monai.CalibrationErrorMetric(num_bins=10, calibration_reduction="expected")
    at_edge = aggregated(theirs, (edge, happened))
    many = torch.zeros(1, 1, 2**24 + 10)
    counted = monai.calibration_binning(many, many)[2].max().item()
    wrong = sklearn.log_loss([True], [0.0], labels=[False, True])
    torch_wrong = torch.nn.functional.binary_cross_entropy(torch.zeros(1), torch.ones(1)).item()
    forecast = forecast_of(said, true)
    return {
        "`ece`, `mce` of five voxels of 0.96, all true, and five of 1, four true": [
            f"{calibration.ece(forecast):.2f}, {calibration.mce(forecast):.2f}",
            "TorchMetrics {:.2f}, {:.2f}: 1 has a bin of its own".format(*certain),
        ],
        "`ece` in 10 bins of five voxels of 0.10, all true, and five of 0.12, none true": [
            f"{calibration.ece(forecast_of(edge, happened), bins=10):.2f}",
            f"MONAI {at_edge:.2f}: an edge belongs to the lower bin",
        ],
        "voxels counted of 16,777,226 in one bin": [
            f"{pooled([forecast_of(np.zeros(2**23 + 5), np.zeros(2**23 + 5, bool))] * 2).voxels:,}",
            f"MONAI {counted:,.0f}: counts in single precision, as TorchMetrics does",
        ],
        "`nll` of one voxel given 0 that is true, in nats": [
            f"{calibration.nll(forecast_of(np.zeros(1), np.ones(1, bool))):.1f}",
            f"scikit-learn {wrong:.1f}, torch {torch_wrong:.0f}",
        ],
    }


def test_metrics_page_has_every_metric_as_the_registry_has_it():
    told = {name.strip("`"): rest for name, _, *rest in rows_of("metric")}
    for name, metric in METRICS.items():
        ends = "..".join("∞" if math.isinf(end) else f"{end:.3g}" for end in metric.range)
        answers = [answered(value) for value in metric.empty]
        if name in told:
            assert told.pop(name) == [metric.unit, ends, metric.better, *answers, metric.reads], name
        else:
            twin = METRICS[name.removesuffix("_body")]
            assert (metric.reads, twin.reads, metric.range) == ("body", "near", twin.range)
            assert answers == [answered(twin.empty.spurious), *map(answered, twin.empty[1:])]
    assert not told


def test_metrics_page_says_what_each_tool_finds_on_the_box():
    assert {name: value for name, _, value in rows_of("on the box")} == on_the_box()


def test_metrics_page_says_what_each_tool_answers_for_empty_masks(monkeypatch):
    assert {name: rest for name, *rest in rows_of("empty masks")} == with_empty_masks()
    # TorchMetrics brings back the name that surface-distance misses
    monkeypatch.delattr(np, "Inf", raising=False)
    with pytest.raises(AttributeError, match="NumPy 2"):
        surface_distance.compute_surface_distances(np.zeros((3, 3, 3), bool), np.ones((3, 3, 3), bool), (1, 1, 1))


def test_metrics_page_says_what_each_tool_makes_of_probabilities():
    assert {name: rest for name, *rest in rows_of("probabilities")} == of_probabilities()


def test_metrics_page_names_the_releases_that_were_compared():
    for name in ("MONAI", "surface-distance", "TorchMetrics", "scikit-learn"):
        assert f"{name} {version(name)}" in PAGE


def test_torchmetrics_knows_the_largest_distance_in_square_planes_only():
    prediction, reference = (np.pad(mask[:, :, 9], ((0, 0), (0, 10))) for mask in boxes())
    pair = [mask[0].int() for mask in tensors(prediction[None], reference[None])]
    settings = {"num_classes": 1, "include_background": True, "spacing": [1.5, 1.5]}
    found = surface_distances(prediction, reference, spacing_mm=(1.5, 1.5))
    largest_mm = segmentation.hausdorff_distance(*pair, **settings).item()
    assert largest_mm == pytest.approx(max(side.max() for side in found))
    with pytest.raises(IndexError):
        segmentation.hausdorff_distance(*(mask[..., :30] for mask in pair), **settings)
    with pytest.raises(ValueError, match="rank 2"):
        segmentation.hausdorff_distance(*(mask[..., None] for mask in pair), **settings)
