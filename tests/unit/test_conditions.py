import numpy as np
import pytest

from diffufuse.conditions import apply_condition
from diffufuse.scan import Scan

MODALITIES = ("pet", "ct")


@pytest.fixture
def scan():
    draw = np.random.default_rng(5)
    presence = draw.random((2, 8, 8, 6)) > 0.1
    images = np.where(presence, draw.normal(50, 10, (2, 8, 8, 6)), 0).astype(np.float32)
    return Scan(images, presence, draw.random((8, 8, 6)) > 0.2)


def under(scan, condition, names=("d", "A", "c"), seed=1):
    return apply_condition(scan, condition, modalities=MODALITIES, study_seed=seed, names=names)


def test_clean_changes_nothing(scan):
    assert np.array_equal(under(scan, {}).images, scan.images)


def test_a_withheld_modality_is_absent_everywhere_and_the_scan_itself_is_untouched(scan):
    before = scan.images.copy()
    without = under(scan, {"absent": ["pet"]})
    assert not without.presence[0].any()
    assert not without.images[0].any()
    assert np.array_equal(without.images[1], scan.images[1])
    assert np.array_equal(scan.images, before)


NOISE = {"corruption": "gaussian_noise", "settings": {"noise_sd": 0.3}}


def test_the_same_names_give_the_same_voxels_and_others_do_not(scan):
    assert np.array_equal(under(scan, NOISE).images, under(scan, NOISE).images)
    assert not np.array_equal(under(scan, NOISE).images, under(scan, NOISE, names=("d", "B", "c")).images)
    assert not np.array_equal(under(scan, NOISE).images, under(scan, NOISE, seed=2).images)


def test_only_the_named_modalities_are_corrupted_and_only_inside_the_body(scan):
    noisy = under(scan, NOISE | {"modalities": ["ct"]})
    assert np.array_equal(noisy.images[0], scan.images[0])
    changed = noisy.images[1] != scan.images[1]
    assert changed.any()
    assert not changed[~(scan.body & scan.presence[1])].any()
