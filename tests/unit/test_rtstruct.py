"""Contours of known area fill the right voxels; contours that do not belong to the image are refused."""

import logging
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pydicom
import pytest
from faults.structures import Contour, write_contours
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from diffufuse.dicom.drawings import Drawing, drawing_of
from diffufuse.dicom.image_planes import image_planes
from diffufuse.dicom.polygons import Relation, Scan, filled, relation
from diffufuse.dicom.rasterizing import Placed, drawn_ml, place, rasterize
from diffufuse.dicom.rasterizing import fill as fill_placed
from diffufuse.dicom.rtstruct import Contours, contours_of, read_contours, read_rois
from diffufuse.dicom.series import find_series, headers_of, read_series
from diffufuse.dicom.structures import read_masks
from diffufuse.errors import BadInput
from diffufuse.ingest.formats import dicom
from diffufuse.space.volumes import Volume, read_volume

FRAME = "1.2.4"
PLANES = {0: (1, 2), 1: (0, 2), 2: (0, 1)}


def grid_of(shape=(40, 36, 12), spacing_mm=(1.0, 1.5, 3.0), origin_mm=(-7.0, 11.0, -100.0)) -> Volume:
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = origin_mm
    return Volume(np.zeros(shape, np.float32), affine)


def polygon(grid: Volume, corners, *, slice_index: float = 5, axis: int = 2) -> np.ndarray:
    """Corners in voxel coordinates of one slice, as RAS points."""
    index = np.full((len(corners), 3), float(slice_index))
    index[:, PLANES[axis]] = corners
    return index @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def box(low: float, high: float) -> list[tuple[float, float]]:
    return [(low, low), (high, low), (high, high), (low, high)]


def fill(grid: Volume, *polygons: np.ndarray, frame: str | None = FRAME) -> np.ndarray:
    return rasterize(Contours("GTV", FRAME, polygons), grid, frame_of_reference=frame)


def write_rtstruct(path: Path, rois: dict[str, list[tuple[str, np.ndarray]]]) -> Path:
    """Each ROI is a list of geometric type and RAS points; ROI numbers start at 1, contours are stored in reverse."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = RTStructureSetStorage, generate_uid()
    dataset.SeriesInstanceUID, dataset.Modality = "1.2.7", "RTSTRUCT"
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(rois.items(), start=1):
        entry, drawn = Dataset(), Dataset()
        entry.ROINumber, entry.ROIName, entry.ReferencedFrameOfReferenceUID = number, name.rstrip("*"), FRAME
        drawn.ReferencedROINumber = number
        if contours:
            drawn.ContourSequence = [contour_item(kind, points) for kind, points in contours]
        dataset.StructureSetROISequence.append(entry)
        dataset.ROIContourSequence.insert(0, drawn)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    return path


def contour_item(kind: str, points: np.ndarray) -> Dataset:
    item = Dataset()
    item.ContourGeometricType, item.NumberOfContourPoints = kind, len(points)
    item.ContourData = [f"{value:.3f}" for value in (points * [-1, -1, 1]).ravel()]
    return item


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_box_fills_the_voxels_whose_centers_it_holds(axis):
    grid = grid_of()
    expected = np.zeros(grid.shape, bool)
    cut = [slice(3, 8)] * 3
    cut[axis] = slice(5, 6)
    expected[tuple(cut)] = True
    assert (fill(grid, polygon(grid, box(2.6, 7.4), axis=axis)) == expected).all()


@pytest.mark.parametrize("radius", [5.0, 10.0, 15.0])
def test_circle_has_the_area_of_a_circle(radius):
    angles = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    grid = grid_of((40, 40, 12))
    areas = []
    for shift in np.random.default_rng(3).uniform(0, 1, (60, 2)):
        corners = 19 + shift + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        areas.append(fill(grid, polygon(grid, corners)).sum())
    assert np.mean(areas) == pytest.approx(np.pi * radius**2, rel=0.005)
    assert np.abs(np.array(areas) / (np.pi * radius**2) - 1).max() < 0.5 / radius


def test_drawing_direction_and_first_point_do_not_matter():
    grid = grid_of()
    angles = np.sort(np.random.default_rng(1).uniform(0, 2 * np.pi, 25))
    radii = np.random.default_rng(1).uniform(4, 14, 25)
    corners = 16 + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    expected = fill(grid, polygon(grid, corners))
    assert 0 < expected.sum() < expected.size
    assert (fill(grid, polygon(grid, corners[::-1])) == expected).all()
    assert (fill(grid, polygon(grid, np.roll(corners, 7, axis=0))) == expected).all()


def test_contour_that_crosses_itself_agrees_with_a_point_by_point_winding_parity():
    corners = np.random.default_rng(2).uniform(0, 19, (15, 2))
    found = filled(corners, (20, 20))
    ahead = np.roll(corners, -1, axis=0)
    for x, y in np.ndindex(20, 20):
        angle = np.arctan2(ahead[:, 1] - y, ahead[:, 0] - x) - np.arctan2(corners[:, 1] - y, corners[:, 0] - x)
        turns = np.round(((angle + np.pi) % (2 * np.pi) - np.pi).sum() / (2 * np.pi))
        assert found[x, y] == (turns % 2 == 1)


@pytest.mark.parametrize("edge", [4.0, 4.5, 4.3])
def test_shared_edges_are_neither_doubled_nor_lost(edge):
    grid = grid_of()
    left = [(1, 1), (edge, 1), (edge, 9), (1, 9)]
    right = [(edge, 1), (9, 1), (9, 9), (edge, 9)]
    parts = [fill(grid, polygon(grid, corners)) for corners in (left, right)]
    assert not (parts[0] & parts[1]).any()
    assert ((parts[0] | parts[1]) == fill(grid, polygon(grid, box(1, 9)))).all()
    assert fill(grid, polygon(grid, box(1, 9))).sum() == 64


def test_slanted_shared_edge_through_voxel_centers_is_neither_doubled_nor_lost():
    grid = grid_of()
    below, above = [(2, 2), (10, 2), (10, 10)], [(2, 2), (10, 10), (2, 10)]
    parts = [fill(grid, polygon(grid, corners)) for corners in (below, above)]
    assert (parts[0] ^ parts[1]).sum() == 64
    assert not (parts[0] & parts[1]).any()


def test_inner_ring_is_a_hole_and_its_island_is_inside():
    grid = grid_of()
    rings = [polygon(grid, box(low - 0.5, high + 0.5)) for low, high in ((2, 20), (5, 15), (8, 10))]
    assert fill(grid, *rings).sum() == 19**2 - 11**2 + 3**2


def test_keyhole_is_a_hole_and_its_channel_leaves_no_trace():
    grid = grid_of()
    outer, inner = box(1.5, 20.5), box(5.5, 10.5)[::-1]
    keyhole = [*outer, outer[0], *inner, inner[0]]
    assert fill(grid, polygon(grid, keyhole)).sum() == 19**2 - 5**2


def test_contours_of_several_slices_stay_in_their_slices():
    grid = grid_of()
    mask = fill(grid, *(polygon(grid, box(1.5, 2.5 + k), slice_index=k + 0.2) for k in range(4)))
    assert mask.sum(axis=(0, 1)).tolist()[:5] == [1, 4, 9, 16, 0]


def test_contours_that_do_not_fit_the_slices_are_refused():
    grid = grid_of()
    square = box(3, 9)
    tilted = polygon(grid, square)
    tilted[:, 2] += [0, 0, 4, 4]
    faults = {
        "midway between two": [polygon(grid, square, slice_index=4.5)],
        "within the image": [polygon(grid, square, slice_index=12)],
        "reach voxels": [polygon(grid, box(30, 39))],
        "in planes of the image": [tilted],
        "fall into one": [polygon(grid, square, slice_index=k) for k in (3.7, 4.3)],
        "2 or more apart": [polygon(grid, square, slice_index=k) for k in (2, 4, 6)],
    }
    for reason, polygons in faults.items():
        with pytest.raises(BadInput, match=reason):
            fill(grid, *polygons)


def test_frames_of_reference_must_agree(caplog):
    grid = grid_of()
    square = polygon(grid, box(3, 9))
    with pytest.raises(BadInput, match="drawn in another"):
        fill(grid, square, frame="1.2.5")
    with caplog.at_level(logging.WARNING):
        assert fill(grid, square, frame=None).sum() == 36
    assert "frame of reference is unknown" in caplog.text


def test_no_polygons_are_a_programming_error():
    with pytest.raises(ValueError, match="at least one polygon"):
        fill(grid_of())


def test_written_contours_are_read_in_our_orientation(tmp_path):
    square = polygon(grid_of(), box(3, 9))
    path = write_rtstruct(
        tmp_path / "rs.dcm", {"Skin": [("CLOSED_PLANAR", square * 2)], "GTV": [("CLOSED_PLANAR", square)]}
    )
    assert read_rois(path) == ["Skin", "GTV"]
    contours = read_contours(path, "gtv")
    assert (contours.roi, contours.frame_of_reference, len(contours.polygons)) == ("GTV", FRAME, 1)
    assert np.abs(contours.polygons[0] - square).max() < 1e-3


def test_names_are_reported_when_none_or_several_match(tmp_path):
    square = [("CLOSED_PLANAR", polygon(grid_of(), box(3, 9)))]
    path = write_rtstruct(tmp_path / "rs.dcm", {"GTV_Mass": square, "GTV_Edema": square, "Skin": square})
    with pytest.raises(BadInput, match=r"0 of 3 do .*'GTV_Mass', 'GTV_Edema', 'Skin'"):
        read_contours(path, "tumor")
    with pytest.raises(BadInput, match=r"2 of 3 do .*'GTV_Mass', 'GTV_Edema'\)"):
        read_contours(path, "^GTV")
    assert read_contours(path, "^gtv_m").roi == "GTV_Mass"


def test_one_name_borne_by_two_regions_is_refused(tmp_path):
    square = [("CLOSED_PLANAR", polygon(grid_of(), box(3, 9)))]
    path = write_rtstruct(tmp_path / "rs.dcm", {"GTV": square, "GTV*": square})
    with pytest.raises(BadInput, match="'GTV', 'GTV'"):
        read_contours(path, "GTV")


@pytest.mark.parametrize("contours", [[], [("POINT", np.ones((1, 3)))], [("CLOSED_PLANAR", np.ones((2, 3)))]])
def test_empty_region_is_refused(tmp_path, contours):
    path = write_rtstruct(tmp_path / "rs.dcm", {"GTV": contours})
    with pytest.raises(BadInput, match="ROI GTV: expected closed planar contours"):
        read_contours(path, "GTV")


def test_contours_without_area_are_skipped_with_their_type(tmp_path, caplog):
    square = polygon(grid_of(), box(3, 9))
    drawn = [("POINT", square[:1]), ("CLOSED_PLANAR", square), ("CLOSED_PLANAR", square[:2])]
    path = write_rtstruct(tmp_path / "rs.dcm", {"GTV": [*drawn, ("CLOSEDPLANAR_XOR", square)]})
    with caplog.at_level(logging.WARNING):
        contours = read_contours(path, "GTV")
    assert contours.exclusive == (False, True)
    assert contours.skipped == {"POINT": 1, "CLOSED_PLANAR": 1}
    assert "1 (POINT), 3 (CLOSED_PLANAR)" in caplog.text


def test_drawn_volume_counts_rings_holes_and_keyholes_by_their_lines():
    grid = grid_of()
    voxel_ml = 1.0 * 1.5 * 3.0 / 1000
    outer, inner, island = box(1.5, 20.5), box(5.5, 10.5), box(6.2, 8.1)
    keyhole = [*outer, outer[0], *inner[::-1], inner[-1]]
    drawings = {
        19.0**2: [outer],
        19.0**2 - 5**2: [outer, inner],
        19.0**2 - 5**2 + 1.9**2: [inner, island, outer],
        19.0**2 - 25: [keyhole],
        19.0**2 + 25: [outer, box(22.5, 27.5)],
    }
    for area, rings in drawings.items():
        contours = Contours("GTV", FRAME, tuple(polygon(grid, ring) for ring in rings))
        placed = place(contours, grid, frame_of_reference=FRAME)
        assert drawn_ml(placed, grid) == pytest.approx(area * voxel_ml, rel=1e-6)


def test_areas_of_contours_are_exact_however_they_overlap():
    near, far = np.array(box(1.5, 7.5)), np.array(box(4.25, 12.5))
    diamond = np.array([(5, 0), (10, 5), (5, 10), (0, 5.0)])
    assert Scan([near]).united_area() == pytest.approx(36, rel=1e-12)
    assert Scan([diamond]).united_area() == pytest.approx(50, rel=1e-12)
    assert Scan([near, far]).united_area() == pytest.approx(36 + 8.25**2 - 3.25**2, rel=1e-12)
    assert Scan([near, near + 20]).united_area() == pytest.approx(72, rel=1e-12)


def test_two_contours_lie_to_each_other_as_their_outlines_do():
    outer, line = np.array(box(2.0, 12.0)), np.array([(4, 4), (9, 9), (4, 4.0)])
    expected = {
        Relation.APART: [box(14, 16), np.array(box(12, 14)), line],
        Relation.SAME: [outer, outer[::-1], np.array(box(2.05, 11.95)), np.insert(outer, 1, (7.0, 2.0), axis=0)],
        Relation.WITHIN: [box(4, 6), box(2.8, 11.2), [(4, 4), (6, 4), (5, 6)]],
        Relation.PARTLY: [box(10, 14), box(8, 17)],
        Relation.ALIKE: [box(2.3, 11.7), outer + 0.3],
        Relation.UNCLEAR: [[(2, 2), (12, 2), (12, 6), (2, 6)]],
    }
    for how, polygons in expected.items():
        for corners in polygons:
            assert relation(np.array(corners, float), outer) is how


@pytest.mark.parametrize("seed", range(40))
def test_area_and_mask_of_any_outline_differ_by_no_more_than_its_voxels(seed):
    generator = np.random.default_rng(seed)
    angles = np.sort(generator.uniform(0, 2 * np.pi, generator.integers(3, 40)))
    corners = np.stack([np.cos(angles), np.sin(angles)], axis=1) * generator.uniform(0.2, 14, (len(angles), 1)) + 15
    drawing = drawing_of([corners], exclusive=[False], name="")
    assert abs(drawing.mask((31, 31)).sum() - drawing.area) <= drawing.tolerance()


def test_mask_that_is_not_as_large_as_its_contours_is_refused():
    grid = grid_of()
    corners = np.array(box(1.5, 11.5))
    for area, right in ((100.0, True), (90.0, True), (60.0, False), (200.0, False)):
        drawings = {5: Drawing(((corners,),), False, 0, area)}
        placed = Placed("rs.dcm, ROI GTV", drawings, {5: 5.0}, 2, 0.0)
        with nullcontext() if right else pytest.raises(BadInput, match=r"slice 5: expected a mask as large as"):
            assert fill_placed(placed, grid).mask.sum() == 100


def test_image_that_is_not_parallel_to_the_others_does_not_place_contours(tmp_path):
    write_contours(tmp_path, [("GTV", [Contour()])])
    (series,) = find_series(tmp_path / "MR")
    headers = headers_of(series)
    headers[0].ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    planes = image_planes(series)
    place_of = [planes.positions[str(header.SOPInstanceUID)] for header in headers]
    assert place_of[0] is None
    assert planes.distance_mm == pytest.approx(3.0)
    assert planes.holds(str(headers[0].SOPInstanceUID), np.full((3, 3), 1e3))
    assert planes.holds(str(headers[3].SOPInstanceUID), place_of[3] + [[5, 5, 1.4]])
    assert not planes.holds(str(headers[3].SOPInstanceUID), place_of[3] + [[5, 5, 1.6]])


def test_region_that_ends_at_the_last_voxels_is_filled_to_the_edge():
    grid = grid_of((9, 7, 3))
    whole = [(-0.5, -0.5), (8.5, -0.5), (8.5, 6.5), (-0.5, 6.5)]
    mask = fill(grid, *(polygon(grid, whole, slice_index=k) for k in range(3)))
    assert mask.all()


@pytest.mark.parametrize("undefined", [True, False])
def test_structure_set_cut_short_anywhere_is_refused_as_such(tmp_path, undefined):
    squares = [("CLOSED_PLANAR", polygon(grid_of(), box(3, 9), slice_index=k)) for k in range(6)]
    path = write_rtstruct(tmp_path / "rs.dcm", {"GTV": squares, "Skin": squares})
    dataset = pydicom.dcmread(path)
    for sequence in (dataset.ROIContourSequence, *(roi.ContourSequence for roi in dataset.ROIContourSequence)):
        sequence.is_undefined_length = undefined
    dataset["ROIContourSequence"].is_undefined_length = undefined
    dataset.save_as(path)
    content, refused = path.read_bytes(), 0
    for length in range(600, len(content), 37):
        path.write_bytes(content[:length])
        with pytest.raises(BadInput, match="expected a whole DICOM file"):
            read_contours(path, "GTV")
        refused += 1
    assert refused > 30


def test_numbers_are_read_alike_decoded_or_not(tmp_path):
    path = write_rtstruct(tmp_path / "rs.dcm", {"GTV": [("CLOSED_PLANAR", polygon(grid_of(), box(3, 9)))]})
    first = read_contours(path, "GTV").polygons[0]
    structures = pydicom.dcmread(path)
    for item in structures.iterall():
        assert item.value is not None
    assert (contours_of(structures, 0, path=path).polygons[0] == first).all()


def test_other_files_are_refused(tmp_path):
    (tmp_path / "rs.dcm").write_bytes(b"nothing")
    with pytest.raises(BadInput, match="its 7 bytes"):
        read_rois(tmp_path / "rs.dcm")


def test_block_may_unite_several_regions_in_a_label(tmp_path):
    lesions = [("GTV1", [Contour(box(1.5, 5.5))]), ("GTV2", [Contour(box(3.5, 9.5))]), ("Skin", [Contour()])]
    write_contours(tmp_path / "PH-1", lesions)
    block = {
        "reference": "t1",
        "modalities": {"t1": {"kind": "mr", "series": [{"Modality": "^MR$"}]}},
        "annotation": {
            "drawn_on": "t1",
            "series": [{"Modality": "^RTSTRUCT$"}],
            "rois": {"mass": {"pattern": "^GTV", "several": "union"}},
        },
        "labels": {"mass": 1},
    }
    case = dicom.open_case(tmp_path, "PH-1", block)
    image, _ = case.read_image("t1")
    labels, facts = case.read_labels(image)
    assert labels.array.sum() == 4**2 + 6**2 - 2**2
    assert (facts["mass"]["rois"], facts["rois_left_over"]) == (2, 1)
    block["annotation"]["rois"]["mass"] = "^GTV"
    with pytest.raises(BadInput, match=r"'GTV1', 'GTV2'\); .*or join them by \{pattern: '\^GTV', several: union\}"):
        case.read_labels(image)


@pytest.mark.real
def test_another_modality_holds_no_contours(shared_data):
    path = next((shared_data / "sts_raw/STS_001/MR_T1/image").iterdir())
    with pytest.raises(BadInput, match="got MR"):
        read_contours(path, "GTV")


@pytest.mark.real
@pytest.mark.parametrize("modality", ["PET", "MR_T1", "CT"])
def test_real_contours_fill_exactly_the_published_mask(shared_data, modality):
    folder = shared_data / "sts_ibsi/dicom/STS_002" / modality
    (series,) = find_series(folder / "image")
    contours = read_contours(folder / "mask/RS.dcm", "GTV_Mass")
    mask = rasterize(contours, read_series(series), frame_of_reference=series.frame_of_reference)
    published = read_volume(shared_data / "sts_ibsi/nifti/STS_002" / f"{modality}_mask.nii.gz").array > 0
    assert mask.sum() == published.sum() > 0
    assert 2 * (mask & published).sum() / (mask.sum() + published.sum()) == 1.0


@pytest.mark.real
def test_real_structure_set_is_told_of_by_our_labels(shared_data):
    folder = shared_data / "sts_raw/STS_001/MR_T2"
    (series,), (drawn,) = find_series(folder / "image"), find_series(folder / "mask")
    image = read_series(series)
    asked = {"patterns": {"mass": "GTV_Mass", "bone": "bone"}, "optional": ["bone"], "images": image_planes(series)}
    found = read_masks(drawn, grid=image, frame_of_reference=series.frame_of_reference, **asked)
    assert list(found.masks) == ["mass"]
    assert found.facts["rois_left_over"] == 1
    told = found.facts["mass"]
    assert (told["contours"], told["skipped"], told["unreferenced"]) == (20, {}, 0)
    assert told["mask_ml"] == pytest.approx(told["drawn_ml"], rel=5e-3)
    assert told["mask_ml"] == pytest.approx(364.9, abs=0.05)


@pytest.mark.real
@pytest.mark.parametrize("modality", ["FDG_PET", "MR_T1", "MR_T2"])
@pytest.mark.parametrize("roi", ["GTV_Mass", "GTV_Edema"])
def test_real_mask_has_the_volume_inside_its_contours(shared_data, modality, roi):
    folder = shared_data / "sts_raw/STS_001" / modality
    (series,) = find_series(folder / "image")
    image, contours = read_series(series), read_contours(folder / "mask/1-1.dcm", roi)
    mask = rasterize(contours, image, frame_of_reference=series.frame_of_reference)
    shifted = [(points - points[0], np.roll(points - points[0], -1, axis=0)) for points in contours.polygons]
    areas_mm2 = [np.linalg.norm(np.cross(here, ahead).sum(axis=0)) / 2 for here, ahead in shifted]
    volume_mm3 = mask.sum() * np.prod(image.spacing_mm)
    assert volume_mm3 == pytest.approx(sum(areas_mm2) * image.spacing_mm[2], rel=5e-3)
