"""A draft counts two folders of one patient as one patient, and says so without naming anyone."""

import logging
import shutil

import numpy as np
import pytest
from faults.geometry import PLANTED, in_every_slice, save, slice_of, write_stack

from diffufuse.fetch.manifest import contents_of, write_manifest
from diffufuse.ingest.formats import FORMATS
from diffufuse.ingest.patients import patients_of
from diffufuse.space.volumes import Volume, write_volume

FILES = {
    "reference": "ct",
    "modalities": {"ct": {"kind": "ct", "file": ["{case}/ct.nii.gz"]}},
    "annotation": {"file": ["{case}/labels.nii.gz"], "values": {1: "mass"}},
}


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "legs"
    folder.mkdir()
    return folder


@pytest.fixture
def drafted(raw, caplog):
    """Finds the patients of the raw folder's cases, and returns them with what was logged."""

    def find(format="dicom", block=None):
        manifest = raw.with_name("legs.manifest.tsv")
        write_manifest(manifest, contents_of(raw), address="here")
        names = FORMATS[format].list_cases(raw, block or {}).names
        with caplog.at_level(logging.WARNING):
            patients = patients_of(FORMATS[format], manifest, names, block=block or {})
        assert PLANTED not in caplog.text
        return patients, caplog.text

    return find


def write_visit(raw, case, *, patient, study, **tags):
    folder = raw / case / "CT"
    folder.mkdir(parents=True)
    write_stack(folder, in_every_slice(PatientID=patient, StudyInstanceUID=study, **tags))


def test_cases_of_different_patients_are_a_patient_each(raw, drafted):
    write_visit(raw, "A_1", patient="X", study="1.2.1")
    write_visit(raw, "B_1", patient="Y", study="1.2.2")
    assert drafted() == ({"A-1": "A-1", "B-1": "B-1"}, "")


def test_two_folders_of_one_patient_id_are_one_patient(raw, drafted):
    for case, patient in (("A_1", PLANTED), ("B_1", "Y"), ("C_1", PLANTED)):
        write_visit(raw, case, patient=patient, study=f"1.2.{ord(case[0])}")
    patients, logged = drafted()
    assert patients == {"A-1": "A-1", "B-1": "B-1", "C-1": "A-1"}
    assert "2 cases (A-1, C-1) are drafted as one patient, as their headers name one patient or one study" in logged


def test_one_id_of_two_issuers_is_two_patients_and_no_id_is_none(raw, drafted):
    write_visit(raw, "A_1", patient="X", study="1.2.1", IssuerOfPatientID="here")
    write_visit(raw, "B_1", patient="X", study="1.2.2", IssuerOfPatientID="there")
    write_visit(raw, "C_1", patient="", study="1.2.3")
    write_visit(raw, "D_1", patient="", study="1.2.4")
    assert drafted() == ({case: case for case in ("A-1", "B-1", "C-1", "D-1")}, "")


def test_an_id_without_an_issuer_is_that_patient_of_any_issuer(raw, drafted):
    write_visit(raw, "A_1", patient="X", study="1.2.1", IssuerOfPatientID="here")
    write_visit(raw, "B_1", patient="X", study="1.2.2")
    write_visit(raw, "C_1", patient="XY", study="1.2.3", IssuerOfPatientID="here")
    patients, logged = drafted()
    assert patients == {"A-1": "A-1", "B-1": "A-1", "C-1": "C-1"}
    assert "2 cases (A-1, B-1) are drafted as one patient" in logged


def test_a_structure_set_without_an_issuer_does_not_join_cases_of_two_issuers(raw, drafted):
    for case, issuer, study in (("A_1", "here", "1.2.1"), ("B_1", "there", "1.2.2")):
        write_visit(raw, case, patient="X", study=study, IssuerOfPatientID=issuer)
        header = slice_of(0, Modality="RTSTRUCT", PatientID="X", StudyInstanceUID=study, SeriesInstanceUID="1.2.9")
        (raw / case / "RT").mkdir()
        save(header, raw / case / "RT" / "1.dcm")
    assert drafted() == ({"A-1": "A-1", "B-1": "B-1"}, "")


def test_two_folders_of_one_study_are_one_patient(raw, drafted):
    write_visit(raw, "A_1", patient="", study="1.2.1")
    write_visit(raw, "B_1", patient="", study="1.2.1")
    assert drafted()[0] == {"A-1": "A-1", "B-1": "A-1"}


def test_a_patient_is_found_over_a_third_case(raw, drafted):
    for case, patient, study in (("A_1", "X", "1.2.1"), ("B_1", "Y", "1.2.2"), ("C_1", "Y", "1.2.1")):
        write_visit(raw, case, patient=patient, study=study)
    assert set(drafted()[0].values()) == {"A-1"}


def test_a_copied_folder_is_the_same_patient(raw, drafted):
    write_visit(raw, "A_1", patient="", study="")
    shutil.copytree(raw / "A_1", raw / "B_1")
    patients, logged = drafted()
    assert patients == {"A-1": "A-1", "B-1": "A-1"}
    assert "as they hold the same image files" in logged


def test_a_damaged_file_leaves_its_case_a_patient_of_its_own(raw, drafted):
    write_visit(raw, "A_1", patient="X", study="1.2.1")
    write_visit(raw, "B_1", patient="X", study="1.2.2")
    (raw / "B_1" / "CT" / "0.dcm").write_text("<html>")
    patients, logged = drafted()
    assert patients == {"A-1": "A-1", "B-1": "B-1"}
    assert "B-1 is drafted as a patient of its own: " in logged


def test_the_same_nifti_image_is_one_patient_and_the_same_empty_labels_are_not(raw, drafted):
    for case, seed in (("A", 0), ("B", 1), ("C", 0)):
        (raw / case).mkdir()
        values = np.random.default_rng(seed).normal(size=(4, 4, 4)).astype(np.float32)
        write_volume(Volume(values, np.eye(4)), raw / case / "ct.nii.gz")
        write_volume(Volume(np.zeros((4, 4, 4), np.uint8), np.eye(4)), raw / case / "labels.nii.gz")
    assert drafted("nifti", FILES)[0] == {"A": "A", "B": "B", "C": "A"}
