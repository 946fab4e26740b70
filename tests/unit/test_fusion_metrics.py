import math

import fusion_metrics as published
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffufuse.metrics.catalogue import METRICS
from diffufuse.metrics.fusion import edges
from diffufuse.metrics.fusion.catalogue import FUSION_METRICS, evaluate
from diffufuse.metrics.fusion.images import Fusion

SHAPE = (180, 184)


def drawn(seed, shape=SHAPE, *, levels=255):
    """Two sources and a fused image of noise with some structure, as 8-bit files hold them."""
    draw = np.random.default_rng(seed)
    common = draw.random(shape)
    return [np.rint(levels * (common + draw.random(shape)) / 2) / levels for _ in range(3)]


def of(name, a, b, fused):
    return FUSION_METRICS[name].of(Fusion(a, b, fused))


def flat(value, shape=SHAPE):
    return np.full(shape, value)


def halves(shape=SHAPE):
    """Black above, white below."""
    image = np.zeros(shape)
    image[shape[0] // 2 :] = 1
    return image


def ramp(step=1 / 255):
    """Values that grow by a step from one column to the next."""
    return np.tile(np.arange(SHAPE[1]) * step, (SHAPE[0], 1))


def stripes():
    """Columns that are black and white in turn."""
    return np.tile(np.arange(SHAPE[1]) % 2.0, (SHAPE[0], 1))


A, B, F = drawn(0)
ONE, OTHER = np.zeros((2, *SHAPE))
ONE[20:60, 20:60], OTHER[100:150, 70:160] = 0.8, 0.4
LIGHT = (2 * 0.15 + 1e-4) / (0.25 + 0.09 + 1e-4)
KNOWN = [
    ("en", halves(), halves(), halves(), 1.0),
    ("en", A, B, np.arange(256).repeat(144).reshape(192, 192)[:180, :184] / 255, None),
    ("sd", A, B, halves(), 127.5),
    ("sf", A, B, stripes(), 255.0),
    ("sf", A, B, ramp(), 1.0),
    ("ag", A, B, ramp(), math.sqrt(0.5)),
    ("mi", halves(), halves(), halves(), 2 * math.log(2)),
    ("mi", halves(), stripes(), halves(), math.log(2)),
    ("mi_bits", halves(), halves(), halves(), 2.0),
    ("scd", ONE, OTHER, ONE + OTHER, 2.0),
    ("cc", A, A, 1 - A, -1.0),
    ("cc", A, 1 - A, A, 0.0),
    ("psnr", flat(0.5), flat(0.5), flat(0.6), 20.0),
    ("psnr", flat(0.5), flat(0.601), flat(0.6), 40.0),
    ("psnr", flat(0.5), flat(0.6), flat(0.6), math.inf),
    ("psnr_of_mean", flat(0.5), flat(0.6), flat(0.6), 10 * math.log10(200)),
    ("psnr_of_peak", flat(0.4), flat(0.6), flat(0.5), 20 * math.log10(5)),
    ("psnr_of_peak", A, B, flat(0.0), -math.inf),
    ("psnr_of_peak", flat(0.0), flat(0.0), flat(0.0), math.nan),
    ("ssim", flat(0.5), flat(0.5), flat(0.3), LIGHT),
    ("ssim_sum", flat(0.5), flat(0.5), flat(0.3), 2 * LIGHT),
    ("ms_ssim", flat(0.5), flat(0.5), flat(0.3), LIGHT**0.1333),
    ("ms_ssim", A, A, 1 - A, 0.0),
    ("qabf", A, A, flat(0.0), 0.0),
    ("qabf", flat(0.0), flat(0.0), A, math.nan),
    ("qabf_inner", flat(0.3), flat(0.7), A, math.nan),
    ("vif", A, A, 1 - A, 0.0),
    ("vif", A, A, A, 2.0),
    ("fmi", flat(0.5), flat(0.5), A, 0.0),
    ("fmi", flat(0.5), flat(0.2), flat(0.5), 0.5),
]


@pytest.mark.parametrize(
    ("name", "a", "b", "fused", "expected"), KNOWN, ids=[f"{i}-{k[0]}" for i, k in enumerate(KNOWN)]
)
def test_an_answer_that_is_known_is_given(name, a, b, fused, expected):
    value = of(name, a, b, fused)
    if expected is None:
        assert 7.9 < value <= 8
    else:
        assert value == pytest.approx(expected, rel=1e-6, abs=1e-3 if name == "qabf" else 1e-6, nan_ok=True)


def test_equal_images_share_all_and_add_nothing():
    values = evaluate(Fusion(A, A, A))
    assert values["mi"] == pytest.approx(2 * math.log(2) * values["en"])
    assert values["qabf"] == pytest.approx(edges.MOST_PRESERVED)
    assert values["qabf_inner"] == pytest.approx(edges.MOST_PRESERVED)
    assert pytest.approx(0.97479, abs=1e-5) == edges.MOST_PRESERVED
    assert values["nabf"] == 0
    highest = {"cc": 1, "psnr": math.inf, "ssim": 1, "ssim_sum": 2, "ms_ssim": 1, "vif": 2, "fmi": 1}
    assert {name: values[name] for name in highest} == pytest.approx(highest)
    assert math.isnan(values["scd"])


@pytest.mark.parametrize("seed", range(4))
def test_of_all_images_the_plain_average_has_the_largest_psnr_of_the_mean(seed):
    a, b, other = drawn(seed)
    mean = (a + b) / 2
    best = of("psnr_of_mean", a, b, mean)
    step = np.random.default_rng(seed).normal(size=SHAPE) / 50
    for fused in (other, a, b, np.maximum(a, b), np.clip(mean + step, 0, 1), mean * 0.99, np.rint(255 * mean) / 255):
        assert of("psnr_of_mean", a, b, fused) < best
    # the mean of both PSNR prefers an image that is near one of them
    assert of("psnr", a, b, 0.99 * a + 0.01 * b) > of("psnr", a, b, mean)


def test_an_edge_that_no_source_has_is_an_artifact_and_one_of_the_mean_is_not():
    added = np.clip(A + np.arange(SHAPE[1]) // 2 % 2, 0, 1)
    # where no source has an edge all pixels weigh alike: two rows of the inner 178
    assert of("nabf", flat(0.5), flat(0.2), halves()) == pytest.approx(2 / 178, rel=0.02)
    assert of("nabf", A, B, added) > 0.1
    # the gradient of a mean is at most as steep as the steeper of the two
    assert of("nabf", A, B, (A + B) / 2) == of("nabf", A, B, A / 2) == 0


def test_contrast_that_is_enhanced_has_more_than_all_information():
    dim = 0.25 + A / 4
    assert of("vif", dim, dim, 2 * dim - 0.5) > 2 > of("vif", dim, dim, dim / 2) > 0


@pytest.mark.parametrize("metric", FUSION_METRICS.values(), ids=FUSION_METRICS)
@pytest.mark.parametrize("kind", ["fused", "source"])
def test_a_constant_image_is_answered_as_the_catalogue_says(metric, kind):
    images = {"fused": (A, B, flat(0.3)), "source": (flat(0.3), B, F)}[kind]
    expected, value = getattr(metric.constant, kind), metric.of(Fusion(*images))
    if expected is None:
        assert math.isfinite(value)
        assert math.isfinite(metric.of(Fusion(*(image.astype(np.float32) for image in images))))
    else:
        assert value == pytest.approx(expected, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("metric", FUSION_METRICS.values(), ids=FUSION_METRICS)
def test_an_image_is_scored_from_its_smallest_side_on(metric):
    side = metric.smallest_side
    assert math.isfinite(metric.of(Fusion(*drawn(1, (side, side + 7)))))
    if side > 3:
        assert math.isnan(metric.of(Fusion(*drawn(1, (side + 7, side - 1)))))


BAD = {
    "integers": (np.zeros((8, 8), np.uint8), "expected an array of floating point with values in 0..1, got uint8"),
    "booleans": (np.zeros((8, 8), bool), "got bool"),
    "a list": ([[0.5] * 8] * 8, "got list"),
    "RGB": (np.zeros((8, 8, 3)), r"one channel of at least 3x3 pixels, got the shape \(8, 8, 3\)"),
    "too small": (np.zeros((2, 8)), r"at least 3x3 pixels, got the shape \(2, 8\)"),
    "another shape": (np.zeros((8, 9)), r"the shape of the fused image, \(8, 8\), got \(8, 9\)"),
    "0..255": (np.full((8, 8), 200.0), "values in 0..1, got 200 and 63 more outside"),
    "negative": (np.full((8, 8), -1e-3), "values in 0..1, got -0.001"),
    "NaN": (np.where(np.eye(8) > 0, np.nan, 0.5), "values in 0..1, got nan and 7 more outside"),
    "infinite": (np.full((8, 8), np.inf), "values in 0..1, got inf"),
    "complex": (np.zeros((8, 8), complex), "got complex128"),
}


@pytest.mark.parametrize("place", range(3), ids=["a", "b", "fused"])
@pytest.mark.parametrize(("image", "said"), BAD.values(), ids=BAD)
def test_an_image_that_cannot_be_scored_is_refused_in_one_sentence(image, said, place):
    images = [np.full((8, 8), 0.5) for _ in range(3)]
    images[place] = image
    if place == 2 and np.shape(image) == (8, 9):
        said = r"the shape of the fused image, \(8, 9\), got \(8, 8\)"
    with pytest.raises(ValueError, match=said) as refused:
        Fusion(*images)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(("a: ", "b: ", "fused: ")[place] if np.shape(image) != (8, 9) else ("a", "b"))


def test_no_metric_of_fused_images_is_one_of_masks():
    assert not set(FUSION_METRICS) & set(METRICS)


def test_a_metric_changes_no_image():
    images = [image.copy() for image in (A, B, F)]
    before = [image.copy() for image in images]
    evaluate(Fusion(*images))
    for image, kept in zip(images, before, strict=True):
        np.testing.assert_array_equal(image, kept)


seeds = st.integers(0, 2**32 - 1)
shapes = st.tuples(st.integers(41, 60), st.integers(41, 60))


@given(seeds, shapes, st.sampled_from([1, 7, 255]))
@settings(max_examples=15, deadline=None)
def test_every_value_is_in_its_range_and_symmetric_in_the_sources(seed, shape, levels):
    a, b, fused = drawn(seed, shape, levels=levels)
    values, exchanged = evaluate(Fusion(a, b, fused)), evaluate(Fusion(b, a, fused))
    assert values == pytest.approx(exchanged, rel=1e-9, abs=1e-12, nan_ok=True)
    for name, value in values.items():
        low, high = FUSION_METRICS[name].range
        assert math.isnan(value) or low - 1e-9 <= value <= high + 1e-9, name


@given(seeds, shapes)
@settings(max_examples=8, deadline=None)
def test_single_precision_and_a_turn_by_180_degrees_change_nothing_to_speak_of(seed, shape):
    images = drawn(seed, shape)
    values = evaluate(Fusion(*images))
    assert evaluate(Fusion(*(image.astype(np.float32) for image in images))) == pytest.approx(
        values, abs=1e-4, nan_ok=True
    )
    turned = evaluate(Fusion(*(image[::-1, ::-1] for image in images)))
    # VIF keeps every second pixel from the first on, and from the last on there are others
    del turned["vif"], values["vif"]
    assert turned == pytest.approx(values, rel=1e-6, abs=1e-6, nan_ok=True)


@given(seeds)
@settings(max_examples=8, deadline=None)
def test_sharing_more_with_a_source_scores_higher(seed):
    a, b, noise = drawn(seed, (48, 48))
    far, near = ((1 - share) * noise + share * (a + b) / 2 for share in (0.2, 0.8))
    for name in ("cc", "psnr", "psnr_of_mean", "ssim", "ssim_sum", "qabf_inner", "vif"):
        assert of(name, a, b, near) > of(name, a, b, far), name


@pytest.mark.real
@pytest.mark.parametrize("modality", published.SCORES)
def test_images_that_others_published_have_the_scores_on_record(shared_data, modality):
    assert (shared_data / "fused" / "bsafusion").is_dir()
    found = [[of(name, *images) for name in published.COLUMNS] for images in published.triples(modality)]
    recorded = [float(score) for score in published.SCORES[modality].split()]
    assert np.mean(found, axis=0) == pytest.approx(recorded, rel=6e-4)
