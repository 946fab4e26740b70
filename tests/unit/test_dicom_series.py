"""Series of known geometry come out right; broken ones are refused with the file and the reason."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from diffufuse.dicom.series import find_series, ras_from_lps, read_series, sidecar_of
from diffufuse.errors import BadInput
from diffufuse.volumes import read_volume, same_grid

SLICES, ROWS, COLUMNS = 6, 4, 5
AXIAL = (1, 0, 0, 0, 1, 0)


def slice_of(k: int, **changes) -> Dataset:
    """Slice k of a small axial CT: 3 mm apart, 2 mm between rows, 1.5 mm between columns."""
    header = Dataset()
    header.SOPClassUID, header.SOPInstanceUID = CTImageStorage, generate_uid()
    header.SeriesInstanceUID, header.FrameOfReferenceUID, header.Modality = "1.2.3", "1.2.4", "CT"
    header.Manufacturer, header.PatientName, header.StudyDate = "Maker", "Planted^Name", "20010203"
    header.SeriesDescription, header.SliceThickness = "Planted^Name", "9"
    header.InstanceNumber = SLICES - k
    header.ImagePositionPatient = [-10.0, -20.0, 30.0 + 3.0 * k]
    header.ImageOrientationPatient, header.PixelSpacing = list(AXIAL), [2.0, 1.5]
    header.Rows, header.Columns, header.SamplesPerPixel = ROWS, COLUMNS, 1
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.RescaleSlope, header.RescaleIntercept = 1.0 + k, -100.0
    header.PixelData = stored_values(k).tobytes()
    for keyword, value in changes.items():
        if value is None:
            delattr(header, keyword)
        else:
            setattr(header, keyword, value)
    return header


def stored_values(k: int) -> np.ndarray:
    return (np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) + 100 * k).astype(np.int16)


def save(header: Dataset, path: Path) -> Path:
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.save_as(path, enforce_file_format=True)
    return path


def write_stack(folder: Path, changes: dict[int, dict] | None = None, leave_out: tuple[int, ...] = ()) -> None:
    for k in set(range(SLICES)) - set(leave_out):
        save(slice_of(k, **(changes or {}).get(k, {})), folder / f"{(k * 5) % 7}.dcm")


def read_only_series(folder: Path):
    (series,) = find_series(folder)
    return read_series(series)


def test_every_value_lies_at_its_position_in_the_patient(tmp_path):
    write_stack(tmp_path)
    volume = read_only_series(tmp_path)
    assert volume.array.dtype == np.float32
    assert volume.shape == (COLUMNS, ROWS, SLICES)
    assert volume.spacing_mm == pytest.approx((1.5, 2.0, 3.0))
    assert (np.diag(volume.affine) > 0).all()
    for row, column, k in [(0, 0, 0), (3, 1, 5), (2, 4, 1)]:
        lps = np.array([-10 + 1.5 * column, -20 + 2 * row, 30 + 3 * k])
        index = np.linalg.inv(volume.affine) @ [-lps[0], -lps[1], lps[2], 1]
        expected = stored_values(k)[row, column] * (1.0 + k) - 100
        assert volume.array[tuple(np.round(index[:3]).astype(int))] == expected


@pytest.mark.parametrize(
    "orientation", [(0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1), (0.8, 0.6, 0, -0.6, 0.8, 0), (-1, 0, 0, 0, -1, 0)]
)
def test_any_orientation_keeps_values_at_their_positions(tmp_path, orientation):
    row, column = np.array(orientation[:3], float), np.array(orientation[3:], float)
    normal = np.cross(row, column)
    changes = {
        k: {"ImageOrientationPatient": list(orientation), "ImagePositionPatient": list(5 + 3.0 * k * normal)}
        for k in range(SLICES)
    }
    write_stack(tmp_path, changes)
    volume = read_only_series(tmp_path)
    lps = 5 + 3.0 * 4 * normal + 1.5 * 3 * row + 2.0 * 1 * column
    index = np.linalg.inv(volume.affine) @ [*ras_from_lps(lps), 1]
    assert volume.array[tuple(np.round(index[:3]).astype(int))] == stored_values(4)[1, 3] * 5 - 100


def test_series_are_found_in_subfolders_and_other_files_passed_over(tmp_path):
    (tmp_path / "ct").mkdir()
    write_stack(tmp_path / "ct")
    save(slice_of(0, SeriesInstanceUID="1.2.9", Modality="MR"), tmp_path / "IM_0001")
    for name in ("LICENSE", "index.tsv", "note.json", ".hidden"):
        (tmp_path / name).write_text("no DICOM")
    found = find_series(tmp_path)
    assert [(series.modality, series.uid, len(series.files)) for series in found] == [
        ("CT", "1.2.3", 6),
        ("MR", "1.2.9", 1),
    ]
    assert found[0].frame_of_reference == "1.2.4"


def test_folder_without_dicom_is_refused(tmp_path):
    with pytest.raises(BadInput, match="found none"):
        find_series(tmp_path)


@pytest.mark.parametrize("name", ["broken.dcm", "IM_0007", "1.2.840.1"])
@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\0" * 128 + b"DICM"])
def test_unparsable_file_is_named_with_its_byte_count(tmp_path, name, content):
    write_stack(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=rf"{name}.*its {len(content)} bytes"):
        find_series(tmp_path)


@pytest.mark.parametrize("lost", [1, ROWS * COLUMNS, 2 * ROWS * COLUMNS, 2 * ROWS * COLUMNS + 6])
def test_truncated_pixels_are_refused_with_file_and_byte_count(tmp_path, lost):
    write_stack(tmp_path)
    victim = tmp_path / "3.dcm"
    content = victim.read_bytes()
    victim.write_bytes(content[:-lost])
    (series,) = find_series(tmp_path)
    with pytest.raises(BadInput, match=rf"3\.dcm.*its {len(content) - lost} bytes"):
        read_series(series)


@pytest.mark.parametrize("missing", [1, 3, 4])
def test_missing_slice_is_named_by_gap_and_neighbors(tmp_path, missing):
    write_stack(tmp_path, leave_out=(missing,))
    before, after = 30 + 3 * (missing - 1), 30 + 3 * (missing + 1)
    with pytest.raises(BadInput, match=rf"6\.00 mm lie between .* at {before}\.00 mm and .* at {after}\.00 mm"):
        read_only_series(tmp_path)


FAULTS = {
    "are the same": {2: {"ImagePositionPatient": [-10.0, -20.0, 33.0]}},
    "one orientation": {2: {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}},
    "one pixel spacing": {5: {"PixelSpacing": [2.0, 2.0]}},
    "one number of rows": {1: {"Rows": 5, "Columns": 4}},
    "one frame of reference": {1: {"FrameOfReferenceUID": "1.2.5"}},
    "every 3.00 mm": {5: {"ImagePositionPatient": [-10.0, -20.0, 45.5]}},
    "evenly on one line": {2: {"ImagePositionPatient": [-8.0, -20.0, 36.0]}},
    r"lean by 18\.43 degrees": {k: {"ImagePositionPatient": [-10.0, -20.0 + k, 30.0 + 3 * k]} for k in range(SLICES)},
    "multi-frame": {4: {"NumberOfFrames": 2, "PixelData": bytes(4 * ROWS * COLUMNS)}},
    "ImagePositionPatient, which is missing": {0: {"ImagePositionPatient": None}},
    "RescaleSlope, which is missing": {3: {"RescaleSlope": None}},
    "at right angles": {k: {"ImageOrientationPatient": [1, 0, 0, 0.1, 1, 0]} for k in range(SLICES)},
    "positive spacing": {k: {"PixelSpacing": [0, 1.5]} for k in range(SLICES)},
    "pixels": {4: {"PixelData": None}},
}


@pytest.mark.parametrize("reason", FAULTS)
def test_irregular_stack_is_refused(tmp_path, reason):
    write_stack(tmp_path, FAULTS[reason])
    with pytest.raises(BadInput, match=reason):
        read_only_series(tmp_path)


def test_single_slice_is_refused(tmp_path):
    save(slice_of(0), tmp_path / "0.dcm")
    with pytest.raises(BadInput, match="has one"):
        read_only_series(tmp_path)


def test_mr_without_slope_is_read_as_stored(tmp_path):
    none = {"Modality": "MR", "RescaleSlope": None, "RescaleIntercept": None}
    write_stack(tmp_path, {k: none for k in range(SLICES)})
    assert read_only_series(tmp_path).array.max() == stored_values(SLICES - 1).max()


def test_sidecar_holds_no_name_date_or_uid(tmp_path):
    write_stack(tmp_path)
    (series,) = find_series(tmp_path)
    assert sidecar_of(series) == {
        "modality": "CT",
        "manufacturer": "Maker",
        "slice_thickness_mm": 9.0,
        "row_spacing_mm": 2.0,
        "column_spacing_mm": 1.5,
    }


def test_lps_and_ras_turn_into_each_other():
    points = np.array([[1.0, 2.0, 3.0], [-4.0, 5.0, -6.0]])
    assert (ras_from_lps(points) == [[-1, -2, 3], [4, -5, -6]]).all()
    assert (ras_from_lps(ras_from_lps(points)) == points).all()


@pytest.mark.real
@pytest.mark.parametrize("modality", ["CT", "MR_T1"])
def test_real_images_equal_the_published_ones(shared_data, modality):
    (series,) = find_series(shared_data / "sts_ibsi/dicom/STS_002" / modality / "image")
    volume = read_series(series)
    published = read_volume(shared_data / "sts_ibsi/nifti/STS_002" / f"{modality}_image.nii.gz")
    assert same_grid(volume, published)
    assert (volume.array == published.array).all()
