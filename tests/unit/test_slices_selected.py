"""Some images of a stored case, in an order of one's own."""

import numpy as np
import pytest

from diffufuse.errors import BadInput
from diffufuse.store.slices import open_slices, write_slices

NAMES = ("pet", "ct", "t1")


@pytest.fixture
def stored(tmp_path):
    generator = np.random.default_rng(1)
    shape = (9, 7, 5)
    images = {name: generator.normal(size=shape).astype(np.float32) for name in NAMES}
    presence = {name: generator.random(shape) > 0.3 for name in NAMES}
    masks = {"body": np.ones(shape, bool), "labels": np.zeros(shape, np.uint8)}
    path = tmp_path / "case_slices.b2nd"
    return open_slices(path, sha256=write_slices(path, images=images, presence=presence, **masks))


@pytest.mark.parametrize("names", [("t1", "pet"), ("ct",), NAMES, ("t1", "ct", "pet")])
def test_selected_images_and_presence_are_those_of_the_whole_case(stored, names):
    channels = [NAMES.index(name) for name in names]
    chosen = stored.selected(names)
    assert chosen.modalities == names
    for z in (2, slice(1, 4)):
        axis = 0 if isinstance(z, int) else 1
        np.testing.assert_array_equal(chosen.images(z), stored.images(z).take(channels, axis))
        np.testing.assert_array_equal(chosen.presence(z), stored.presence(z).take(channels, axis))
    part, whole = chosen.patch((-1, 2, 1), (6, 8, 3)), stored.patch((-1, 2, 1), (6, 8, 3))
    np.testing.assert_array_equal(part.images, whole.images[channels])
    np.testing.assert_array_equal(part.presence, whole.presence[channels])
    np.testing.assert_array_equal(part.body, whole.body)


def test_an_image_that_is_not_stored_is_refused(stored):
    with pytest.raises(BadInput, match="expected the image flair, but the slice store holds pet, ct, t1"):
        stored.selected(["pet", "flair"])
