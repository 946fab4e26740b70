import json

import ants
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from diffufuse.registration import (
    assess,
    from_ants_transform,
    register_rigid,
    to_ants_image,
    to_ants_transform,
)
from diffufuse.resampling import center_mm, resample
from diffufuse.similarity import similarity
from diffufuse.volumes import Volume, read_volume

GRID = Volume(np.zeros((44, 40, 26)), np.array([[3.0, 0, 0, -60], [0, 3, 0, 20], [0, 0, 4, -300], [0, 0, 0, 1]]))


def rigid(shift_mm, rotation_deg, about_mm):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", rotation_deg, degrees=True).as_matrix()
    matrix[:3, 3] = about_mm + np.array(shift_mm) - matrix[:3, :3] @ about_mm
    return matrix


def error_mm(found, truth):
    """Mean distance over the reference's voxels between where two matrices put a point."""
    points = GRID.affine @ np.vstack([np.indices(GRID.shape).reshape(3, -1), np.ones(GRID.array.size)])
    return np.linalg.norm(((found - truth) @ points)[:3], axis=0).mean()


@pytest.fixture(scope="module")
def reference():
    """A smooth random tissue in a body, unlike its own mirror images and rotations."""
    tissue = gaussian_filter(np.random.default_rng(4).normal(size=GRID.shape), 3)
    x, y, _ = np.indices(GRID.shape)
    body = ((x - 22) / 17) ** 2 + ((y - 19) / 14) ** 2 < 1
    return GRID.with_array(np.where(body, 500 + 4000 * tissue, 0).astype(np.float32))


def seen_by_another_scanner(reference, truth):
    """The same patient with another contrast and noise, on a grid of their own that `truth` leads to."""
    values = np.where(reference.array > 0, 900 - 0.002 * (reference.array - 500) ** 2, -500)
    noise = np.random.default_rng(5).normal(0, 30, values.shape)
    return Volume((values + noise).astype(np.float32), truth @ reference.affine)


@pytest.mark.parametrize(
    ("shift_mm", "rotation_deg"),
    [((6, -9, 8), (3, -4, 5)), ((25, 10, -20), (10, 0, -8)), ((700, -300, 900), (4, 5, 6))],
)
def test_a_known_displacement_is_recovered(reference, shift_mm, rotation_deg):
    truth = rigid(shift_mm, rotation_deg, center_mm(reference))
    found = register_rigid(seen_by_another_scanner(reference, truth), reference)
    assert error_mm(found.matrix, truth) < 1.0
    assert found.accepted
    assert found.similarity_after > found.similarity_before + 0.2
    assert found.displacement_mm == pytest.approx(error_mm(np.eye(4), truth), abs=1)
    assert found.rotation_deg == pytest.approx(np.rad2deg(Rotation.from_matrix(truth[:3, :3]).magnitude()), abs=1)


def test_the_same_images_give_the_same_matrix_and_leave_the_callers_random_numbers_alone(reference):
    moving = seen_by_another_scanner(reference, rigid((5, 0, -7), (2, 3, 0), center_mm(reference)))
    np.random.seed(7)
    expected = np.random.random()
    np.random.seed(7)
    first = register_rigid(moving, reference)
    assert np.random.random() == expected
    np.testing.assert_array_equal(register_rigid(moving, reference).matrix, first.matrix)


def test_what_cannot_be_improved_keeps_its_place(reference):
    found = register_rigid(reference, reference)
    assert not found.accepted
    np.testing.assert_array_equal(found.matrix, np.eye(4))
    assert found.similarity_after == found.similarity_before
    assert found.displacement_mm == 0


def test_images_without_contrast_or_with_nan_are_refused(reference):
    with pytest.raises(ValueError, match="moving"):
        register_rigid(reference.with_array(np.ones(GRID.shape, np.float32)), reference)
    with pytest.raises(ValueError, match="reference"):
        register_rigid(reference, reference.with_array(np.full(GRID.shape, np.nan, np.float32)))


def test_the_quality_goes_into_json(reference):
    far = rigid((900, 0, 0), (0, 0, 0), center_mm(reference))
    found = assess(seen_by_another_scanner(reference, far), reference, matrix=far)
    quality = json.loads(json.dumps(found.quality(), allow_nan=False))
    assert (quality["similarity_before"], quality["overlap_before"]) == (0, 0)
    assert quality["similarity_after"] > 0.5
    assert quality["overlap"] == 1
    assert quality["displacement_mm"] == pytest.approx(900)


def test_mutual_information_of_an_image_with_itself_is_its_entropy():
    levels = Volume(np.repeat(np.arange(32, dtype=np.float32), 64).reshape(32, 8, 8), np.eye(4))
    assert similarity(levels, levels, matrix=np.eye(4)) == (pytest.approx(5), 1)


def test_mutual_information_of_unrelated_images_is_almost_nothing():
    first, second = (Volume(np.random.default_rng(seed).random((40, 40, 40), np.float32), np.eye(4)) for seed in (1, 2))
    assert similarity(first, second, matrix=np.eye(4))[0] < 0.02


def test_overlap_is_a_share_of_the_smaller_field_of_view():
    large = Volume(np.random.default_rng(1).random((40, 40, 40), np.float32), np.eye(4))
    small = Volume(large.array[:10, :20, :20], np.eye(4))
    assert similarity(large, small, matrix=np.eye(4))[1] == 1
    assert similarity(small, large, matrix=np.eye(4))[1] == 1
    half = np.eye(4)
    half[0, 3] = -5
    assert similarity(large, small, matrix=half)[1] == pytest.approx(0.5)
    assert similarity(small, large, matrix=np.linalg.inv(half))[1] == pytest.approx(0.5)


def test_a_matrix_survives_the_way_to_ants_and_back():
    matrix = rigid((12, -34, 56), (10, 20, -30), np.array([5.0, 6, 7]))
    np.testing.assert_allclose(from_ants_transform(to_ants_transform(matrix)), matrix, atol=1e-9)


def test_a_center_of_rotation_is_part_of_the_matrix():
    parameters = [*Rotation.from_euler("z", 90, degrees=True).as_matrix().ravel(), 0, 0, 0]
    transform = ants.create_ants_transform(
        "AffineTransform", dimension=3, precision="double", parameters=parameters, fixed_parameters=[-10.0, -20.0, 30.0]
    )
    # LPS (-10, -20, 30) is RAS (10, 20, 30), which a rotation about itself leaves in place
    np.testing.assert_allclose(from_ants_transform(transform) @ [10, 20, 30, 1], [10, 20, 30, 1], atol=1e-6)


def test_resampling_equals_that_of_ants(reference):
    truth = rigid((7, -5, 11), (8, -6, 12), center_mm(reference))
    tilted = rigid((0, 0, 0), (5, 10, 15), center_mm(reference))
    moving = Volume(seen_by_another_scanner(reference, truth).array, tilted @ truth @ reference.affine)
    ours, inside = resample(moving, reference, matrix=truth)
    theirs = to_ants_transform(truth).apply_to_image(
        to_ants_image(moving), reference=to_ants_image(reference), interpolation="linear"
    )
    assert 0.6 < inside.mean() < 1
    np.testing.assert_allclose(ours[inside], theirs.numpy()[inside], atol=0.05)


@pytest.mark.real
def test_a_displaced_ct_returns_to_the_t1_of_a_patient(shared_data):
    folder = shared_data / "sts_ibsi" / "nifti" / "STS_048"
    t1, ct = (read_volume(folder / f"{name}_image.nii.gz") for name in ("MR_T1", "CT"))
    ct = ct.with_array(np.clip(ct.array, -250, 350))
    truth = rigid((30, -20, 15), (6, -5, 7), center_mm(t1))
    found = register_rigid(Volume(ct.array, truth @ ct.affine), t1)
    points = t1.affine @ np.vstack([np.indices(t1.shape).reshape(3, -1), np.ones(t1.array.size)])
    assert np.linalg.norm(((found.matrix - truth) @ points)[:3], axis=0).mean() < 3  # of the publisher's alignment
