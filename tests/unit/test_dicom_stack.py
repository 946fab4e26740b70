"""The nine verdicts, what is set aside, filled or padded, and other people's multi-frame files."""

import warnings
from pathlib import Path

import highdicom
import numpy as np
import pytest
from faults.geometry import (
    CUT,
    SCOUT,
    SLICES,
    enhanced,
    in_every_slice,
    positioned,
    read,
    save,
    slice_of,
    stored_values,
    true_values,
    write_stack,
)
from pydicom import dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    JPEG2000,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    generate_uid,
)

from diffufuse.dicom.decoding import DicomFile, is_lossy
from diffufuse.dicom.geometry import CHECKS, REGULAR
from diffufuse.dicom.series import check_geometry, find_series, read_stack
from diffufuse.errors import BadInput
from diffufuse.space.volumes import same_grid

# The columns of the volume_geometry_index that the Imaging Data Commons publishes.
IDC_NAMES = {
    "single_orientation",
    "orthogonal_orientation",
    "unique_slice_positions",
    "consistent_in_plane_row",
    "consistent_in_plane_col",
    "consistent_pixel_spacing",
    "consistent_image_dimensions",
    "uniform_slice_spacing",
    "regularly_spaced_3d_volume",
}
FAILING = {
    "single_orientation": {2: {"ImageOrientationPatient": [0.9998, 0.02, 0, -0.02, 0.9998, 0]}},
    "orthogonal_orientation": in_every_slice(ImageOrientationPatient=[1, 0, 0, 0.1, 1, 0]),
    "consistent_pixel_spacing": {2: {"PixelSpacing": [2.0, 2.0]}},
    "consistent_image_dimensions": {2: {"Rows": 18, "Columns": 16}},
    "consistent_in_plane_row": {2: {"ImagePositionPatient": [-8.0, -20.0, 36.0]}},
    "consistent_in_plane_col": {2: {"ImagePositionPatient": [-10.0, -19.0, 36.0]}},
    "uniform_slice_spacing": {2: {"ImagePositionPatient": [-10.0, -20.0, 36.5]}},
}


def report_of(folder):
    (series,) = find_series(folder)
    return check_geometry(series)


def test_the_nine_checks_bear_the_names_of_idc():
    assert {*CHECKS, REGULAR} == IDC_NAMES


def test_a_regular_stack_passes_all_nine(tmp_path):
    write_stack(tmp_path)
    report = report_of(tmp_path)
    assert report.verdicts == dict.fromkeys(report.verdicts, True)
    assert set(report.verdicts) == IDC_NAMES
    assert (report.obliquity_degrees, report.slice_spacing_mm, report.reasons) == (0.0, 3.0, ())


@pytest.mark.parametrize("name", FAILING)
def test_each_fault_fails_its_own_check_alone(tmp_path, name):
    write_stack(tmp_path, FAILING[name])
    verdicts = report_of(tmp_path).verdicts
    assert {check for check, holds in verdicts.items() if not holds} == {name, REGULAR}


def test_a_repeated_position_fails_two_checks(tmp_path):
    write_stack(tmp_path, {2: {"ImagePositionPatient": [-10.0, -20.0, 33.0]}})
    report = report_of(tmp_path)
    assert {name for name, holds in report.verdicts.items() if not holds} == {
        "unique_slice_positions",
        "uniform_slice_spacing",
        REGULAR,
    }
    assert len(report.reasons) == 2


def test_one_position_for_all_slices_is_a_repetition(tmp_path):
    write_stack(tmp_path, positioned(lambda k: (-10, -20, 30)))
    report = report_of(tmp_path)
    assert not report.verdicts["unique_slice_positions"]
    assert np.isnan(report.slice_spacing_mm)
    with pytest.raises(BadInput, match="5 of 6 slices repeat a position"):
        read(tmp_path)


def test_obliquity_is_the_angle_to_the_nearest_axis(tmp_path):
    turn = np.radians(20)
    row, column = [1, 0, 0], [0, np.cos(turn), np.sin(turn)]
    normal = np.cross(row, column)
    write_stack(tmp_path, positioned(lambda k: 3.0 * k * normal, ImageOrientationPatient=[*row, *column]))
    report = report_of(tmp_path)
    assert report.obliquity_degrees == 20.0
    assert report.verdicts[REGULAR]


@pytest.mark.parametrize("tilt_degrees", [2.0, 15.0, 30.0])
def test_the_tilt_of_a_gantry_is_measured(tmp_path, tilt_degrees):
    lean = 3.0 * np.tan(np.radians(tilt_degrees))
    write_stack(tmp_path, positioned(lambda k: (-10, -20 + lean * k, 30 + 3 * k)))
    with pytest.raises(BadInput, match=rf"lean by {tilt_degrees:.2f} degrees along their columns \(gantry tilt\)"):
        read(tmp_path)


def test_beds_joined_slightly_off_are_read_and_gaps_that_add_up_are_not(tmp_path):
    for name, off in (("joined", (0, 0, 0, 0.07, 0.07, 0.07)), ("drifting", (0, 0.13, 0.26, 0.26, 0.13, 0))):
        folder = tmp_path / name
        folder.mkdir()
        write_stack(folder, {k: {"ImagePositionPatient": [-10, -20, 30 + 3 * k + off[k]]} for k in range(SLICES)})
    assert read(tmp_path / "joined").volume.spacing_mm[2] == pytest.approx(3.014)
    with pytest.raises(BadInput, match="off its place"):
        read(tmp_path / "drifting")


def test_facts_of_an_ordinary_stack_are_its_spacing_and_obliquity(tmp_path):
    write_stack(tmp_path)
    assert read(tmp_path).facts == {"slice_spacing_mm": 3.0, "obliquity_degrees": 0.0}


def test_localizers_are_told_of_in_the_log(tmp_path, caplog):
    write_stack(tmp_path)
    save(slice_of(0, **SCOUT), tmp_path / "other.dcm")
    read(tmp_path)
    assert "1 localizers left out beside 6 slices" in caplog.text


@pytest.mark.parametrize(
    "others",
    [
        [slice_of(k, **SCOUT | {"ImagePositionPatient": [-10.0, 3.0 * k, 90.0]}) for k in range(2)],
        [slice_of(6, PixelSpacing=[4.0, 4.0])],
        [slice_of(6, ImageOrientationPatient=[0.9998, 0.02, 0, -0.02, 0.9998, 0])],
    ],
    ids=["too many", "of the same orientation", "hardly turned"],
)
def test_what_is_not_plainly_a_localizer_is_not_left_out(tmp_path, others):
    write_stack(tmp_path)
    for index, other in enumerate(others):
        save(other, tmp_path / f"other{index}.dcm")
    with pytest.raises(BadInput, match=rf"\(stacks of 6, {len(others)} slices share the series\)"):
        read(tmp_path)


def test_a_stack_with_a_gap_beside_a_localizer_is_still_refused(tmp_path):
    write_stack(tmp_path, leave_out=[3])
    save(slice_of(0, **CUT), tmp_path / "other.dcm")
    with pytest.raises(BadInput, match="share the series"):
        read(tmp_path)


def test_two_missing_slices_are_drawn_on_a_line_between_their_neighbors(tmp_path):
    write_stack(tmp_path, leave_out=[3, 4], count=9)
    stack = read(tmp_path, fill_gaps=2)
    expected = true_values(9)
    expected[..., 3] = expected[..., 2] * 2 / 3 + expected[..., 5] / 3
    expected[..., 4] = expected[..., 2] / 3 + expected[..., 5] * 2 / 3
    assert stack.volume.array == pytest.approx(expected, rel=1e-5)
    assert stack.volume.spacing_mm[2] == pytest.approx(3.0)
    assert stack.facts["slices_filled"] == 2
    with pytest.raises(BadInput, match="fill_gaps: 2"):
        read(tmp_path, fill_gaps=1)


def test_only_gaps_are_filled_never_tilts_or_uneven_slices(tmp_path):
    for name, position in (
        ("tilted", lambda k: (-10, -20 + k, 30 + 3 * (k + (k > 2)))),
        ("uneven", lambda k: (-10, -20, 30 + 3 * (k + 0.5 * (k > 2)))),
    ):
        folder = tmp_path / name
        folder.mkdir()
        write_stack(folder, positioned(position))
        with pytest.raises(BadInput):
            read(folder, fill_gaps=9)


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_padding_becomes_the_lowest_value_of_ct_and_no_signal_elsewhere(tmp_path, modality):
    values = stored_values(0)
    values[:2] = -2000
    changes = in_every_slice(PixelPaddingValue=-2000, PixelData=values.tobytes(), Modality=modality)
    write_stack(tmp_path, {k: change | {"RescaleSlope": 1} for k, change in changes.items()})
    filler = values[2:].min() - 100.0 if modality == "CT" else 0.0
    stack = read(tmp_path)
    assert (stack.volume.array[:, -2:] == filler).all()
    assert (stack.volume.array[:, :-2] > -2000).all()
    assert stack.facts["voxels_padded"] == 2 * 18 * SLICES


def test_a_range_of_padding_values_is_padding(tmp_path):
    changes = in_every_slice(PixelPaddingValue=2, PixelPaddingRangeLimit=0)
    write_stack(tmp_path, changes)
    assert read(tmp_path).facts["voxels_padded"] == 3


def test_a_negative_padding_value_written_as_a_positive_number_is_understood(tmp_path):
    values = stored_values(0)
    values[0] = -2000
    for k in range(SLICES):
        header = slice_of(k, PixelData=values.tobytes())
        header.add_new("PixelPaddingValue", "US", 65536 - 2000)
        save(header, tmp_path / f"{k}.dcm")
    assert read(tmp_path).facts["voxels_padded"] == 18 * SLICES


@pytest.mark.parametrize(
    ("syntax", "said", "lossy"),
    [
        (ExplicitVRLittleEndian, "01", True),
        (ExplicitVRLittleEndian, "00", False),
        (ExplicitVRLittleEndian, None, False),
        (JPEG2000Lossless, None, False),
        (JPEG2000, None, True),
        (JPEG2000, "00", False),
        (JPEGBaseline8Bit, "00", True),
    ],
)
def test_lossy_is_what_the_header_or_the_syntax_says(syntax, said, lossy):
    header = slice_of(0)
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = syntax
    if said:
        header.LossyImageCompression = said
    assert is_lossy(DicomFile(Path("1.dcm"), header, 0)) is lossy


def test_a_stack_of_padding_alone_is_refused(tmp_path):
    write_stack(tmp_path, in_every_slice(PixelPaddingValue=-9999, PixelPaddingRangeLimit=9999))
    with pytest.raises(BadInput, match="all are padding"):
        read(tmp_path)


def test_twelve_bits_hold_negative_numbers(tmp_path):
    values = (np.arange(16 * 18).reshape(16, 18) - 100).astype(np.int16)
    stored = (values.astype(np.uint16) & 0x0FFF).tobytes()
    write_stack(tmp_path, in_every_slice(BitsStored=12, HighBit=11, PixelData=stored, RescaleSlope=1))
    assert read(tmp_path).volume.array.min() == -200.0


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32, np.int32])
def test_every_width_of_pixel_is_read(tmp_path, kind):
    values = np.arange(16 * 18).reshape(16, 18).astype(kind)
    bits = values.dtype.itemsize * 8
    layout = {"BitsAllocated": bits, "BitsStored": bits, "HighBit": bits - 1, "PixelData": values.tobytes()}
    signed = {"PixelRepresentation": int(np.issubdtype(kind, np.signedinteger))}
    write_stack(tmp_path, in_every_slice(**layout, **signed, RescaleSlope=1))
    assert (read(tmp_path).volume.array[..., 0] + 100 == values.T[::-1, ::-1]).all()


def test_frames_split_over_two_files_make_one_stack(tmp_path):
    for name, order in (("a", [4, 0, 2]), ("b", [5, 1, 3])):
        file = enhanced(order)
        file.SOPInstanceUID = generate_uid()
        save(file, tmp_path / f"{name}.dcm")
    assert (read(tmp_path).volume.array == true_values()).all()


CONVERTERS = {
    "CT": (highdicom.legacy.LegacyConvertedEnhancedCTImage, None),
    "MR": (highdicom.legacy.LegacyConvertedEnhancedMRImage, MRImageStorage),
    "PT": (highdicom.legacy.LegacyConvertedEnhancedPETImage, PositronEmissionTomographyImageStorage),
}


@pytest.mark.parametrize("modality", CONVERTERS)
def test_multi_frame_files_by_an_independent_writer_equal_their_single_frames(tmp_path, modality):
    convert, storage = CONVERTERS[modality]
    single, multi = tmp_path / "single", tmp_path / "multi"
    single.mkdir()
    multi.mkdir()
    common = dict(
        SOPClassUID=storage or slice_of(0).SOPClassUID,
        Modality=modality,
        PatientBirthDate="",
        PatientSex="",
        AccessionNumber="",
        StudyID="",
        StudyTime="",
        ReferringPhysicianName="",
        ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
    )
    write_stack(single, in_every_slice(**common))
    slices = [dcmread(path) for path in single.iterdir()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted = convert(slices, generate_uid(), 1, generate_uid(), 1)
    converted.save_as(multi / "all.dcm")
    by_frames, by_slices = read(multi).volume, read(single).volume
    assert same_grid(by_frames, by_slices)
    assert (by_frames.array == by_slices.array).all()
    theirs = highdicom.imread(multi / "all.dcm").get_volume().to_patient_orientation("RAS")
    assert np.allclose(theirs.array, by_frames.array)


@pytest.mark.real
def test_the_real_whole_body_pet_is_regular_but_for_the_joints_of_its_beds(shared_data):
    (series,) = find_series(shared_data / "sts_raw/STS_001/FDG_PET/image")
    report = check_geometry(series)
    assert report.verdicts[REGULAR]
    assert report.slice_spacing_mm == pytest.approx(3.27, abs=1e-3)
    stack = read_stack(series)
    assert stack.volume.shape == (128, 128, 267)
    assert set(stack.facts) == {"slice_spacing_mm", "obliquity_degrees"}


@pytest.mark.real
def test_every_real_series_at_hand_is_regular(shared_data):
    folders: list[Path] = [
        *sorted((shared_data / "sts_raw").glob("*/MR_*/image")),
        *sorted((shared_data / "sts_ibsi/dicom").glob("*/*/image")),
    ]
    assert folders
    for folder in folders:
        assert report_of(folder).verdicts[REGULAR], folder.parent.name
