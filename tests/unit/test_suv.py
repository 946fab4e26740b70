"""SUV from tags: known numbers, and a refusal wherever a tag would have to be guessed."""

from datetime import datetime, timedelta

import numpy as np
import pytest
from pydicom.dataset import Dataset

from diffufuse.dicom.pet_tags import distinct
from diffufuse.dicom.pet_times import require_decay_factors
from diffufuse.dicom.series import Series, find_series, headers_of
from diffufuse.dicom.suv import suv_factor, to_suv
from diffufuse.errors import BadInput
from diffufuse.space.volumes import read_volume

HALF_LIFE_S = 6588.0
START = 1000 * 70.0 / 350e6 * 2 ** (3600 / HALF_LIFE_S)  # injected one hour before the scan
ADMIN = 1000 * 70.0 / 350e6


def pet_header(given: dict | None = None, **changes) -> Dataset:
    """70 kg, 350 MBq of F-18 at 10:00, scan at 11:00; `given` changes the administration, None removes a tag."""
    administration = Dataset()
    administration.RadionuclideTotalDose, administration.RadionuclideHalfLife = "350000000", str(HALF_LIFE_S)
    administration.RadiopharmaceuticalStartTime = "100000.00"
    header = Dataset()
    header.Units, header.DecayCorrection, header.PatientWeight = "BQML", "START", "70"
    header.CorrectedImage = ["DECY", "ATTN"]
    header.SeriesDate = header.AcquisitionDate = "20010203"
    header.SeriesTime = header.AcquisitionTime = "110000"
    header.RadiopharmaceuticalInformationSequence = [administration]
    for item, wanted in ((administration, given or {}), (header, changes)):
        for keyword, value in wanted.items():
            if value is None:
                delattr(item, keyword)
            else:
                setattr(item, keyword, value)
    return header


def with_vendor_start(group: int, creator: str, element: int, kind: str, value) -> Dataset:
    header = pet_header(SeriesTime="140000")
    header.private_block(group, creator, create=True).add_new(element, kind, value)
    return header


def test_start_corrected_activity_is_divided_by_the_dose_left_at_scan_start():
    assert suv_factor([pet_header()]) == pytest.approx(START, rel=1e-12)


def test_one_half_life_doubles_the_factor():
    assert suv_factor([pet_header({"RadionuclideHalfLife": "3600"})]) == pytest.approx(2 * ADMIN, rel=1e-12)


def test_activity_corrected_to_the_injection_needs_no_times():
    header = pet_header(DecayCorrection="ADMIN", SeriesTime=None, AcquisitionTime=None)
    assert suv_factor([header]) == pytest.approx(ADMIN, rel=1e-12)


@pytest.mark.parametrize("kind", ["BW", None])
def test_grams_per_milliliter_are_suv_already(kind):
    header = pet_header(Units="GML", PatientWeight=None)
    if kind:
        header.SUVType = kind
    assert suv_factor([header]) == 1.0


def test_all_beds_count_from_the_earlier_of_series_start_and_first_acquisition():
    beds = [pet_header(AcquisitionTime=time) for time in ("111500", "110500", "113000")]
    assert suv_factor(beds) == pytest.approx(START, rel=1e-12)
    reconstructed = [pet_header(AcquisitionTime=time, SeriesTime="150000") for time in ("111500", "110000")]
    assert suv_factor(reconstructed) == pytest.approx(START, rel=1e-12)


@pytest.mark.parametrize(
    ("group", "creator", "element", "kind", "value"),
    [
        (0x0009, "GEMS_PETD_01", 0x0D, "DT", "20010203110000.00"),
        (0x0009, "GEMS_PETD_01", 0x0D, "UN", b"20010203110000.00 "),
        (0x0071, "SIEMENS MED PT", 0x22, "DT", "20010203110000"),
    ],
)
def test_vendors_own_scan_start_comes_first(group, creator, element, kind, value):
    header = with_vendor_start(group, creator, element, kind, value)
    header.AcquisitionTime = "130000"
    assert suv_factor([header]) == pytest.approx(START, rel=1e-12)


def test_same_element_of_another_private_creator_is_not_a_scan_start():
    header = with_vendor_start(0x0009, "SOMEONE ELSE", 0x0D, "DT", "20010203120000.00")
    assert suv_factor([header]) == pytest.approx(START, rel=1e-12)


def test_scan_after_midnight_counts_from_the_evening_before():
    times = {"SeriesTime": "003000", "AcquisitionTime": "003000"}
    assert suv_factor([pet_header({"RadiopharmaceuticalStartTime": "233000"}, **times)]) == pytest.approx(START)
    dated = {"RadiopharmaceuticalStartTime": "233000", "RadiopharmaceuticalStartDateTime": "20010202233000"}
    assert suv_factor([pet_header(dated, **times)]) == pytest.approx(START, rel=1e-12)


def test_factor_does_not_depend_on_the_day():
    day = datetime(2001, 2, 3) + timedelta(days=3000)
    header = pet_header(SeriesDate=f"{day:%Y%m%d}", AcquisitionDate=f"{day:%Y%m%d}")
    assert suv_factor([header]) == suv_factor([pet_header()])


REFUSALS = {
    "weight missing": ({}, {"PatientWeight": None}, "PatientWeight"),
    "weight zero": ({}, {"PatientWeight": "0"}, "PatientWeight"),
    "weight in grams": ({}, {"PatientWeight": "70000"}, "PatientWeight"),
    "dose missing": ({"RadionuclideTotalDose": None}, {}, "RadionuclideTotalDose"),
    "dose zero": ({"RadionuclideTotalDose": "0"}, {}, "RadionuclideTotalDose"),
    "dose in MBq": ({"RadionuclideTotalDose": "350"}, {}, "RadionuclideTotalDose in Bq between 1e"),
    "half-life missing": ({"RadionuclideHalfLife": None}, {}, "RadionuclideHalfLife"),
    "half-life zero": ({"RadionuclideHalfLife": "0"}, {}, "RadionuclideHalfLife"),
    "half-life in minutes": ({"RadionuclideHalfLife": "109.8"}, {}, "within 10 half-lives"),
    "injection time missing": ({"RadiopharmaceuticalStartTime": None}, {}, "RadiopharmaceuticalStartTime"),
    "injection after scan": ({"RadiopharmaceuticalStartTime": "114000"}, {}, "got it 2400 s after"),
    "injection a day late": ({"RadiopharmaceuticalStartDateTime": "20010204100000"}, {}, "injection before the scan"),
    "injection without clock": ({"RadiopharmaceuticalStartDateTime": "20010203"}, {}, "time of day"),
    "injection in another zone": ({"RadiopharmaceuticalStartDateTime": "20010203100000+0100"}, {}, "one time zone"),
    "series time missing": ({}, {"SeriesTime": None}, "SeriesTime"),
    "acquisition time missing": ({}, {"AcquisitionTime": None}, "AcquisitionTime"),
    "acquisition time malformed": ({}, {"AcquisitionTime": "eleven"}, "AcquisitionTime"),
    "no administration": (
        {},
        {"RadiopharmaceuticalInformationSequence": None},
        "RadiopharmaceuticalInformationSequence",
    ),
    "no decay correction": ({}, {"DecayCorrection": "NONE"}, "DecayCorrection"),
    "decay correction missing": ({}, {"DecayCorrection": None}, "DecayCorrection"),
    "not decay corrected after all": ({}, {"CorrectedImage": ["ATTN", "SCAT"]}, "CorrectedImage"),
    "not attenuation corrected": ({}, {"CorrectedImage": ["DECY"]}, "CorrectedImage"),
    "counts": ({}, {"Units": "CNTS"}, "beside Units CNTS"),
    "unknown unit": ({}, {"Units": "PROPCNT"}, "got PROPCNT"),
    "no unit": ({}, {"Units": None}, "got none"),
    "lean body mass": ({}, {"Units": "GML", "SUVType": "LBM"}, "got LBM"),
}


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize("fault", REFUSALS)
def test_nothing_is_guessed(fault):
    given, changes, reason = REFUSALS[fault]
    with pytest.raises(BadInput, match=reason):
        suv_factor([pet_header(given, **changes)])


@pytest.mark.parametrize(
    "changes", [{"PatientWeight": "71"}, {"Units": "GML"}, {"given": {"RadionuclideTotalDose": "4e8"}}]
)
def test_slices_that_disagree_are_refused(changes):
    with pytest.raises(BadInput, match="in all slices"):
        suv_factor([pet_header(), pet_header(**changes)])


def test_slices_that_say_the_same_are_asked_once():
    first, same, other = pet_header(), pet_header(), pet_header({"RadionuclideTotalDose": "4e8"})
    assert distinct([first, same, other, same]) == [first, other]
    assert len(distinct([with_vendor_start(0x0009, "GEMS_PETD_01", 0x0D, "DT", "20010203110000.00"), first])) == 2


def test_all_slices_are_asked_where_they_differ():
    beds = [pet_header(AcquisitionTime=time) for time in ("111500", "111500", "104500")]
    assert suv_factor(beds) == pytest.approx(ADMIN * 2 ** (2700 / HALF_LIFE_S), rel=1e-12)


def test_free_text_in_place_of_a_code_is_not_repeated():
    with pytest.raises(BadInput, match="got free text") as refusal:
        suv_factor([pet_header(Units="Doe^Jane 19700101")])
    assert "Doe" not in str(refusal.value)


def test_other_modalities_have_no_suv(tmp_path):
    with pytest.raises(BadInput, match="got modality CT"):
        to_suv(Series("1.2", "CT", "", "", (tmp_path / "a.dcm",)))


@pytest.mark.real
def test_real_becquerels_become_the_published_suv(shared_data):
    (series,) = find_series(shared_data / "sts_raw/STS_001/FDG_PET/image")
    suv = to_suv(series)
    published = read_volume(shared_data / "sts_ibsi/nifti/STS_001/PET_image.nii.gz")
    to_index = np.linalg.inv(suv.affine) @ published.affine
    assert np.allclose(to_index[:3, :3], np.eye(3), atol=1e-5)
    first = np.round(to_index[:3, 3]).astype(int)
    shared = suv.array[tuple(slice(a, a + n) for a, n in zip(first, published.shape, strict=True))]
    assert shared.max() == pytest.approx(25.412298, abs=1e-6)
    assert shared.max() == pytest.approx(published.array.max(), rel=1e-6)
    # The published values were cut off to 32767 steps of their slice's maximum: ours exceed them by less than one step.
    whole = suv.array[:, :, first[2] : first[2] + published.shape[2]]
    excess_steps = (shared.astype(float) - published.array) / (whole.max(axis=(0, 1)) / 32767)
    assert excess_steps.min() > -0.05
    assert excess_steps.max() < 1.05


@pytest.mark.real
def test_real_decay_factors_fit_the_scan_start_and_no_other(shared_data):
    (series,) = find_series(shared_data / "sts_raw/STS_001/FDG_PET/image")
    headers = distinct(headers_of(series))
    factors = [float(header.DecayFactor) for header in headers]
    assert len(headers) == 6
    assert max(factors) > 1.13 * min(factors)
    scan = datetime(2000, 9, 7, 11, 20, 11)
    require_decay_factors(headers, reference=scan, scan=scan, half_life_s=HALF_LIFE_S)
    for minutes in (-45, -1, 1):
        with pytest.raises(BadInput, match="expected DecayFactor to fit"):
            require_decay_factors(
                headers, reference=scan + timedelta(minutes=minutes), scan=scan, half_life_s=HALF_LIFE_S
            )
    for header in headers:
        header.DecayCorrection = "ADMIN"
    with pytest.raises(BadInput, match="expected DecayFactor to fit"):
        suv_factor(headers)


@pytest.mark.real
def test_real_gml_series_is_the_published_suv(shared_data):
    (series,) = find_series(shared_data / "sts_ibsi/dicom/STS_002/PET/image")
    published = read_volume(shared_data / "sts_ibsi/nifti/STS_002/PET_image.nii.gz")
    assert np.allclose(to_suv(series).array, published.array, rtol=1e-6, atol=0)
