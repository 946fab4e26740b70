"""Segmentations written by highdicom come back voxel by voxel, however their image lies in space."""

import highdicom as hd
import numpy as np
import pydicom
import pytest
from faults.structures import SHAPE, SPACING_MM, read, upright, write_segments
from pydicom.sr.codedict import codes
from scipy.spatial.transform import Rotation

from diffufuse.dicom.rasterizing import rasterize
from diffufuse.dicom.rtstruct import read_contours
from diffufuse.dicom.seg import open_segments
from diffufuse.dicom.series import find_series, headers_of, read_series
from diffufuse.dicom.structures import read_masks
from diffufuse.phantom.dicom_headers import uid_of
from diffufuse.space.volumes import Volume, canonical

ORIENTATIONS = {
    "upright": np.diag([-1.0, -1.0, 1.0]),
    "turned by 180 degrees, from top to bottom": np.diag([1.0, 1.0, -1.0]),
    "mirrored": np.diag([1.0, -1.0, 1.0]),
    "sagittal": np.array([[0, 0, -1.0], [-1.0, 0, 0], [0, -1.0, 0]]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]]),
    "oblique": Rotation.from_euler("xyz", [17, -24, 33], degrees=True).as_matrix(),
    "oblique, from top to bottom": Rotation.from_euler("xyz", [17, -24, 33], degrees=True).as_matrix() * [1, 1, -1],
}


def turned(axes: np.ndarray) -> Volume:
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes * SPACING_MM, (12.0, -7.0, 30.0)
    return Volume(upright().array, affine)


def two_blobs() -> dict[str, np.ndarray]:
    """Two masks without any symmetry that overlap, as the files hold them."""
    x, y, z = np.indices(SHAPE)
    mass = (x - 7) ** 2 / 20 + (y - 6) ** 2 / 9 + (z - 3) ** 2 / 4 < 1
    mass[2, 3, 2:5] = True
    return {"GTV_Mass": mass, "GTV_Edema": (x > 4) & (y < 9) & (z >= 1) & (z + x < 16)}


def dice(found: np.ndarray, expected: np.ndarray) -> float:
    assert expected.any()
    return 2 * (found & expected).sum() / (found.sum() + expected.sum())


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_round_trip_keeps_every_voxel(tmp_path, orientation, kind):
    volume, masks = turned(ORIENTATIONS[orientation]), two_blobs()
    if kind == "FRACTIONAL":
        masks = {label: mask.astype(np.float32) for label, mask in masks.items()}
    if kind == "LABELMAP":
        masks["GTV_Edema"] &= ~masks["GTV_Mass"]
    write_segments(tmp_path, masks, volume=volume, kind=kind)
    found = read(tmp_path)
    for label, name in (("mass", "GTV_Mass"), ("edema", "GTV_Edema")):
        expected = canonical(volume.with_array(masks[name].astype(np.uint8))).array > 0
        assert dice(found.masks[label], expected) == 1.0
        assert found.facts[label]["mask_ml"] == pytest.approx(expected.sum() * np.prod(SPACING_MM) / 1000)


def test_segments_go_by_our_labels_and_the_rest_is_counted(tmp_path):
    mass = two_blobs()["GTV_Mass"]
    write_segments(tmp_path, {"Doe^Jane": mass, "GTV_Mass": mass, "../../etc": mass})
    found = read(tmp_path)
    assert list(found.masks) == ["mass"]
    assert found.facts["rois_left_over"] == 2
    assert "Doe" not in str(found.facts)
    assert ".." not in str(found.facts)


def test_frame_is_put_by_its_position_though_the_file_lists_it_elsewhere(tmp_path):
    def shuffled(dataset: pydicom.Dataset) -> None:
        frames = list(dataset.PerFrameFunctionalGroupsSequence)
        order = np.random.default_rng(0).permutation(len(frames))
        pixels = dataset.pixel_array[order]
        dataset.PerFrameFunctionalGroupsSequence = pydicom.Sequence([frames[k] for k in order])
        dataset.PixelData = np.packbits(pixels.ravel(), bitorder="little").tobytes()

    mass = two_blobs()["GTV_Mass"]
    write_segments(tmp_path, {"GTV_Mass": mass}, change=shuffled)
    assert dice(read(tmp_path).masks["mass"], mass[::-1, ::-1]) == 1.0


def test_image_of_unknown_frame_of_reference_is_accepted_with_a_warning(tmp_path, caplog):
    path = write_segments(tmp_path, two_blobs())
    assert open_segments(path, frame_of_reference=None).labels == ["GTV_Mass", "GTV_Edema"]
    assert "frame of reference is unknown" in caplog.text


@pytest.mark.real
@pytest.mark.parametrize("modality", ["FDG_PET", "MR_T2"])
def test_real_structures_survive_the_round_trip_through_a_segmentation(shared_data, tmp_path, modality):
    folder = shared_data / "sts_raw/STS_001" / modality
    (series,) = find_series(folder / "image")
    image = read_series(series)
    contours = read_contours(folder / "mask/1-1.dcm", "GTV_Mass")
    mask = rasterize(contours, image, frame_of_reference=series.frame_of_reference)
    sources = headers_of(series)
    segment = hd.seg.SegmentDescription(1, "GTV_Mass", codes.SCT.Tissue, codes.SCT.Tissue, "MANUAL")
    device = {"manufacturer": "", "manufacturer_model_name": "", "software_versions": "1", "device_serial_number": "1"}
    where = {"series_instance_uid": uid_of(modality), "series_number": 9, "sop_instance_uid": uid_of(modality, 1)}
    frames = np.stack([seen_from(header, mask, image) for header in sources])
    seg = hd.seg.Segmentation(sources, frames, "BINARY", [segment], instance_number=1, **where, **device)
    seg.save_as(tmp_path / "1.dcm")
    (drawn,) = find_series(tmp_path)
    found = read_masks(drawn, {"mass": "GTV_Mass"}, image, frame_of_reference=series.frame_of_reference)
    assert dice(found.masks["mass"], mask) == 1.0


def seen_from(header: pydicom.Dataset, mask: np.ndarray, image: Volume) -> np.ndarray:
    """The mask at the pixels of one slice, (rows, columns), by the patient coordinate of each."""
    row, column = np.indices((header.Rows, header.Columns)).reshape(2, -1)
    along_row, along_column = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
    row_mm, column_mm = (float(mm) for mm in header.PixelSpacing)
    points = np.array(header.ImagePositionPatient, float)
    points = points + np.outer(column * column_mm, along_row) + np.outer(row * row_mm, along_column)
    to_index = np.linalg.inv(image.affine)
    index = np.round(points * [-1, -1, 1] @ to_index[:3, :3].T + to_index[:3, 3]).astype(int)
    return mask[tuple(index.T)].reshape(header.Rows, header.Columns).astype(np.uint8)
