"""Pictures: color taken apart and put together, files written and read, and the place of a picture in a case."""

import numpy as np
import pytest
from PIL import Image

from diffufuse.errors import BadInput
from diffufuse.pixels.color import luma_and_chroma, recombined
from diffufuse.pixels.image_file import read_picture
from diffufuse.pixels.orientation import as_picture, as_slice
from diffufuse.pixels.png import write_picture
from diffufuse.store.slices import open_slices, write_slices

LEVELS = np.arange(256)


def colors(step):
    """All 8-bit colors of every step-th red."""
    for red in LEVELS[::step]:
        green, blue = np.meshgrid(LEVELS, LEVELS)
        yield np.stack([np.full_like(green, red), green, blue], axis=-1).astype(np.uint8)


def test_luma_and_chroma_are_those_of_bt601():
    primaries = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0]], float)
    luma, cb, cr = luma_and_chroma(primaries)
    assert luma == pytest.approx([0.299, 0.587, 0.114, 1, 0])
    assert cb == pytest.approx([-0.168736, -0.331264, 0.5, 0, 0], abs=1e-6)
    assert cr == pytest.approx([0.5, -0.418688, -0.081312, 0, 0], abs=1e-6)


def test_every_8_bit_color_comes_back():
    for rgb in colors(17):
        back = recombined(*luma_and_chroma(rgb / 255))
        assert np.abs(back * 255 - rgb).max() < 1e-9
        assert np.array_equal(np.rint(back * 255), rgb)


def test_colors_come_back_from_the_store(tmp_path):
    [rgb] = colors(256)
    rgb[..., 0] = rgb[..., 1] ^ rgb[..., 2]
    luma, cb, cr = luma_and_chroma(rgb / 255)
    images = {"y": as_slice(luma), "y_cb": as_slice(cb), "y_cr": as_slice(cr)}
    everywhere = np.ones((256, 256, 1), bool)
    labels, path = np.zeros((256, 256, 1), np.uint8), tmp_path / "a.b2nd"
    presence = dict.fromkeys(images, everywhere)
    digest = write_slices(path, images=images, presence=presence, body=everywhere, labels=labels, bounded=True)
    stored = open_slices(path, sha256=digest).images(0)
    assert np.abs(as_picture(stored[0]) - luma).max() * 255 < 0.004  # of a gray level
    assert np.array_equal(np.rint(recombined(*map(as_picture, stored)) * 255), rgb)


def test_a_fused_luma_brings_its_own_brightness_and_the_color_of_the_source():
    rgb = np.array([[0.5, 0.4, 0.3]])
    luma, cb, cr = luma_and_chroma(rgb)
    brighter = recombined(luma + 0.1, cb, cr)
    assert brighter == pytest.approx(rgb + 0.1)
    assert recombined(np.ones(1), *luma_and_chroma(np.array([[1.0, 0, 0]]))[1:]).max() == 1  # clipped


def test_few_bright_pixels_on_black_are_no_outliers(tmp_path):
    image = np.zeros((256, 256, 1))
    image[:50, :, 0], image[-1, -1, 0] = 1e-4, 1
    settings = {"presence": {"a": image >= 0}, "body": image >= 0, "labels": np.zeros(image.shape, np.uint8)}
    with pytest.raises(BadInput, match="fill their range"):
        write_slices(tmp_path / "a.b2nd", images={"a": image}, **settings)
    write_slices(tmp_path / "a.b2nd", images={"a": image}, **settings, bounded=True)


@pytest.mark.parametrize("shape", [(30, 40), (30, 40, 3)])
def test_what_is_written_is_read(tmp_path, shape):
    levels = np.random.default_rng(0).integers(0, 256, shape)
    write_picture(levels / 255, tmp_path / "a.png")
    assert np.array_equal(read_picture(tmp_path / "a.png"), levels / 255)


def test_levels_are_rounded_half_to_even_and_clipped(tmp_path):
    write_picture(np.array([[-1.0, 0.5 / 255, 1.5 / 255, 2.5 / 255, 7.0]]), tmp_path / "a.png")
    assert np.asarray(Image.open(tmp_path / "a.png")).tolist() == [[0, 0, 2, 2, 255]]


@pytest.mark.parametrize("bad", [np.array([[np.nan]]), np.zeros((3, 3, 2)), np.zeros((2, 2, 2, 3))])
def test_no_picture_is_written_of_what_is_none(tmp_path, bad):
    with pytest.raises(ValueError, match="expected"):
        write_picture(bad, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_a_picture_lies_upright_where_cases_are_drawn():
    picture = np.arange(6).reshape(2, 3)  # the first row is the top one
    volume = as_slice(picture)
    assert volume.shape == (3, 2, 1)
    assert volume[-1, -1, 0] == picture[0, 0]  # the patient's right, in front
    assert np.array_equal(as_picture(volume[..., 0]), picture)


@pytest.mark.real
@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("harvard/PET-MRI/test/MRI/25046.png", (256, 256)),
        ("harvard/PET-MRI/test/PET/25046.png", (256, 256, 3)),
        ("harvard/SPECT-MRI/test/SPECT/15012.png", (256, 256, 3)),
        ("harvard/CT-MRI/test/CT/16012.png", (256, 256)),
        ("gfp/GFP/02-E01.jpg", (358, 358, 3)),
    ],
)
def test_published_pictures_are_read_as_their_numbers(shared_data, path, shape):
    picture = read_picture(shared_data / path)
    assert picture.shape == shape
    assert np.array_equal(np.rint(picture * 255), np.asarray(Image.open(shared_data / path)))
