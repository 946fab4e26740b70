"""What SimpleITK reads from a NIfTI file of any type, scaling and unit is read, or the file is refused."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from faults.nifti_headers import content_of
from scipy.spatial.transform import Rotation

from diffufuse.errors import BadInput
from diffufuse.space.volumes import Volume, canonical, read_labels, read_volume, same_grid, write_probability

KINDS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64")
SCALINGS = (
    (1, 0),
    (0, 0),
    (0.5, -1024),
    (-2, 1),
    (1 / 127, 0),
    (1 / 65535, 0.25),
    (1, 7),
    (1e-3, 1e-3),
    (0, 3),
    (3e7, 0),
)
UNITS = {0: 1.0, 1: 0.001, 2: 1.0, 3: 1000.0}
TURN = np.array([[-0.8, 0.6, 0], [-0.6, -0.8, 0], [0, 0, 1.0]])
SPACING_MM = (0.8, 1.25, 3.0)


def affine_in(unit: int) -> np.ndarray:
    """The same oblique grid in any unit of length."""
    affine = np.eye(4)
    affine[:3, :3] = TURN * SPACING_MM
    affine[:3, 3] = (31, -57, 12.5)
    affine[:3] *= UNITS[unit]
    return affine


def full_range(kind: str, generator: np.random.Generator) -> np.ndarray:
    """Random values over the whole range of a type; floats over a range that float32 holds after scaling."""
    if np.dtype(kind).kind == "f":
        return (generator.normal(size=(5, 4, 3)) * 10.0 ** generator.integers(-6, 6, (5, 4, 3))).astype(kind)
    limits = np.iinfo(kind)
    return generator.integers(limits.min, limits.max, (5, 4, 3), kind, endpoint=True)


def as_itk_reads(path) -> Volume:
    """The volume as SimpleITK reads it, in RAS."""
    image = sitk.ReadImage(str(path))
    lps = np.eye(4)
    lps[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    lps[:3, 3] = image.GetOrigin()
    return canonical(Volume(sitk.GetArrayFromImage(image).T, np.diag([-1.0, -1, 1, 1]) @ lps))


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(("slope", "inter"), SCALINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_place_are_those_of_simpleitk_or_refused(tmp_path, kind, slope, inter, unit):
    generator = np.random.default_rng([KINDS.index(kind), unit])
    path, array = tmp_path / "a.nii", full_range(kind, generator)
    fields = {"scl_slope": slope, "scl_inter": inter, "xyzt_units": unit}
    path.write_bytes(content_of(array, affine=affine_in(unit), big=bool(generator.integers(2)), fields=fields))
    if slope == 0 and inter:
        with pytest.raises(BadInput, match="in different ways"):
            read_volume(path)
        return
    expected, volume = as_itk_reads(path), read_volume(path)
    assert same_grid(volume, expected)
    largest = np.abs(expected.array.astype(np.float64)).max()
    assert np.allclose(volume.array, expected.array.astype(np.float64), rtol=2e-7, atol=2e-7 * largest)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_exact_whatever_their_type_and_unit(tmp_path, kind, unit):
    numbers = np.random.default_rng(4).integers(0, 4, (5, 4, 3)).astype(kind)
    path = tmp_path / "a.nii"
    path.write_bytes(content_of(numbers, affine=affine_in(unit), xyzt_units=unit))
    labels, expected = read_labels(path), as_itk_reads(path)
    assert same_grid(labels, expected)
    assert np.array_equal(labels.array, expected.array)


@pytest.mark.parametrize("kind", KINDS[:-2])
@pytest.mark.parametrize("step", [2, 3, 7, 100, 127, 255, 1000, 65535])
def test_labels_with_any_slope_are_whole_where_the_stored_ones_are_multiples(tmp_path, kind, step):
    factor = step if step <= np.iinfo(kind).max // 2 else 1
    numbers = np.random.default_rng(step).integers(0, 3, (5, 4, 3))
    path = tmp_path / "a.nii"
    path.write_bytes(content_of((numbers * factor).astype(kind), affine=affine_in(2), scl_slope=1 / factor))
    assert np.array_equal(np.bincount(read_labels(path).array.ravel()), np.bincount(numbers.ravel()))
    off = numbers * factor + (numbers > 0)
    path.write_bytes(content_of(off.astype(kind), affine=affine_in(2), scl_slope=1 / factor))
    if factor > 1:
        with pytest.raises(BadInput, match="whole numbers, got also"):
            read_labels(path)


def test_an_image_is_rounded_once_and_read_as_nibabel_scales_it(tmp_path):
    path = tmp_path / "p.nii.gz"
    write_probability(Volume(np.linspace(0, 1, 65_536).reshape(32, 32, 64), np.diag([2.0, 2, 3, 1])), path)
    assert np.array_equal(read_volume(path).array, np.asanyarray(nib.load(path).dataobj).astype(np.float32))


@pytest.mark.parametrize("turn", [0.02, 0.05, 0.5])
def test_a_grid_turned_by_nearly_half_a_turn_is_read_although_its_qform_is_coarse(tmp_path, turn):
    angle = np.deg2rad(180 - turn)
    affine = np.diag([0.5, 0.5, 1, 1.0])
    affine[:2, :2] = 0.5 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    path = tmp_path / "a.nii.gz"
    image = nib.Nifti1Image(np.zeros((512, 512, 2), np.uint8), affine)
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    nib.save(image, path)
    assert np.allclose(read_volume(path).spacing_mm, (0.5, 0.5, 1))


def test_a_qform_is_the_affine_that_nibabel_has(tmp_path):
    generator = np.random.default_rng(6)
    for turn in Rotation.random(50, random_state=6).as_matrix():
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = turn * generator.uniform(0.5, 4, 3), generator.normal(size=3) * 100
        if generator.integers(2):
            affine[:, 2] *= -1
        (tmp_path / "a.nii").write_bytes(content_of(np.zeros((2, 2, 2), np.uint8), affine=affine, codes=(1, 0)))
        expected = nib.as_closest_canonical(nib.load(tmp_path / "a.nii")).affine
        assert np.allclose(read_volume(tmp_path / "a.nii").affine, expected, rtol=0, atol=1e-12)
