import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from diffufuse.store.packing import body_of, decode, encode, labels_of, pack_masks, presence_of, step_of

FLOAT32_ROUNDING = 2**-23


def stored_and_read(image):
    step = step_of(image)
    codes = np.empty((image.shape[2], *image.shape[:2]), np.int16)
    encode(image, step, codes)
    read = decode(codes[None], np.float32([step]))[0]
    return read.transpose(1, 2, 0), step


@given(arrays(np.float32, (3, 4, 2), elements=st.floats(-70000, 70000, width=32, allow_subnormal=False)))
def test_a_value_is_off_by_half_a_step_at_most_and_zero_is_exactly_zero(image):
    read, step = stored_and_read(image)
    assert (np.abs(read - image) <= step / 2 + FLOAT32_ROUNDING * np.abs(image)).all()
    assert not read[image == 0].any()


@given(st.integers(-32767, 0), st.integers(0, 32767))
def test_whole_numbers_are_kept_exactly(low, high):
    image = np.linspace(low, high, 24).round().astype(np.float32).reshape(3, 4, 2)
    assert np.array_equal(stored_and_read(image)[0], image)


@pytest.mark.parametrize(("low", "high"), [(-1024.5, 3071.3), (0, 0.013), (-5e-4, 0), (0, 3e7), (17.25, 17.5), (0, 0)])
def test_a_step_is_the_largest_magnitude_over_32767(low, high):
    image = np.linspace(low, high, 24, dtype=np.float32).reshape(3, 4, 2)
    read, step = stored_and_read(image)
    assert step == (1 if low == high == 0 else pytest.approx(max(-low, high) / 32767, rel=1e-6))
    assert (np.abs(read - image) <= step / 2 + FLOAT32_ROUNDING * np.abs(image)).all()


def test_masks_come_back_bit_by_bit():
    draw = np.random.default_rng(1)
    presence = [draw.random((5, 4, 3)) > 0.5 for _ in range(7)]
    body, labels = draw.random((5, 4, 3)) > 0.5, draw.integers(0, 256, (5, 4, 3)).astype(np.uint8)
    masks = pack_masks(presence, body, labels)
    assert np.array_equal(labels_of(masks), labels)
    assert np.array_equal(body_of(masks), body)
    assert np.array_equal(presence_of(masks, 7), presence)


def test_more_modalities_than_bits_are_refused():
    mask = np.zeros((2, 2, 2), bool)
    with pytest.raises(ValueError, match="at most 7"):
        pack_masks([mask] * 8, mask, mask)


def test_labels_of_another_type_are_refused_before_they_reach_the_other_bits():
    whole = np.ones((2, 2, 2), bool)
    with pytest.raises(ValueError, match="labels: expected uint8, got int64"):
        pack_masks([whole], whole, np.full((2, 2, 2), 300))
