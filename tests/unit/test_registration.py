import json
import os
import subprocess
import sys
from dataclasses import replace

import ants
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from diffufuse.phantom.anatomy import draw_anatomy
from diffufuse.phantom.grids import centered_grid, random_displacement
from diffufuse.phantom.hospital import T1
from diffufuse.phantom.scanners import ct_hu, mr_signal
from diffufuse.phantom.traits import draw_traits
from diffufuse.prepare.bias import correct_bias
from diffufuse.prepare.body import foreground
from diffufuse.prepare.registration import LIMITS, assess, first_violation, read_transform, register, write_transforms
from diffufuse.prepare.registration.ants_bridge import from_ants_transform, to_ants_image, to_ants_transform
from diffufuse.prepare.similarity import similarity
from diffufuse.space.resampling import center_mm, resample
from diffufuse.space.transforms import Transform, Warp
from diffufuse.space.volumes import Volume, read_volume, write_volume

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
    found = register(seen_by_another_scanner(reference, truth), reference)
    assert error_mm(found.transform.matrix, truth) < 1.0
    assert found.accepted
    assert found.similarity_after > found.similarity_before + 0.2
    assert found.displacement_mm == pytest.approx(error_mm(np.eye(4), truth), abs=1)
    assert found.rotation_deg == pytest.approx(np.rad2deg(Rotation.from_matrix(truth[:3, :3]).magnitude()), abs=1)


def test_a_limb_is_found_far_off_in_a_whole_body_whose_header_knows_nothing_of_it():
    shape, affine = (48, 40, 90), np.diag([5.0, 5, 5, 1])
    tissue = gaussian_filter(np.random.default_rng(3).normal(size=shape), 2)
    x, y, z = np.indices(shape)
    inside = ((x - 24) / (12 + z / 10)) ** 2 + ((y - 20) / 14) ** 2 < 1
    whole = Volume(np.where(inside, 500 + 4000 * tissue, 0).astype(np.float32), affine)
    part = (slice(8, 36), slice(4, 36), slice(60, 86))
    limb = Volume(700 - whole.array[part], np.diag([5.0, 5, 5, 1]))
    truth = np.eye(4)
    truth[:3, 3] = affine[:3, :3] @ [8, 4, 60]
    found = register(whole, limb)
    index = np.argwhere(limb.array < 650)
    points = np.c_[index * 5.0, np.ones(len(index))]
    assert np.linalg.norm(points @ (found.transform.matrix - truth).T, axis=1).mean() < 1
    assert found.start in {"turned", *(f"far {number}" for number in range(1, 7))}


def test_registration_leaves_the_callers_random_numbers_alone(swollen):
    np.random.seed(7)
    expected = np.random.random()
    np.random.seed(7)
    first = register(*swollen[:2])
    assert np.random.random() == expected
    np.testing.assert_array_equal(register(*swollen[:2]).transform.matrix, first.transform.matrix)


FRESH = """
import hashlib, sys
import numpy as np
from diffufuse.prepare.registration import register
from diffufuse.prepare.registration.ants_bridge import FINE, linear_with_ants
from diffufuse.space.resampling import resample
from diffufuse.space.volumes import read_volume
moving, reference = (read_volume(path) for path in sys.argv[1:])
print(linear_with_ants(moving, reference, start=np.eye(4), kind="Rigid", schedule=FINE).tobytes().hex())
for kind in ("rigid", "syn"):
    found = register(moving, reference, kind=kind)
    voxels, _ = resample(moving, reference, transform=found.transform)
    print(len(found.transform.warps), hashlib.sha256(voxels).hexdigest())
"""


def test_fresh_processes_give_the_same_voxels_rigid_and_deformed(swollen, tmp_path):
    files = [tmp_path / "moving.nii.gz", tmp_path / "reference.nii.gz"]
    for path, volume in zip(files, swollen[:2], strict=True):
        write_volume(volume, path)
    threads = {"OMP_NUM_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}
    command = [sys.executable, "-c", FRESH, *map(str, files)]
    runs = [subprocess.Popen(command, env=os.environ | threads, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    first, second = (run.communicate(timeout=300)[0].splitlines() for run in runs)
    assert [line[0] for line in first[1:]] == ["0", "1"]
    assert first == second


@pytest.fixture(scope="module")
def swollen(reference):
    """The patient with another contrast and a swelling, small enough to be quick, and where each point went."""
    small = Volume(reference.array[::2, ::2, ::2], np.diag([6.0, 6, 8, 1]))
    index = np.indices(small.shape).reshape(3, -1)
    points = small.affine[:3, :3] @ index + small.affine[:3, 3:]
    away = points - points.mean(axis=1, keepdims=True)
    shift = 0.35 * away * np.exp(-((np.linalg.norm(away, axis=0) / 30) ** 2) / 2)
    warp = Warp(*(sign * shift.reshape(3, *small.shape) for sign in (1, -1)), small.affine)
    values = np.where(small.array > 0, 900 - 0.002 * (small.array - 500) ** 2, -500)
    return small.with_array(resample(small.with_array(values), small, transform=Transform((warp,)))[0]), small, points


@pytest.mark.parametrize("kind", ["affine", "syn"])
def test_more_freedom_explains_more_and_leads_back(swollen, kind):
    moving, reference, points = swollen
    rigid_only, found = register(moving, reference), register(moving, reference, kind=kind)
    assert found.similarity_after > rigid_only.similarity_after * (1.05 if kind == "syn" else 1)
    assert found.folded == 0
    back = found.transform.inverse.apply(found.transform.apply(points))
    assert np.linalg.norm(back - points, axis=0).mean() < (0.1 if kind == "syn" else 1e-9)


def test_a_deformation_that_explains_no_more_is_not_kept(reference):
    truth = rigid((6, -9, 8), (3, -4, 5), center_mm(reference))
    found = register(seen_by_another_scanner(reference, truth), reference, kind="syn")
    assert not found.transform.warps
    assert error_mm(found.transform.matrix, truth) < 1.0


@pytest.fixture(scope="module")
def phantom():
    """A phantom's CT and T1, and the true matrix from the MR to the PET/CT."""
    traits, generator = draw_traits(3, study_seed=1), np.random.default_rng(1)
    anatomy = draw_anatomy(traits, generator)
    truth = random_displacement(generator, shift_mm=(5, 6), angle_deg=(3, 4))
    ct = centered_grid((72, 72, 44), (3.0, 3.0, 3.3))
    t1 = centered_grid((60, 58, 34), (3.0, 3.0, 4.0), center_mm=(3.0, -2.0, 1.0))
    hu = np.clip(ct_hu(anatomy, ct, generator), -250, 350)
    signal = Volume(mr_signal(anatomy, t1, T1, generator, to_petct=truth), t1.affine)
    return Volume(hu, ct.affine), correct_bias(signal, foreground(signal)), truth


def test_a_phantom_is_registered_to_a_millimeter_and_a_deformation_makes_it_no_worse(phantom):
    ct, t1, truth = phantom
    index = np.argwhere(foreground(t1))
    points = t1.affine[:3, :3] @ index.T + t1.affine[:3, 3:]
    true = truth[:3, :3] @ points + truth[:3, 3:]
    errors = {}
    for kind in ("rigid", "syn"):
        found = register(ct, t1, kind=kind)
        errors[kind] = np.linalg.norm(found.transform.apply(points) - true, axis=0).mean()
        assert first_violation(found, gate={}) is None
    assert errors["rigid"] <= 1
    assert errors["syn"] <= errors["rigid"]


def test_an_unknown_kind_and_an_unknown_measure_are_refused(reference):
    with pytest.raises(ValueError, match="kind: expected one of rigid, affine, syn, got 'elastic'"):
        register(reference, reference, kind="elastic")
    with pytest.raises(ValueError, match=r"expected measures among .*, got beauty"):
        first_violation(assess(reference, reference, transform=Transform()), gate={"beauty": 1})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"similarity_after": 0.01}, "mutual information of at least"),
        ({"edges_after": 0.01}, "agreement of edges of at least"),
        ({"overlap": 0.2}, "shared field of view of at least"),
        ({"body_overlap": 0.2}, "overlap of the bodies of at least"),
        ({"displacement_mm": 300.0}, "displacement from the header's position of at most"),
        ({"rotation_deg": 170.0}, "rotation from the header's position of at most"),
        ({"disagreement_mm": 40.0}, "edges alone would put it of at most"),
        ({"folded": 0.1}, "turned inside out of at most"),
        ({"similarity_after": np.nan}, "mutual information of at least"),
    ],
)
def test_each_measure_has_a_limit(reference, change, words):
    sound = assess(reference, reference, transform=Transform())
    assert first_violation(sound, gate={}) is None
    bad = replace(sound, **change)
    assert words in first_violation(bad, gate={})
    assert first_violation(bad, gate=dict.fromkeys(LIMITS)) is None


def test_a_displacement_is_judged_only_where_the_headers_share_a_frame(reference):
    sound = assess(reference, reference, transform=Transform())
    assert first_violation(replace(sound, displacement_mm=500.0, overlap_before=0.1), gate={}) is None


def test_edges_alone_lead_back_from_a_wrong_place(reference):
    inverted = reference.with_array(700 - reference.array)
    away = Transform((rigid((12, 9, -10), (0, 0, 0), center_mm(reference)),))
    assert assess(inverted, reference, transform=Transform()).disagreement_mm < 1
    assert assess(inverted, reference, transform=away).disagreement_mm > 12


@pytest.mark.parametrize("kind", ["rigid", "syn"])
def test_saved_transforms_do_in_ants_what_they_do_here(swollen, tmp_path, kind):
    moving, reference, points = swollen
    transform = register(moving, reference, kind=kind).transform
    write_transforms({"ct": transform}, tmp_path / "transforms", case="LEG-1")
    stem = str(tmp_path / "transforms" / "LEG-1_ct")
    forward = [f"{stem}_warp.nii.gz", f"{stem}.mat"] if kind == "syn" else [f"{stem}.mat"]
    images = [to_ants_image(volume) for volume in (reference, moving)]
    theirs = ants.apply_transforms(*images, forward, interpolator="linear").numpy()
    ours, inside = resample(moving, reference, transform=transform)
    inner = inside & (np.indices(reference.shape).min(axis=0) > 2)
    assert np.abs(ours - theirs)[inner].mean() < 0.02 * moving.array.std()
    again = read_transform(tmp_path / "transforms", case="LEG-1", modality="ct")
    np.testing.assert_allclose(again.apply(points), transform.apply(points), atol=1e-4)
    np.testing.assert_allclose(again.inverse.apply(points), transform.inverse.apply(points), atol=1e-4)


def test_what_cannot_be_improved_keeps_its_place(reference):
    found = register(reference, reference)
    assert not found.accepted
    np.testing.assert_array_equal(found.transform.matrix, np.eye(4))
    assert found.similarity_after == found.similarity_before
    assert found.displacement_mm == 0


def test_images_without_contrast_or_with_nan_are_refused(reference):
    with pytest.raises(ValueError, match="moving"):
        register(reference.with_array(np.ones(GRID.shape, np.float32)), reference)
    with pytest.raises(ValueError, match="reference"):
        register(reference, reference.with_array(np.full(GRID.shape, np.nan, np.float32)))


def test_the_quality_goes_into_json(reference):
    far = rigid((900, 0, 0), (0, 0, 0), center_mm(reference))
    found = assess(seen_by_another_scanner(reference, far), reference, transform=Transform((far,)))
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
    ours, inside = resample(moving, reference, transform=Transform((truth,)))
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
    found = register(Volume(ct.array, truth @ ct.affine), t1)
    points = t1.affine @ np.vstack([np.indices(t1.shape).reshape(3, -1), np.ones(t1.array.size)])
    assert (
        np.linalg.norm(((found.transform.matrix - truth) @ points)[:3], axis=0).mean() < 3
    )  # of the publisher's alignment
