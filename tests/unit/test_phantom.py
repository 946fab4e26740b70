"""The phantom cohort, read back with pydicom and SimpleITK alone, against the truth beside it."""

import json
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from diffufuse.fetch.sources.phantom import fetch
from diffufuse.files.digests import sha256_of
from diffufuse.phantom import write_phantom_patient
from diffufuse.phantom.dicom_headers import Person, Polygon, SeriesHeader, uid_of
from diffufuse.phantom.dicom_writing import write_ct, write_structures
from diffufuse.phantom.grids import centered_grid, random_displacement, smooth_noise
from diffufuse.phantom.traits import draw_traits
from diffufuse.space.volumes import Volume

SEED = 2026
CASE = "PH-001"
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
SPACING_MM = {"PET": (4, 4, 3.27), "CT": (1.5, 1.5, 3), "MR_T1": (1.2, 1.2, 4), "MR_T2FS": (1.4, 1.4, 4)}


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    raw = tmp_path_factory.mktemp("raw") / "phantom"
    fetch(raw, {"patients": 1}, study_seed=SEED)
    truth = raw.with_name("phantom_truth")
    mask = nib.load(truth / f"{CASE}_mass.nii.gz")
    return SimpleNamespace(
        raw=raw,
        folder=raw / CASE,
        truth=truth,
        record=json.loads((truth / f"{CASE}.json").read_text()),
        mask=mask.get_fdata() > 0,
        mask_affine=mask.affine,
    )


def headers(folder):
    return [pydicom.dcmread(file) for file in sorted(folder.glob("*.dcm"))]


def itk_image(folder):
    return sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))


def at(image, points_mm):
    """Values of a SimpleITK image at RAS points (N, 3), nearest voxel, NaN outside."""
    size, array = np.array(image.GetSize()), sitk.GetArrayFromImage(image)
    direction = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    index = np.rint(np.linalg.solve(direction, (points_mm @ LPS_TO_RAS - image.GetOrigin()).T).T).astype(int)
    inside = ((index >= 0) & (index < size)).all(axis=1)
    values = np.full(len(points_mm), np.nan)
    values[inside] = array[tuple(index[inside].T[::-1])]
    return values


def voxels_mm(image, mask):
    """RAS coordinates (N, 3) of the voxels of a SimpleITK image where a (z, y, x) mask holds."""
    index = np.argwhere(mask)[:, ::-1]
    direction = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    return (index @ direction.T + image.GetOrigin()) @ LPS_TO_RAS


def moved(points_mm, transform):
    return points_mm @ transform[:3, :3].T + transform[:3, 3]


def shoelace_mm2(contour):
    x, y, _ = np.array(contour.ContourData, float).reshape(-1, 3).T
    return 0.5 * float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


def contours_of(patient, name):
    (structures,) = headers(patient.folder / "RTSTRUCT")
    number = next(roi.ROINumber for roi in structures.StructureSetROISequence if roi.ROIName == name)
    return next(r.ContourSequence for r in structures.ROIContourSequence if r.ReferencedROINumber == number)


def suv_image(folder):
    """SUV = C(t) w / (D 2^(-t / T)), with t from injection to the start of the series."""
    image, first = itk_image(folder), headers(folder)[0]
    drug = first.RadiopharmaceuticalInformationSequence[0]
    start = datetime.strptime(first.SeriesDate + first.SeriesTime, "%Y%m%d%H%M%S.%f")
    waited_s = (start - datetime.strptime(drug.RadiopharmaceuticalStartDateTime, "%Y%m%d%H%M%S.%f")).total_seconds()
    left_bq = float(drug.RadionuclideTotalDose) * 2 ** (-waited_s / float(drug.RadionuclideHalfLife))
    return sitk.Cast(image, sitk.sitkFloat64) * (float(first.PatientWeight) * 1000 / left_bq)


def test_same_seed_gives_the_same_bytes(patient, tmp_path):
    write_phantom_patient(tmp_path / "raw", tmp_path / "truth", CASE, SEED)
    first = {f.relative_to(patient.raw): sha256_of(f) for f in patient.raw.rglob("*.*") if f.is_file()}
    again = {f.relative_to(tmp_path / "raw"): sha256_of(f) for f in (tmp_path / "raw").rglob("*.*") if f.is_file()}
    assert len(first) == 44 + 48 + 34 + 33 + 1
    assert first == again
    for name in (f"{CASE}.json", f"{CASE}_mass.nii.gz"):
        assert sha256_of(patient.truth / name) == sha256_of(tmp_path / "truth" / name)


def test_another_seed_gives_another_patient(patient, tmp_path):
    write_phantom_patient(tmp_path / "raw", tmp_path / "truth", CASE, SEED + 1)
    other = json.loads((tmp_path / "truth" / f"{CASE}.json").read_text())
    assert not np.allclose(other["mr_to_petct"], patient.record["mr_to_petct"])
    assert other["diameter_mm"] != patient.record["diameter_mm"]


def test_a_case_without_a_number_is_refused(tmp_path):
    with pytest.raises(ValueError, match="ends in a number"):
        write_phantom_patient(tmp_path, tmp_path, "PH-one", SEED)


@pytest.mark.parametrize("name", SPACING_MM)
def test_an_independent_reader_finds_the_spacing_and_every_slice(patient, name):
    image = itk_image(patient.folder / name)
    assert image.GetSpacing() == pytest.approx(SPACING_MM[name], abs=1e-4)
    assert image.GetDepth() == len(list((patient.folder / name).glob("*.dcm")))


def test_headers_name_the_right_classes_and_frames(patient):
    series = {name: headers(patient.folder / name) for name in (*SPACING_MM, "RTSTRUCT")}
    assert {name: found[0].SOPClassUID.name for name, found in series.items()} == {
        "PET": "Positron Emission Tomography Image Storage",
        "CT": "CT Image Storage",
        "MR_T1": "MR Image Storage",
        "MR_T2FS": "MR Image Storage",
        "RTSTRUCT": "RT Structure Set Storage",
    }
    frames = {name: {header.FrameOfReferenceUID for header in found} for name, found in series.items()}
    assert frames["PET"] == frames["CT"] != frames["MR_T1"]
    assert frames["MR_T1"] == frames["MR_T2FS"] == frames["RTSTRUCT"]
    everything = [header for found in series.values() for header in found]
    assert len({header.SOPInstanceUID for header in everything}) == len(everything)
    assert len({header.SeriesInstanceUID for header in everything}) == 5
    assert {header.PatientID for header in everything} == {CASE}
    assert {str(header.PatientName) for header in everything} == {"Phantom^001"}


def test_pet_says_all_that_the_suv_needs(patient):
    found = headers(patient.folder / "PET")
    assert {(h.Units, h.DecayCorrection, h.SeriesTime == h.AcquisitionTime) for h in found} == {("BQML", "START", True)}
    assert len({str(h.RescaleSlope) for h in found}) > 40
    drug = found[0].RadiopharmaceuticalInformationSequence[0]
    assert float(drug.RadionuclideHalfLife) == 6586.2
    assert 3e8 < float(drug.RadionuclideTotalDose) < 4e8


def test_suv_of_muscle_is_plausible_and_air_is_cold(patient):
    suv, ct = suv_image(patient.folder / "PET"), itk_image(patient.folder / "CT")
    points_mm = voxels_mm(suv, np.ones(sitk.GetArrayFromImage(suv).shape, bool))
    hu, values = at(ct, points_mm), at(suv, points_mm)
    assert 0.5 < np.median(values[(hu > 30) & (hu < 90)]) < 0.8
    assert np.median(values[hu < -900]) < 0.05


def test_ct_is_stored_unsigned_below_an_intercept(patient):
    first = headers(patient.folder / "CT")[0]
    assert (float(first.RescaleIntercept), float(first.RescaleSlope), first.PixelRepresentation) == (-1024, 1, 0)
    assert first.pixel_array.max() < 2**first.BitsStored


def test_hounsfield_units_of_muscle_fat_and_air_are_theirs(patient):
    hu = sitk.GetArrayFromImage(itk_image(patient.folder / "CT")).ravel()

    def mode(low, high):
        counts, edges = np.histogram(hu, bins=np.arange(low, high + 1, 5))
        return edges[counts.argmax()] + 2.5

    assert mode(-40, 160) == pytest.approx(52, abs=8)
    assert mode(-160, -50) == pytest.approx(-102, abs=10)
    assert np.median(hu[hu < -900]) == pytest.approx(-1000, abs=3)
    assert np.percentile(hu, 99.9) > 800


def test_fat_is_bright_on_t1_and_saturated_on_t2(patient):
    t1, t2fs = (itk_image(patient.folder / name) for name in ("MR_T1", "MR_T2FS"))
    ct = itk_image(patient.folder / "CT")
    to_mr = np.linalg.inv(patient.record["mr_to_petct"])
    hu = sitk.GetArrayFromImage(sitk.Median(ct, (2, 2, 1)))
    fat_mm, muscle_mm = (
        moved(voxels_mm(ct, part), to_mr) for part in ((hu > -130) & (hu < -80), (hu > 35) & (hu < 75))
    )
    assert np.nanmedian(at(t1, fat_mm)) > 1.6 * np.nanmedian(at(t1, muscle_mm))
    assert np.nanmedian(at(t2fs, fat_mm)) < 0.9 * np.nanmedian(at(t2fs, muscle_mm))


def test_mr_noise_in_air_is_that_of_a_magnitude(patient):
    """The mean of a Rayleigh distribution is 1.913 of its standard deviation; absolute normal noise has 1.32."""
    t1 = sitk.GetArrayFromImage(itk_image(patient.folder / "MR_T1")).astype(float)
    corners = [t1[:, y, x] for y in (slice(0, 12), slice(-12, None)) for x in (slice(0, 12), slice(-12, None))]
    air = min(corners, key=np.mean)
    assert air.mean() / air.std() == pytest.approx(1.913, rel=0.06)


def test_t2_runs_from_top_to_bottom_and_is_turned(patient):
    found = headers(patient.folder / "MR_T2FS")
    heights_mm = [float(header.ImagePositionPatient[2]) for header in found]
    assert heights_mm == sorted(heights_mm, reverse=True)
    assert [header.InstanceNumber for header in found] == list(range(1, len(found) + 1))
    assert [float(part) for part in found[0].ImageOrientationPatient] == [-1, 0, 0, 0, -1, 0]
    assert float(found[0].SliceThickness) < 4.0 == float(found[0].SpacingBetweenSlices)


def test_both_mr_series_show_the_same_tissue_at_the_same_place(patient):
    t1, t2fs = (itk_image(patient.folder / name) for name in ("MR_T1", "MR_T2FS"))
    signal = sitk.GetArrayFromImage(t1)
    points_mm = voxels_mm(t1, np.ones(signal.shape, bool))
    pair = np.stack([at(t1, points_mm), at(t2fs, points_mm)])
    body = np.isfinite(pair).all(axis=0)
    dark = pair[0, body] < np.percentile(pair[0, body], 15)
    assert np.median(pair[1, body][dark]) < 0.5 * np.median(pair[1, body][~dark])


def test_the_true_displacement_is_small_rigid_and_maps_mr_to_petct(patient):
    transform = np.array(patient.record["mr_to_petct"])
    rotation = transform[:3, :3]
    assert np.allclose(rotation @ rotation.T, np.eye(3))
    assert np.linalg.det(rotation) == pytest.approx(1)
    assert 2 <= np.linalg.norm(transform[:3, 3]) <= 6
    assert 1 <= np.degrees(np.arccos((np.trace(rotation) - 1) / 2)) <= 4
    mask_mm = np.argwhere(patient.mask) @ patient.mask_affine[:3, :3].T + patient.mask_affine[:3, 3]
    mapped_mm = moved(mask_mm, transform).mean(axis=0)
    assert np.linalg.norm(mapped_mm - patient.record["mass_center_petct_mm"]) < 0.6


def test_the_images_agree_with_the_direction_of_the_displacement(patient):
    """Cortical bone, found on CT, is dark on T1; the wrong direction or none puts brighter tissue there."""
    t1, ct = itk_image(patient.folder / "MR_T1"), itk_image(patient.folder / "CT")
    bone_mm = voxels_mm(ct, sitk.GetArrayFromImage(ct) > 900)
    transform = np.array(patient.record["mr_to_petct"])
    right, none, wrong = (
        np.nanmean(at(t1, moved(bone_mm, matrix))) for matrix in (np.linalg.inv(transform), np.eye(4), transform)
    )
    assert right < 0.7 * none
    assert right < 0.7 * wrong


def test_the_true_mask_lies_on_the_avid_region(patient):
    suv, transform = suv_image(patient.folder / "PET"), np.array(patient.record["mr_to_petct"])
    grid_mm = (
        np.argwhere(np.ones(patient.mask.shape, bool)) @ patient.mask_affine[:3, :3].T + patient.mask_affine[:3, 3]
    )
    values = at(suv, moved(grid_mm, transform))
    inside = patient.mask.ravel()
    assert np.nanmean(values[inside]) > 2.5 * np.nanmean(values[~inside])


def test_contours_hold_the_volume_of_the_true_mask(patient):
    contours_ml = abs(sum(shoelace_mm2(c) for c in contours_of(patient, "GTV_Mass"))) * 4.0 / 1000
    assert contours_ml == pytest.approx(patient.record["mass_ml"], rel=0.03)
    mask_ml = patient.mask.sum() * abs(np.linalg.det(patient.mask_affine[:3, :3])) / 1000
    assert mask_ml == pytest.approx(patient.record["mass_ml"])


def test_contours_lie_on_the_true_mask(patient):
    weights_mm2, middles_mm = [], []
    for contour in contours_of(patient, "GTV_Mass"):
        weights_mm2.append(abs(shoelace_mm2(contour)))
        middles_mm.append(np.array(contour.ContourData, float).reshape(-1, 3).mean(axis=0))
    middle_mm = np.average(middles_mm, axis=0, weights=weights_mm2) @ LPS_TO_RAS
    mask_mm = np.argwhere(patient.mask).mean(axis=0) @ patient.mask_affine[:3, :3].T + patient.mask_affine[:3, 3]
    assert np.linalg.norm(middle_mm - mask_mm) < 1.0


def test_edema_is_drawn_around_the_mass(patient):
    areas_mm2 = {n: abs(sum(map(shoelace_mm2, contours_of(patient, n)))) for n in ("GTV_Mass", "GTV_Edema")}
    assert areas_mm2["GTV_Edema"] > 1.1 * areas_mm2["GTV_Mass"]


def test_every_slice_through_the_mass_has_contours_on_its_plane(patient):
    planes_mm = {h.SOPInstanceUID: float(h.ImagePositionPatient[2]) for h in headers(patient.folder / "MR_T1")}
    drawn_mm = set()
    for contour in contours_of(patient, "GTV_Mass"):
        heights_mm = np.array(contour.ContourData, float)[2::3]
        plane_mm = planes_mm[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
        assert np.allclose(heights_mm, plane_mm, atol=1e-3)
        assert contour.NumberOfContourPoints == len(heights_mm) >= 4
        drawn_mm.add(plane_mm)
    mask_mm = (np.argwhere(patient.mask) @ patient.mask_affine[:3, :3].T + patient.mask_affine[:3, 3])[:, 2]
    crossed_mm = {z for z in planes_mm.values() if mask_mm.min() + 1 < z < mask_mm.max() - 1}
    assert crossed_mm <= drawn_mm


def test_traits_spread_over_any_number_of_patients():
    traits = [draw_traits(number, study_seed=SEED) for number in range(1, 11)]
    diameters_mm = np.sort([t.diameter_mm for t in traits])
    assert diameters_mm[0] < 35
    assert diameters_mm[-1] > 70
    assert np.diff(diameters_mm).max() < 12
    uptakes = np.array([t.viable_suv for t in traits])
    assert uptakes.min() < 2.0
    assert uptakes.max() > 7
    assert draw_traits(3, study_seed=SEED) == traits[2]


def test_smooth_noise_has_unit_variance_and_follows_its_scale():
    grid = centered_grid((40, 60, 50), (1.5, 1.5, 1.5))
    fields = np.stack([smooth_noise(grid, np.random.default_rng(n), scale_mm=(4, 4, 12)) for n in range(30)])
    assert fields.shape == (30, 40, 60, 50)
    assert fields.std() == pytest.approx(1, abs=0.05)
    steps = [np.diff(fields, axis=axis).std() for axis in (1, 2, 3)]
    assert steps[0] == pytest.approx(steps[1], rel=0.1)
    assert steps[0] == pytest.approx(3 * steps[2], rel=0.15)


def test_random_displacements_differ_and_stay_within_bounds():
    found = [random_displacement(np.random.default_rng(n), shift_mm=(2, 6), angle_deg=(1, 4)) for n in range(20)]
    lengths_mm = [np.linalg.norm(transform[:3, 3]) for transform in found]
    assert 2 <= min(lengths_mm) < max(lengths_mm) <= 6
    assert len({round(length, 6) for length in lengths_mm}) == 20


def header_of(name, frame="frame"):
    moment = datetime(2001, 1, 1, 9)
    person = Person("PH-999", "Phantom^999", datetime(1950, 2, 3), "O", 70.0, 1.7)
    return SeriesHeader(person, uid_of("study"), uid_of(name), uid_of(frame), 1, name, moment, moment)


@pytest.mark.parametrize("directions", [(-1, -1, 1), (1, 1, -1), (1, -1, 1), (-1, 1, -1)])
def test_a_written_voxel_is_read_at_its_place(tmp_path, directions):
    grid = centered_grid((7, 6, 5), (2.0, 1.5, 3.0), center_mm=(10, -20, 300), directions=directions)
    hu = np.full(grid.shape, -1000.0)
    hu[1, 4, 3] = 77
    write_ct(Volume(hu, grid.affine), tmp_path, header_of("ct"))
    point_mm = (grid.affine @ [1, 4, 3, 1])[:3]
    image = itk_image(tmp_path)
    assert at(image, point_mm[None])[0] == 77
    assert (sitk.GetArrayFromImage(image) == 77).sum() == 1


def test_structures_in_another_frame_than_their_images_are_refused(tmp_path):
    grid = centered_grid((4, 4, 2), (1.0, 1.0, 1.0))
    written = write_ct(Volume(np.zeros(grid.shape), grid.affine), tmp_path / "ct", header_of("ct"))
    square = Polygon(0, np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]))
    with pytest.raises(ValueError, match="expected frame"):
        write_structures({"A": [square]}, tmp_path / "rs.dcm", header_of("rs", frame="other"), drawn_on=written)
    assert not Path(tmp_path / "rs.dcm").exists()
