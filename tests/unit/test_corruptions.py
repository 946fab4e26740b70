"""What holds for every corruption, and what each is known to do."""

import numpy as np
import pytest

from diffufuse.corruptions import CORRUPTIONS

STRENGTH = {"gaussian_noise": "noise_sd"}


@pytest.fixture
def image():
    return np.abs(np.random.default_rng(0).normal(40, 25, (20, 20, 12))).astype(np.float32)


INSIDE = np.zeros((20, 20, 12), bool)
INSIDE[3:17, 3:17] = True


def corrupt(name, image, strength, seed=3):
    settings = {STRENGTH[name]: strength}
    return CORRUPTIONS[name](image, INSIDE, settings=settings, generator=np.random.default_rng(seed))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_zero_strength_is_identity(name, image):
    assert np.array_equal(corrupt(name, image, 0.0), image)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_more_strength_changes_more(name, image):
    changes = [np.abs(corrupt(name, image, strength) - image).mean() for strength in (0.1, 0.3, 0.5)]
    assert changes == sorted(changes)
    assert changes[0] > 0


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_same_seed_gives_the_same_voxels(name, image):
    assert np.array_equal(corrupt(name, image, 0.3), corrupt(name, image, 0.3))
    assert not np.array_equal(corrupt(name, image, 0.3), corrupt(name, image, 0.3, seed=4))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_outside_of_the_body_and_the_input_stay_as_they_are(name, image):
    before = image.copy()
    after = corrupt(name, image, 0.5)
    assert np.array_equal(after[~INSIDE], image[~INSIDE])
    assert np.array_equal(image, before)
    assert after.dtype == np.float32


def test_gaussian_noise_has_the_strength_that_its_name_says(image):
    residual = (corrupt("gaussian_noise", image, 0.3) - image)[INSIDE]
    assert residual.std() == pytest.approx(0.3 * image[INSIDE].std(), rel=0.05)
    assert abs(residual.mean()) < 0.02 * image[INSIDE].std()
