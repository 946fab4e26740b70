"""Series are found, told of without naming anyone, and read once."""

import pickle
import subprocess
import sys

import numpy as np
import pydicom
import pytest
from faults.geometry import SLICES, in_every_slice, save, slice_of, stored_values, true_values, write_stack

from diffufuse.dicom import decoding
from diffufuse.dicom.series import Series, find_series, headers_of, ras_from_lps, read_series, sidecar_of
from diffufuse.errors import BadInput
from diffufuse.space.volumes import read_volume, same_grid


def read_only_series(folder):
    (series,) = find_series(folder)
    return read_series(series)


def test_every_value_lies_at_its_position_in_the_patient(tmp_path):
    write_stack(tmp_path)
    volume = read_only_series(tmp_path)
    assert volume.array.dtype == np.float32
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


def test_a_refused_file_is_not_quoted(tmp_path):
    (tmp_path / "a.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"Planted^Name" * 9)
    with pytest.raises(BadInput) as refusal:
        find_series(tmp_path)
    assert "Planted" not in str(refusal.value)


def test_a_malformed_tag_is_neither_quoted_nor_warned_of(tmp_path, recwarn):
    write_stack(tmp_path)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes().replace(b"1.2.4", b"plan4").replace(b"-100.0", b"plan^x"))
    (series,) = find_series(tmp_path)
    with pytest.raises(BadInput, match="RescaleIntercept, which is missing or malformed") as refusal:
        read_series(series)
    told = [str(refusal.value), *(str(warning.message) for warning in recwarn)]
    assert not [text for text in told if "plan" in text.replace(str(tmp_path), "")]


def test_no_file_is_parsed_twice(tmp_path, monkeypatch):
    write_stack(tmp_path)
    parsed, parse = [], pydicom.dcmread
    monkeypatch.setattr(decoding.pydicom, "dcmread", lambda *args, **more: parsed.append(1) or parse(*args, **more))
    (series,) = find_series(tmp_path)
    assert (read_series(series).array == true_values()).all()
    sidecar_of(series)
    headers_of(series)
    assert len(parsed) == SLICES


def test_a_series_made_by_hand_is_read_like_one_that_was_found(tmp_path):
    write_stack(tmp_path)
    (found,) = find_series(tmp_path)
    by_hand = Series("1.2.3", "CT", "", "1.2.4", found.files)
    assert (read_series(by_hand).array == true_values()).all()
    assert [header.InstanceNumber for header in headers_of(by_hand)] == [h.InstanceNumber for h in headers_of(found)]


def test_a_file_that_changed_after_it_was_found_is_refused(tmp_path):
    write_stack(tmp_path)
    (series,) = find_series(tmp_path)
    save(slice_of(2, StudyDescription="longer than before"), tmp_path / "3.dcm")
    with pytest.raises(BadInput, match=r"3\.dcm.*pixels: there are none"):
        read_series(series)


@pytest.mark.parametrize("lost", [1, 288, 576, 576 + 6])
def test_truncated_pixels_are_refused_with_file_and_byte_count(tmp_path, lost):
    write_stack(tmp_path)
    victim = tmp_path / "3.dcm"
    content = victim.read_bytes()
    victim.write_bytes(content[:-lost])
    (series,) = find_series(tmp_path)
    with pytest.raises(BadInput, match=rf"3\.dcm.*its {len(content) - lost} bytes"):
        read_series(series)


def test_mr_without_slope_is_read_as_stored(tmp_path):
    write_stack(tmp_path, in_every_slice(Modality="MR", RescaleSlope=None, RescaleIntercept=None))
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


def test_a_series_shown_in_a_log_does_not_show_its_description(tmp_path):
    write_stack(tmp_path)
    (series,) = find_series(tmp_path)
    assert "Planted" not in repr(series)
    assert pickle.loads(pickle.dumps(series)) == series


def test_no_warning_of_a_library_shows_a_value_of_a_header(tmp_path):
    for k in range(SLICES):
        save(slice_of(k, SpecificCharacterSet="PLANTED"), tmp_path / f"{k}.dcm")
    code = f"from diffufuse.dicom.series import find_series, read_stack; read_stack(*find_series({str(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == done.stdout == ""


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
