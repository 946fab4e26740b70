import gzip

import nibabel as nib
import numpy as np
import pytest

from diffufuse.errors import BadInput
from diffufuse.space.volumes import Volume, read_volume, same_grid, write_volume

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])


@pytest.fixture
def image():
    return Volume(np.random.default_rng(1).normal(size=(6, 5, 4)).astype(np.float32), AFFINE)


def test_what_is_written_is_read_back(image, tmp_path):
    write_volume(image, tmp_path / "a.nii.gz")
    read = read_volume(tmp_path / "a.nii.gz")
    assert np.array_equal(read.array, image.array)
    assert same_grid(read, image)
    assert read.spacing_mm == pytest.approx((2, 2, 3))


def test_qform_equals_sform(image, tmp_path):
    write_volume(image, tmp_path / "a.nii.gz")
    stored = nib.load(tmp_path / "a.nii.gz")
    assert np.allclose(stored.get_qform(), stored.get_sform())


def test_a_flipped_orientation_is_read_as_ras_without_moving_a_voxel(image, tmp_path):
    flipped = AFFINE @ np.array([[-1, 0, 0, 5], [0, -1, 0, 4], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    nib.save(nib.Nifti1Image(image.array[::-1, ::-1], flipped), tmp_path / "lps.nii.gz")
    read = read_volume(tmp_path / "lps.nii.gz")
    assert same_grid(read, image)
    assert np.array_equal(read.array, image.array)


def test_the_same_volume_is_the_same_file(image, tmp_path):
    write_volume(image, tmp_path / "a.nii.gz")
    write_volume(image, tmp_path / "b.nii.gz")
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


@pytest.mark.parametrize("kept", [0.3, 0.7, 0.98])
def test_a_truncated_file_is_refused_by_name(image, tmp_path, kept):
    write_volume(image, tmp_path / "a.nii.gz")
    content = (tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(BadInput, match=r"a\.nii\.gz: expected a whole NIfTI file"):
        read_volume(tmp_path / "a.nii.gz")


def test_a_flipped_byte_is_refused(image, tmp_path):
    write_volume(image, tmp_path / "a.nii.gz")
    content = bytearray((tmp_path / "a.nii.gz").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "a.nii.gz").write_bytes(bytes(content))
    with pytest.raises(BadInput, match="whole NIfTI"):
        read_volume(tmp_path / "a.nii.gz")


def test_a_nan_voxel_is_refused_with_its_place(image, tmp_path):
    broken = image.array.copy()
    broken[3, 2, 1] = np.nan
    nib.save(nib.Nifti1Image(broken, AFFINE), tmp_path / "nan.nii.gz")
    with pytest.raises(BadInput, match=r"1 voxels are NaN or infinite, the first at \(3, 2, 1\)"):
        read_volume(tmp_path / "nan.nii.gz")


def test_a_time_series_is_refused(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((3, 3, 3, 2), np.float32), AFFINE), tmp_path / "4d.nii.gz")
    with pytest.raises(BadInput, match="one 3-D image"):
        read_volume(tmp_path / "4d.nii.gz")


def test_sheared_axes_are_refused(tmp_path):
    sheared = AFFINE.copy()
    sheared[0, 2] = 1.0
    image = nib.Nifti1Image(np.zeros((3, 3, 3), np.float32), sheared)
    (tmp_path / "s.nii.gz").write_bytes(gzip.compress(image.to_bytes()))
    with pytest.raises(BadInput, match="right angles"):
        read_volume(tmp_path / "s.nii.gz")


def test_writing_nan_leaves_no_file(image, tmp_path):
    with pytest.raises(ValueError, match="not finite"):
        write_volume(image.with_array(np.full(image.shape, np.nan, np.float32)), tmp_path / "a.nii.gz")
    assert list(tmp_path.iterdir()) == []


def test_labels_beyond_a_byte_are_refused(image, tmp_path):
    with pytest.raises(ValueError, match=r"0\.\.255"):
        write_volume(image.with_array(np.full(image.shape, 300)), tmp_path / "a.nii.gz")


def test_a_shift_of_a_tenth_of_a_millimeter_is_another_grid(image):
    moved = AFFINE.copy()
    moved[0, 3] += 0.1
    assert not same_grid(image, Volume(image.array, moved))
