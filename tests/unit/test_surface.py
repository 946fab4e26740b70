import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from diffufuse.metrics.boxes import box_of
from diffufuse.metrics.surface import SurfaceDistances, assd, hd95, nsd, surface, surface_distances

PENALTY_MM = 99.0


def ball(shape, center_mm, radius_mm, spacing_mm):
    grid = np.indices(shape).reshape(3, -1).T * np.asarray(spacing_mm)
    return (np.linalg.norm(grid - center_mm, axis=1) <= radius_mm).reshape(shape)


def blobs(seed, shape):
    noise = np.random.default_rng(seed).normal(size=shape)
    return ndimage.gaussian_filter(noise, 2) > 0.06


def distance(prediction, reference, spacing_mm):
    return hd95(surface_distances(prediction, reference, spacing_mm=spacing_mm), penalty_mm=PENALTY_MM)


def plates(apart, *, axis=0):
    """Two plates of one voxel, so many voxels apart; each is its own surface."""
    both = np.zeros((2, 24, 24, 24), bool)
    for mask, place in zip(both, (4, 4 + apart), strict=True):
        mask.swapaxes(0, axis)[place] = True
    return both


def exhaustive(prediction, reference, spacing_mm):
    """Every distance of every pair of surface voxels, by definition."""
    points, targets = (np.argwhere(mask & ~ndimage.binary_erosion(mask)) for mask in (prediction, reference))
    apart_mm = np.linalg.norm((points[:, None] - targets[None]) * np.asarray(spacing_mm), axis=-1)
    return SurfaceDistances(apart_mm.min(axis=1), apart_mm.min(axis=0))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_shifted_plate_is_as_far_as_it_was_shifted_in_millimeters(axis):
    spacing_mm = (0.98, 1.5, 3.27)
    found = surface_distances(*plates(3, axis=axis), spacing_mm=spacing_mm)
    assert hd95(found, penalty_mm=PENALTY_MM) == pytest.approx(3 * spacing_mm[axis])
    assert assd(found, penalty_mm=PENALTY_MM) == pytest.approx(3 * spacing_mm[axis])
    assert nsd(found, tolerance_mm=3 * spacing_mm[axis]) == 1
    assert nsd(found, tolerance_mm=3 * spacing_mm[axis] - 0.01) == 0


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
    for missing in ((none, some), (some, none)):
        found = surface_distances(*missing, spacing_mm=(1, 1, 1))
        assert sorted(side.size for side in found) == [0, 26]
        assert np.isinf(np.concatenate(found)).all()
        assert hd95(found, penalty_mm=PENALTY_MM) == assd(found, penalty_mm=PENALTY_MM) == PENALTY_MM
        assert nsd(found) == 0
    found = surface_distances(none, none, spacing_mm=(1, 1, 1))
    assert [side.size for side in found] == [0, 0]
    assert np.isnan([hd95(found, penalty_mm=PENALTY_MM), assd(found, penalty_mm=PENALTY_MM), nsd(found)]).all()


@settings(deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(0.7, 1.1, 3.0), (1.0, 1.0, 1.0), (0.98, 0.98, 3.27)]))
def test_distances_are_those_of_every_pair_of_surface_voxels(seed, spacing_mm):
    prediction, reference = blobs(seed, (9, 8, 7)), blobs(seed + 1, (9, 8, 7))
    if prediction.any() and reference.any():
        found = surface_distances(prediction, reference, spacing_mm=spacing_mm)
        for side, expected in zip(found, exhaustive(prediction, reference, spacing_mm), strict=True):
            np.testing.assert_allclose(side, expected, rtol=1e-12)


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_the_layout_in_memory_and_the_background_around_do_not_matter(seed):
    prediction, reference = blobs(seed, (9, 8, 7)), blobs(seed + 1, (9, 8, 7))
    masks = (np.pad(mask, ((3, 0), (1, 5), (2, 2))) for mask in (prediction, reference))
    for here, there in zip(
        surface_distances(np.pad(prediction, 1), np.pad(reference, 1), spacing_mm=(1, 2, 3)),
        surface_distances(*(np.asfortranarray(mask)[::-1, :, ::-1] for mask in masks), spacing_mm=(1, 2, 3)),
        strict=True,
    ):
        np.testing.assert_allclose(np.sort(here), np.sort(there), rtol=1e-12)


@pytest.mark.parametrize("first", range(12))
def test_five_voxels_of_four_tenths_of_a_millimeter_are_within_two(first):
    # 2.8 - 0.8 is more than 2 in binary fractions
    both = np.zeros((2, 20, 3, 3), bool)
    both[:, 0], both[0, first], both[1, first + 5] = True, True, True
    assert nsd(surface_distances(*both, spacing_mm=(0.4, 0.4, 0.4))) == 1


def test_the_average_is_over_all_surface_voxels_and_not_of_two_averages():
    found = SurfaceDistances(np.array([0.0, 0.0, 0.0, 4.0]), np.array([2.0]))
    assert assd(found, penalty_mm=PENALTY_MM) == 6 / 5


def test_the_share_near_counts_both_surfaces():
    found = SurfaceDistances(np.array([0.0, 1.9, 2.0, 2.1]), np.array([5.0]))
    assert nsd(found) == 3 / 5
    assert nsd(found, tolerance_mm=0) == 1 / 5


def test_outlines_in_a_plane_have_distances_as_well():
    reference, prediction = np.zeros((2, 20, 20), bool)
    reference[5:15, 5:15], prediction[5:15, 7:17] = True, True
    assert hd95(surface_distances(prediction, reference, spacing_mm=(1, 3)), penalty_mm=PENALTY_MM) == 6


@settings(deadline=None)
@given(st.lists(st.tuples(*(st.integers(0, side - 1) for side in (5, 6, 7))), max_size=4))
def test_a_box_holds_every_voxel_and_touches_it_on_each_side(places):
    mask = np.zeros((5, 6, 7), bool)
    for place in places:
        mask[place] = True
    box = box_of(mask, np.zeros_like(mask))
    assert mask[box].sum() == mask.sum()
    inner = mask[box]
    for axis in range(3):
        ends = np.moveaxis(inner, axis, 0)[[0, -1]] if inner.size else np.ones((2, 1), bool)
        assert ends.reshape(2, -1).any(axis=1).all()


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_distance_is_symmetric_and_zero_to_itself(first, second):
    a, b = blobs(first, (12, 11, 10)), blobs(second, (12, 11, 10))
    spacing_mm = (0.7, 1.1, 3.0)
    assert distance(a, b, spacing_mm) == pytest.approx(distance(b, a, spacing_mm), nan_ok=True)
    if a.any():
        assert distance(a, a, spacing_mm) == 0


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_the_distance_scales_with_the_voxels(seed):
    a, b = blobs(seed, (10, 10, 10)), np.roll(blobs(seed, (10, 10, 10)), 2, axis=1)
    if a.any():
        assert distance(a, b, (2, 4, 6)) == pytest.approx(2 * distance(a, b, (1, 2, 3)))
