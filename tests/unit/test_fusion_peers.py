"""Metrics of fused images against other people's, and against their definitions written out pixel by pixel.

The numbers of the last part stand in docs/metrics.md; `pytest -k fusion_peers` tells what the page should say.
"""

import math
from importlib.metadata import version

import numpy as np
import pytest
import torch
from metrics_page import PAGE, answered, rows_of
from monai import metrics as monai
from scipy import ndimage, stats
from sklearn import metrics as sklearn
from torchmetrics.functional import image as torchmetrics

from diffufuse.metrics.fusion.catalogue import FUSION_METRICS
from diffufuse.metrics.fusion.images import Fusion

SEEDS = range(4)
GAUSSIAN = {"spatial_dims": 2, "data_range": 1.0, "kernel_type": "gaussian", "win_size": 11, "kernel_sigma": 1.5}


def drawn(seed, shape=(200, 211)):
    """Two sources and a fused image with shared structure and some noise, as 8-bit files hold them."""
    draw = np.random.default_rng(seed)
    smooth = [ndimage.gaussian_filter(draw.normal(size=shape), side) for side in (2, 5, 1)]
    a, b, noise = (0.5 + image / image.std() / 6 for image in smooth)
    fused = (2 * np.maximum(a, b) + a + b) / 4 + (noise - 0.5) / 3
    return [np.rint(255 * np.clip(image, 0, 1)) / 255 for image in (a, b, fused)]


def of(name, *images):
    return FUSION_METRICS[name].of(Fusion(*images))


def tensor(image):
    return torch.from_numpy(np.ascontiguousarray(image))[None, None]


def both(function, a, b, fused):
    """What a peer's function of two tensors gives, for each source."""
    return [float(function(tensor(fused), tensor(source))) for source in (a, b)]


def monai_ssim(fused, source):
    return monai.SSIMMetric(**GAUSSIAN)(fused, source).item()


def monai_ms_ssim(fused, source):
    return monai.MultiScaleSSIMMetric(spatial_dims=2, data_range=1.0, kernel_size=11, kernel_sigma=1.5)(fused, source)


def torchmetrics_ssim(fused, source):
    return torchmetrics.structural_similarity_index_measure(fused, source, data_range=1.0)


def torchmetrics_vif(fused, source):
    return torchmetrics.visual_information_fidelity(255 * fused, 255 * source, sigma_n_sq=2.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_structural_similarity_is_that_of_monai_and_within_the_border_that_of_torchmetrics(seed):
    images = drawn(seed)
    assert of("ssim", *images) == pytest.approx(np.mean(both(monai_ssim, *images)), abs=2e-5)
    inner = [
        torchmetrics.structural_similarity_index_measure(
            tensor(images[2]), tensor(source), data_range=1.0, return_full_image=True
        )[1][..., 5:-5, 5:-5].mean()
        for source in images[:2]
    ]
    assert of("ssim", *images) == pytest.approx(np.mean(inner), abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_multi_scale_similarity_is_that_of_monai(seed):
    images = drawn(seed)
    assert of("ms_ssim", *images) == pytest.approx(np.mean(both(monai_ms_ssim, *images)), abs=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_visual_information_fidelity_is_that_of_torchmetrics(seed):
    images = drawn(seed)
    assert of("vif", *images) == pytest.approx(sum(both(torchmetrics_vif, *images)), abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_numbers_of_the_whole_image_are_those_of_scikit_learn_scipy_and_torchmetrics(seed):
    a, b, fused = drawn(seed)
    counted = [np.rint(255 * image).astype(int).ravel() for image in (a, b, fused)]
    nats = sum(sklearn.mutual_info_score(source, counted[2]) for source in counted[:2])
    assert of("mi", a, b, fused) == pytest.approx(nats, rel=1e-9)
    assert of("mi_bits", a, b, fused) == pytest.approx(nats / math.log(2), rel=1e-9)
    assert of("en", a, b, fused) == pytest.approx(stats.entropy(np.bincount(counted[2]), base=2), rel=1e-9)
    r = [np.corrcoef(source.ravel(), fused.ravel())[0, 1] for source in (a, b)]
    assert of("cc", a, b, fused) == pytest.approx(np.mean(r), rel=1e-9)
    differences = [np.corrcoef((fused - b).ravel(), a.ravel()), np.corrcoef((fused - a).ravel(), b.ravel())]
    assert of("scd", a, b, fused) == pytest.approx(sum(found[0, 1] for found in differences), rel=1e-9)
    theirs = [torchmetrics.peak_signal_noise_ratio(tensor(fused), tensor(source), data_range=1.0) for source in (a, b)]
    assert of("psnr", a, b, fused) == pytest.approx(np.mean(theirs), rel=1e-6)


def each(shape, side):
    """The corner of every window."""
    return [(x, y) for x in range(shape[0] - side + 1) for y in range(shape[1] - side + 1)]


def test_the_sum_of_similarities_has_sample_covariances_in_squares_of_seven():
    a, b, fused = drawn(0, (16, 15))
    total = 0
    for source in (a, b):
        values = []
        for x, y in each(source.shape, 7):
            one, other = (image[x : x + 7, y : y + 7].ravel() for image in (source, fused))
            (va, cov), (_, vf) = np.cov(one, other)
            light = (2 * one.mean() * other.mean() + 1e-4) / (one.mean() ** 2 + other.mean() ** 2 + 1e-4)
            values.append(light * (2 * cov + 9e-4) / (va + vf + 9e-4))
        total += np.mean(values)
    assert of("ssim_sum", a, b, fused) == pytest.approx(total, rel=1e-9)


def gradient(image, x, y):
    """Sobel at one pixel of an image in gray levels, black beyond its border: strength, angle."""
    window = np.pad(image, 1)[x : x + 3, y : y + 3]
    along_y = (window[:, 2] - window[:, 0]) @ [1, 2, 1] / 8
    along_x = (window[0] - window[2]) @ [1, 2, 1] / 8
    return math.hypot(along_x, along_y), math.atan(along_x / along_y) if along_y else math.pi / 2


def sigmoid(value, most, slope, middle):
    return most / (1 + math.exp(slope * (value - middle)))


def edge_scores(a, b, fused, pixels):
    """Qabf and Nabf, pixel by pixel."""
    kept = added = weights = powers = 0.0
    for x, y in pixels:
        gf, tf = gradient(fused, x, y)
        steeper = gf > max(gradient(a, x, y)[0], gradient(b, x, y)[0])
        for source in (a, b):
            g, t = gradient(source, x, y)
            ratio = min(g, gf) / max(g, gf) if max(g, gf) else 0
            q = sigmoid(ratio, 0.9994, -15, 0.5) * sigmoid(1 - abs(t - tf) / (math.pi / 2), 0.9879, -22, 0.8)
            kept, weights = kept + q * g, weights + g
            line = abs(abs(t - tf) - math.pi / 2) / (math.pi / 2)
            q = math.sqrt(sigmoid(ratio, 0.9999, -19, 0.5) * sigmoid(line, 0.9995, -22, 0.5))
            w = g**1.5 if g >= 2 else 0.001
            added, powers = added + steeper * (1 - q) * w, powers + w
    return kept / weights, added / powers


@pytest.mark.parametrize("seed", SEEDS)
def test_edges_are_scored_as_the_papers_say_pixel_by_pixel(seed):
    images = drawn(seed, (14, 17))
    levels = [np.rint(255 * image) for image in images]
    everywhere = [(x, y) for x in range(14) for y in range(17)]
    inside = [(x, y) for x in range(1, 13) for y in range(1, 16)]
    assert of("qabf", *images) == pytest.approx(edge_scores(*levels, everywhere)[0], rel=1e-9)
    inner, added = edge_scores(*levels, inside)
    assert of("qabf_inner", *images) == pytest.approx(inner, rel=1e-9)
    assert of("nabf", *images) == pytest.approx(added, rel=1e-9)
    assert added > 0


def entropy(shares):
    return -sum(p * math.log(p) for p in np.ravel(shares) if p > 0)


def distribution(window):
    """A window as shares of its pixels, column by column."""
    values = window.T.ravel() - window.min()
    return np.full(9, 1 / 9) if not values.any() else values / values.sum()


def shared_features(one, other):
    """Normalized mutual information of two windows by the joint distribution of all 81 pairs of pixels."""
    if (one == other).all():
        return 1.0
    p, q = distribution(one), distribution(other)
    moving = p.std() > 0 and q.std() > 0
    r = np.corrcoef(p, q)[0, 1] if moving else 0.0
    reached, other_reached = np.cumsum(p), np.cumsum(q)
    up = np.minimum.outer(reached, other_reached)
    low = np.maximum(np.add.outer(reached, other_reached) - 1, 0)
    bound = up if r >= 0 else low
    number = np.arange(9)
    spread = math.prod(math.sqrt(max(number**2 @ s - (number @ s) ** 2, 0)) for s in (p, q))
    most = (bound - np.outer(reached, other_reached)).sum()
    weight = min(r * spread / most, 1) if r and spread > 1e-9 else 0.0
    pairs = np.diff(np.diff(np.pad(bound, ((1, 0), (1, 0))), axis=0), axis=1)
    joint = np.maximum(weight * pairs + (1 - weight) * np.outer(p, q), 0)
    whole = entropy(p) + entropy(q)
    return 2 * (whole - entropy(joint)) / whole if whole > 0 else 0.0


@pytest.mark.parametrize("seed", SEEDS)
def test_feature_information_is_that_of_all_pairs_of_pixels_of_every_window(seed):
    images = drawn(seed, (12, 13))
    images[0][:5, :6] = images[2][:5, :6]
    images[1][6:, 5:] = images[2][0, 7:11] = 0.5
    levels = [np.rint(255 * image) for image in images]
    values = [
        shared_features(source[x : x + 3, y : y + 3], levels[2][x : x + 3, y : y + 3])
        for source in levels[:2]
        for x, y in each((12, 13), 3)
    ]
    assert of("fmi", *images) == pytest.approx(np.mean(values), abs=2e-6)


def example():
    """The example of the page: a ring with texture, uptake over a gray ground, and the image fused of both."""
    x, y = np.indices((192, 192)) - 95.5
    radius = np.hypot(x, y)
    texture = 0.5 + 0.2 * np.sin(x / 3) * np.cos(y / 5)
    a = np.where(radius < 80, texture, 0) + 0.4 * (np.abs(radius - 76) < 4)
    b = 0.15 + 0.75 * np.exp(-(((x - 20) / 30) ** 2) - ((y + 10) / 22) ** 2) * (radius < 80)
    fused = (2 * np.maximum(a, b) + a + b) / 4
    return [np.rint(255 * np.clip(image, 0, 1)) / 255 for image in (a, b, fused)]


def decibel(peak, mse):
    return f"{10 * math.log10(peak**2 / mse):.2f} dB"


def similarity_of_range(images, most):
    """The sum of SSIM in 7x7 with sample covariances, for values of 0..1 and a range that is set."""
    c1, c2, total = (0.01 * most) ** 2, (0.03 * most) ** 2, 0.0
    fused = images[2]
    for source in images[:2]:
        m, n, mm, nn, mn = (
            ndimage.uniform_filter(part, 7)[3:-3, 3:-3]
            for part in (source, fused, source * source, fused * fused, source * fused)
        )
        va, vf, cov = (49 / 48 * part for part in (mm - m * m, nn - n * n, mn - m * n))
        total += ((2 * m * n + c1) * (2 * cov + c2) / ((m * m + n * n + c1) * (va + vf + c2))).mean()
    return total


def on_the_example():
    """What each evaluator makes of the example, by the name of the row."""
    a, b, fused = images = example()
    ours, pixels = {name: metric.of(Fusion(*images)) for name, metric in FUSION_METRICS.items()}, a.size
    squares = [((source - fused) ** 2).sum() for source in (a, b)]
    mean = sum(squares) / 2 / pixels
    norms = np.mean([255 * math.sqrt(square) / pixels for square in squares])
    reflected, scales = (
        both(torchmetrics_ssim, *images),
        [
            float(torchmetrics.multiscale_structural_similarity_index_measure(tensor(fused), tensor(s), data_range=1.0))
            for s in (a, b)
        ],
    )
    x, y = (np.diff(255 * fused, axis=axis) ** 2 for axis in (0, 1))
    return {
        "`psnr`": f"{ours['psnr']:.2f} dB",
        "`psnr_of_mean`": decibel(1, mean),
        "`psnr_of_peak`, CDDFuse, DM-FNet": decibel(fused.max(), mean),
        "Tang et al.": decibel(255, mean),
        "VIFB": decibel(255, norms),
        "`mi`, scikit-learn, CDDFuse": f"{ours['mi']:.3f} nat",
        "`mi_bits`, Tang et al., VIFB": f"{ours['mi_bits']:.3f} bit",
        "`ssim`, MONAI, piq, VIFB": f"{ours['ssim']:.4f}",
        "TorchMetrics": f"{np.mean(reflected):.4f}",
        "`ssim_sum`, scikit-image, DM-FNet": f"{ours['ssim_sum']:.4f}",
        "CDDFuse with scikit-image before 0.20": f"{similarity_of_range(images, 2 / 255):.4f}",
        "`ms_ssim`, MONAI, piq": f"{ours['ms_ssim']:.4f}",
        "TorchMetrics, five scales": f"{np.mean(scales):.4f}",
        "`sf`, CDDFuse": f"{ours['sf']:.3f}",
        "VIFB, spatial frequency": f"{math.sqrt((x.sum() + y.sum()) / pixels):.3f}",
        "`ag`, CDDFuse": f"{ours['ag']:.3f}",
        "VIFB, Tang et al., gradient": f"{ours['ag'] * pixels / 191**2:.3f}",
        "`qabf`, CDDFuse": f"{ours['qabf']:.4f}",
        "`qabf_inner`": f"{ours['qabf_inner']:.4f}",
        "`vif`, TorchMetrics, piq, CDDFuse": f"{sum(both(torchmetrics_vif, *images)):.4f}",
    }


def test_the_rows_of_the_example_that_are_ours_agree_with_who_they_name():
    images = example()
    assert of("ssim", *images) == pytest.approx(np.mean(both(monai_ssim, *images)), abs=2e-5)
    assert of("ms_ssim", *images) == pytest.approx(np.mean(both(monai_ms_ssim, *images)), abs=1e-5)
    assert of("ssim_sum", *images) == pytest.approx(similarity_of_range(images, 1), rel=1e-9)
    assert of("vif", *images) == pytest.approx(sum(both(torchmetrics_vif, *images)), abs=1e-6)


def test_metrics_page_has_every_fusion_metric_as_the_catalogue_has_it():
    said = {name.strip("`"): rest for name, _, *rest in rows_of("fusion metric")}
    for name, metric in FUSION_METRICS.items():
        low, high = (f"{end:.4g}".replace("inf", "∞") for end in metric.range)
        constant = [answered(value) for value in metric.constant]
        side = str(metric.smallest_side)
        expected = [metric.unit, f"{low}..{high}", metric.better, metric.peak, metric.window, metric.sources]
        assert said.pop(name) == [*expected, *constant, side, metric.source.partition(", doi")[0]], name
    assert not said


def test_metrics_page_says_what_each_evaluator_makes_of_the_example():
    assert {name: value for name, _, value in rows_of("on fused images")} == on_the_example()


def test_metrics_page_names_the_release_of_every_peer_of_fusion_metrics():
    for name in ("MONAI", "TorchMetrics", "scikit-learn"):
        assert f"{name} {version(name)}" in PAGE
