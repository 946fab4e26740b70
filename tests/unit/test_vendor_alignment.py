"""The comparison with a publisher's alignment: known answers on a phantom whose displacement is known."""

import json
from datetime import datetime

import numpy as np
import pytest
from vendor_alignment import compared

from diffufuse.dicom.series import find_series, read_series
from diffufuse.phantom import write_phantom_patient
from diffufuse.phantom.dicom_headers import Person, SeriesHeader, uid_of
from diffufuse.phantom.dicom_writing import write_mr
from diffufuse.prepare.registration import write_transforms
from diffufuse.space.resampling import resample
from diffufuse.space.transforms import Transform, rigid_matrix

CASE = "PH-001"


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    """A phantom with the publisher's copy of its T1, truly aligned to PET; and the true transform."""
    folder = tmp_path_factory.mktemp("sts")
    write_phantom_patient(folder / "raw", folder / "truth", CASE, 1)
    truth = np.array(json.loads((folder / "truth" / f"{CASE}.json").read_text())["mr_to_petct"])
    [t1_series] = find_series(folder / "raw" / CASE / "MR_T1")
    [pet_series] = find_series(folder / "raw" / CASE / "PET")
    t1, pet = read_series(t1_series), read_series(pet_series)
    values, _ = resample(t1, pet, transform=Transform((np.linalg.inv(truth),)))
    moment = datetime(2001, 1, 1)
    header = SeriesHeader(
        person=Person(CASE, "Phantom^1", moment, "O", 70, 1.7),
        study_uid=uid_of("study"),
        series_uid=uid_of("aligned"),
        frame_uid=pet_series.frame_of_reference,
        number=12,
        description="Aligned_T1toPET_BOX",
        study_start=moment,
        start=moment,
    )
    write_mr(
        pet.with_array(np.clip(values, 0, None)),
        folder / "raw" / CASE / "ALIGNED",
        header,
        repetition_ms=550,
        echo_ms=12,
        fat_saturated=False,
        thickness_mm=3.27,
    )
    return folder / "raw" / CASE, truth


@pytest.mark.parametrize("off_mm", [0, 6])
def test_the_distance_is_that_of_the_two_alignments(patient, tmp_path, off_mm):
    folder, truth = patient
    ours = rigid_matrix([0, off_mm, 0], np.zeros(3), about_mm=np.zeros(3)) @ truth
    write_transforms({"pet": Transform((ours,))}, tmp_path / "transforms", case=CASE)
    found = compared(folder, tmp_path / "transforms", CASE)
    assert found.mean() == pytest.approx(off_mm, abs=0.6)


def test_without_the_publishers_copy_nothing_is_compared(patient, tmp_path):
    folder, _ = patient
    assert compared(folder / "MR_T1", tmp_path, CASE) is None
