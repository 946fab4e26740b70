import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from diffufuse.space.resampling import center_mm, common_grid, resample, resample_labels
from diffufuse.space.transforms import Transform, Warp
from diffufuse.space.volumes import Volume, same_grid


def volume_of(array, spacing_mm=(1, 1, 1), corner_mm=(0, 0, 0)):
    affine = np.diag([*spacing_mm, 1.0]).astype(float)
    affine[:3, 3] = corner_mm
    return Volume(np.asarray(array), affine)


def rigid(shift_mm, rotation_deg=(0, 0, 0)):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", rotation_deg, degrees=True).as_matrix()
    matrix[:3, 3] = shift_mm
    return matrix


@pytest.fixture
def noise():
    return volume_of(np.random.default_rng(0).normal(size=(9, 10, 11)).astype(np.float32), (1, 1.5, 3), (-40, 7, 100))


def test_the_common_grid_at_the_references_own_spacing_is_the_reference(noise):
    assert same_grid(common_grid(noise, spacing_mm=(None, None, None)), noise)
    assert same_grid(common_grid(noise, spacing_mm=noise.spacing_mm), noise)


def test_the_common_grid_covers_the_field_of_view_from_within_along_tilted_axes(noise):
    tilted = Volume(noise.array, rigid((5, 6, 7), (10, 20, 30)) @ noise.affine)
    grid = common_grid(tilted, spacing_mm=(2.0, 2.0, None))
    assert grid.spacing_mm == pytest.approx((2.0, 2.0, 3.0))
    assert (np.array(grid.shape) * grid.spacing_mm >= np.array(tilted.shape) * tilted.spacing_mm - 1e-6).all()
    assert center_mm(grid) == pytest.approx(center_mm(tilted))
    assert resample(tilted, grid)[1].all()


def test_a_grid_of_zero_spacing_is_refused(noise):
    with pytest.raises(ValueError, match="spacing_mm"):
        common_grid(noise, spacing_mm=(0.0, 1.0, 1.0))


@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
def test_resampling_onto_the_own_grid_changes_nothing(noise, interpolation):
    values, inside = resample(noise, noise, interpolation=interpolation)
    np.testing.assert_array_equal(values, noise.array)
    assert inside.all()


def test_an_unknown_interpolation_is_refused(noise):
    with pytest.raises(ValueError, match="interpolation"):
        resample(noise, noise, interpolation="cubic")


def test_a_matrix_maps_points_of_the_grid_to_points_of_the_volume():
    slope = np.array([2.0, -3.0, 5.0])
    x, y, z = np.indices((20, 20, 20))
    ramp = volume_of((slope[0] * x + slope[1] * y + slope[2] * z).astype(np.float32))
    grid = volume_of(np.zeros((4, 5, 6)), (1.2, 1.1, 1.3), (6, 7, 6))
    matrix = rigid((0.4, -0.7, 1.9), (5, -8, 3))
    values, inside = resample(ramp, grid, transform=Transform((matrix,)))
    i, j, k = np.indices(grid.shape).reshape(3, -1)
    points = matrix @ grid.affine @ np.stack([i, j, k, np.ones(i.size)])
    assert inside.all()
    np.testing.assert_allclose(values.ravel(), slope @ points[:3], atol=1e-3)


def test_outside_the_field_of_view_is_exactly_zero_and_absent():
    ones = volume_of(np.full((4, 4, 4), 7, np.float32))
    grid = volume_of(np.zeros((12, 4, 4)), (0.5, 1, 1), (-2, 0, 0))
    values, inside = resample(ones, grid)
    x_mm = -2 + 0.5 * np.arange(12)
    np.testing.assert_array_equal(inside[:, 0, 0], (x_mm >= -0.5) & (x_mm <= 3.5))
    np.testing.assert_array_equal(values, np.where(inside, 7, 0))


def test_fields_of_view_that_do_not_meet_give_nothing(noise):
    values, inside = resample(noise, noise, transform=Transform((rigid((500, 0, 0)),)))
    assert not inside.any()
    assert not values.any()


def test_strong_downsampling_averages_instead_of_picking():
    fine = volume_of(np.random.default_rng(3).normal(size=(48, 48, 48)).astype(np.float32))
    grid = common_grid(fine, spacing_mm=(4.0, 4.0, 4.0))
    assert resample(fine, grid)[0].std() < 0.15
    assert resample(fine, grid, interpolation="nearest")[0].std() == pytest.approx(1, abs=0.1)


def test_labels_keep_their_volume_on_a_coarser_grid():
    x, y, z = np.indices((60, 60, 40))
    ball = ((x - 30) ** 2 + (y - 29) ** 2 + (z - 20) ** 2 * 4 < 15**2).astype(np.uint8)
    fine = volume_of(ball, (1, 1, 2))
    grid = common_grid(fine, spacing_mm=(2.3, 2.3, None))
    coarse = resample_labels(fine, grid)
    assert coarse.dtype == np.uint8
    assert coarse.sum() * np.prod(grid.spacing_mm) == pytest.approx(ball.sum() * 2, rel=0.02)


def test_a_voxel_shared_by_two_labels_is_labeled_where_together_they_fill_half():
    # seen by a voxel of 10 mm, each label has about a third, and background has a third: the tumor fills two thirds
    labels = volume_of(np.zeros((40, 3, 3), np.uint8))
    labels.array[16:20], labels.array[20:24] = 1, 2

    def seen_at(x_mm):
        return resample_labels(labels, volume_of(np.zeros((1, 1, 1)), (10, 1, 1), (x_mm, 1, 1))).item()

    assert [seen_at(x_mm) for x_mm in (13, 19, 20, 26)] == [0, 1, 2, 0]


def test_no_labels_stay_no_labels(noise):
    empty = noise.with_array(np.zeros(noise.shape, np.uint8))
    assert not resample_labels(empty, common_grid(empty, spacing_mm=(2.0, 2.0, 2.0))).any()


def bent(grid, amount_mm=1.5):
    """A smooth warp over a grid, with a backward field from fixed-point iteration."""
    index = np.indices(grid.shape).reshape(3, -1)
    x, y, z = (grid.affine[:3, :3] @ index + grid.affine[:3, 3:]).reshape(3, *grid.shape)
    forward = amount_mm * np.stack([np.sin(y / 9), np.cos(z / 11), np.sin(x / 10)]).astype(np.float32)
    backward = -forward
    for _ in range(30):
        points = np.stack([x, y, z]).reshape(3, -1)
        shift = Warp(forward, backward, grid.affine).apply(points + backward.reshape(3, -1)) - points
        backward = backward - (shift.reshape(3, *grid.shape))
    return Warp(forward, backward.astype(np.float32), grid.affine)


def test_a_warp_moves_values_as_it_moves_points():
    slope = np.array([2.0, -3.0, 5.0])
    x, y, z = np.indices((30, 30, 30))
    ramp = volume_of((slope[0] * x + slope[1] * y + slope[2] * z).astype(np.float32))
    grid = volume_of(np.zeros((5, 6, 7)), (1.2, 1.1, 1.3), (11, 12, 11))
    chain = Transform((bent(ramp), rigid((0.4, -0.7, 1.9), (5, -8, 3))))
    values, inside = resample(ramp, grid, transform=chain)
    index = np.indices(grid.shape).reshape(3, -1)
    points = chain.apply(grid.affine[:3, :3] @ index + grid.affine[:3, 3:])
    assert inside.all()
    np.testing.assert_allclose(values.ravel(), slope @ points, atol=1e-3)


def test_a_chain_of_matrices_is_one_interpolation(noise):
    first, second = rigid((1, 2, 3), (5, 0, 0)), rigid((-4, 1, 0), (0, 7, 0))
    once, _ = resample(noise, noise, transform=Transform((second @ first,)))
    chained, _ = resample(noise, noise, transform=Transform((first,)).then(Transform((second,))))
    np.testing.assert_allclose(chained, once, atol=1e-5)


def test_labels_follow_a_warp_and_outside_of_it_nothing_moves():
    labels = volume_of(np.zeros((30, 30, 30), np.uint8))
    labels.array[12:18, 12:18, 12:18] = 3
    warp = Warp(*(np.full((3, 30, 30, 30), shift, np.float32) for shift in (2.0, -2.0)), labels.affine)
    moved = resample_labels(labels, labels, transform=Transform((warp,)))
    np.testing.assert_array_equal(np.argwhere(moved == 3).min(axis=0), [10, 10, 10])
    far = np.array([[100.0], [0], [0]])
    np.testing.assert_array_equal(warp.apply(far), far)


def test_points_come_back_through_the_inverse():
    grid = volume_of(np.zeros((30, 30, 30)))
    points = np.random.default_rng(2).uniform(6, 23, (3, 200))
    rigid_only = Transform((rigid((10, -20, 30), (20, 30, 40)),))
    np.testing.assert_allclose(rigid_only.inverse.apply(rigid_only.apply(points)), points, atol=1e-9)
    chain = Transform((bent(grid), rigid((10, -20, 30), (20, 30, 40))))
    assert np.linalg.norm(chain.inverse.apply(chain.apply(points)) - points, axis=0).max() < 0.1
    np.testing.assert_allclose(chain.matrix, rigid_only.matrix)


def test_a_warp_that_turns_space_inside_out_is_seen():
    grid = volume_of(np.zeros((20, 20, 20)), (2, 3, 4))
    assert bent(grid).folded() == 0
    x = np.indices(grid.shape)[0] * 2.0
    forward = np.stack([-1.5 * x, 0 * x, 0 * x])
    assert Warp(forward, -forward, grid.affine).folded() == 1
