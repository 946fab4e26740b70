import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from diffufuse.metrics.surface import hd95, surface, surface_distances

PENALTY_MM = 99.0


def ball(shape, center_mm, radius_mm, spacing_mm):
    grid = np.indices(shape).reshape(3, -1).T * np.asarray(spacing_mm)
    return (np.linalg.norm(grid - center_mm, axis=1) <= radius_mm).reshape(shape)


def blobs(seed, shape):
    noise = np.random.default_rng(seed).normal(size=shape)
    return ndimage.gaussian_filter(noise, 2) > 0.06


def distance(prediction, reference, spacing_mm):
    return hd95(prediction, reference, spacing_mm=spacing_mm, penalty_mm=PENALTY_MM)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_shifted_plate_is_as_far_as_it_was_shifted_in_millimeters(axis):
    spacing_mm = (0.98, 1.5, 3.27)
    reference, prediction = np.zeros((2, 20, 20, 20), bool)
    reference.swapaxes(0, axis)[4] = True
    prediction.swapaxes(0, axis)[7] = True
    assert distance(prediction, reference, spacing_mm) == pytest.approx(3 * spacing_mm[axis])


def test_a_cube_shifted_along_one_axis_is_at_most_as_far_as_the_shift():
    reference = np.zeros((30, 30, 30), bool)
    reference[5:15, 5:15, 5:15] = True
    prediction = np.roll(reference, 2, axis=0)
    assert distance(prediction, reference, (1.0, 1.0, 1.0)) == 2


def test_concentric_balls_are_as_far_as_their_radii_differ():
    spacing_mm = (1.0, 1.0, 2.0)
    center_mm = (25.0, 25.0, 26.0)
    inner, outer = (ball((51, 51, 27), center_mm, radius_mm, spacing_mm) for radius_mm in (12, 20))
    assert distance(inner, outer, spacing_mm) == pytest.approx(8, abs=1.0)


def test_one_far_voxel_does_not_decide_the_95th_percentile():
    reference = ball((40, 40, 40), (15, 15, 15), 8, (1, 1, 1))
    prediction = reference.copy()
    prediction[39, 39, 39] = True
    assert distance(prediction, reference, (1, 1, 1)) == 0
    assert surface_distances(prediction, reference, spacing_mm=(1, 1, 1))[0].max() > 30


def test_the_larger_direction_counts_and_not_the_pooled_one():
    reference, prediction = np.zeros((2, 60, 3, 3), bool)
    reference[0:50, 1, 1] = True
    prediction[0:2, 1, 1] = True
    assert distance(prediction, reference, (1, 1, 1)) == pytest.approx(np.percentile(np.arange(-1, 49).clip(0), 95))


def test_the_surface_has_a_background_face_neighbor_and_the_border_counts():
    solid = np.ones((5, 5, 5), bool)
    assert surface(solid).sum() == 125 - 27
    plane = np.ones((5, 5), bool)
    plane[0, 0] = False
    # (1, 1) touches the hole by a corner only and stays inside
    assert surface(plane).sum() == 24 - 9


def test_empty_masks_are_penalized_or_undefined():
    some, none = np.ones((3, 3, 3), bool), np.zeros((3, 3, 3), bool)
    assert distance(none, some, (1, 1, 1)) == distance(some, none, (1, 1, 1)) == PENALTY_MM
    assert np.isnan(distance(none, none, (1, 1, 1)))


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_distance_is_symmetric_and_zero_to_itself(first, second):
    a, b = blobs(first, (12, 11, 10)), blobs(second, (12, 11, 10))
    spacing_mm = (0.7, 1.1, 3.0)
    assert distance(a, b, spacing_mm) == pytest.approx(distance(b, a, spacing_mm), nan_ok=True)
    if a.any():
        assert distance(a, a, spacing_mm) == 0


@given(st.integers(0, 10**6))
def test_the_distance_scales_with_the_voxels(seed):
    a, b = blobs(seed, (10, 10, 10)), np.roll(blobs(seed, (10, 10, 10)), 2, axis=1)
    if a.any():
        assert distance(a, b, (2, 4, 6)) == pytest.approx(2 * distance(a, b, (1, 2, 3)))


def test_values_equal_those_of_monai_on_anisotropic_voxels():
    # MONAI takes ten seconds to import, so nothing else in this file pays for it
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("monai.metrics")
    spacing_mm = (0.98, 0.98, 3.27)
    for seed in range(12):
        prediction, reference = blobs(seed, (40, 36, 20)), blobs(seed + 100, (40, 36, 20))
        theirs = metrics.compute_hausdorff_distance(
            torch.from_numpy(prediction)[None, None],
            torch.from_numpy(reference)[None, None],
            include_background=True,
            percentile=95,
            spacing=spacing_mm,
        )
        assert distance(prediction, reference, spacing_mm) == pytest.approx(theirs.item(), rel=1e-5)
