import numpy as np
import pytest

from diffufuse.store.normalization import intensity_statistics, normalize, normalize_all

PRESENT = np.ones((4, 4, 4), bool)


@pytest.fixture
def image():
    return np.random.default_rng(0).normal(100, 20, (4, 4, 4)).astype(np.float32)


def zscored(image):
    statistics = intensity_statistics(image, PRESENT)
    return normalize(image, PRESENT, settings={"method": "zscore"}, statistics=statistics)


def test_a_global_gain_is_cancelled_by_a_zscore_but_a_ramp_is_not(image):
    ramp = np.linspace(0.8, 1.2, 4, dtype=np.float32)
    assert zscored(image * 1.2) == pytest.approx(zscored(image), abs=1e-5)
    assert np.abs(zscored(image * ramp) - zscored(image)).max() > 0.1


def test_a_window_maps_its_ends_to_minus_one_and_one():
    values = np.array([-1000, -160, 40, 240, 3000], np.float32)
    settings = {"method": "window", "low": -160, "high": 240}
    scaled = normalize(values, np.ones(5, bool), settings=settings, statistics={})
    assert scaled.tolist() == [-1, -1, 0, 1, 1]


def test_log_of_suv_is_zero_without_uptake():
    values = normalize(np.array([0, np.e - 1], np.float32), np.ones(2, bool), settings={"method": "log"}, statistics={})
    assert values == pytest.approx([0, 1])


def test_what_was_not_acquired_is_zero_whatever_it_held(image):
    present = image > 100
    scaled = normalize(
        np.where(present, image, 1e6), present, settings={"method": "zscore"}, statistics={"mean": 1, "sd": 1}
    )
    assert not scaled[~present].any()


def test_an_absent_image_is_zero_and_needs_no_statistics(image):
    stack = normalize_all(
        image[None],
        np.zeros((1, 4, 4, 4), bool),
        modalities={"t1": {"normalization": {"method": "zscore"}}},
        statistics={},
    )
    assert not stack.any()


def test_a_constant_image_is_refused():
    with pytest.raises(ValueError, match="constant"):
        normalize(np.ones(3), np.ones(3, bool), settings={"method": "zscore"}, statistics={"mean": 1, "sd": 0})
