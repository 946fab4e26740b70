"""Common DICOM header elements of the phantom: patient, study and series, and value formatting."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import format_number_as_ds


@dataclass(frozen=True)
class Person:
    """The examined patient.

    Attributes:
        patient_id: pseudonym.
        name: family and given name, joined by `^`.
        born: date of birth.
        sex: M, F or O.
        weight_kg: body weight.
        height_m: body height.
    """

    patient_id: str
    name: str
    born: datetime
    sex: str
    weight_kg: float
    height_m: float


@dataclass(frozen=True)
class SeriesHeader:
    """Header data of a series.

    Attributes:
        person: the examined patient.
        study_uid: StudyInstanceUID.
        series_uid: SeriesInstanceUID; the SOPInstanceUIDs are derived from it.
        frame_uid: FrameOfReferenceUID.
        number: SeriesNumber.
        description: SeriesDescription.
        study_start: start of the study.
        start: start of the series.
    """

    person: Person
    study_uid: str
    series_uid: str
    frame_uid: str
    number: int
    description: str
    study_start: datetime
    start: datetime


@dataclass(frozen=True)
class Injection:
    """The injection before a PET scan.

    Attributes:
        dose_bq: activity at the time of injection.
        time: time of injection.
        half_life_s: half-life of the nuclide.
        positron_fraction: fraction of decays by positron emission.
    """

    dose_bq: float
    time: datetime
    half_life_s: float
    positron_fraction: float


@dataclass(frozen=True)
class Written:
    """A written image series as referenced by a structure set: header, SOP class, SOPInstanceUIDs by slice index."""

    series: SeriesHeader
    storage_uid: str
    image_uids: tuple[str, ...]


@dataclass(frozen=True)
class Polygon:
    """A closed polygon on one slice.

    Attributes:
        slice_index: index along the third axis of the referenced series.
        points_mm: (N, 3), RAS coordinates, mm.
    """

    slice_index: int
    points_mm: np.ndarray


def uid_of(*names: str | int) -> str:
    """Return a DICOM UID that is determined by the names."""
    return generate_uid(entropy_srcs=[str(name) for name in names])


def common_header(modality: str, storage_uid: str, series: SeriesHeader) -> Dataset:
    """Return the patient, study and series elements common to images and structure sets."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SpecificCharacterSet = "ISO_IR 100"
    header.SOPClassUID = storage_uid
    header.Modality = modality
    header.Manufacturer = "Phantom"
    header.ManufacturerModelName = "Thigh"
    header.StudyDate, header.StudyTime = date(series.study_start), time(series.study_start)
    header.SeriesDate, header.SeriesTime = date(series.start), time(series.start)
    header.AccessionNumber, header.StudyID = f"A{series.study_start:%y%m%d%H%M}-{series.number}", ""
    header.ReferringPhysicianName, header.InstitutionName = "Referring^Phantom", "Phantom Hospital"
    header.SeriesDescription = series.description
    header.PatientName, header.PatientID = series.person.name, series.person.patient_id
    header.PatientBirthDate, header.PatientSex = date(series.person.born), series.person.sex
    header.PatientWeight, header.PatientSize = decimal(series.person.weight_kg), decimal(series.person.height_m)
    header.StudyInstanceUID, header.SeriesInstanceUID = series.study_uid, series.series_uid
    header.FrameOfReferenceUID = series.frame_uid
    header.SeriesNumber = series.number
    header.InstanceNumber = 1
    return header


def dataset(**elements: Any) -> Dataset:
    """Return a dataset with the given elements, by keyword."""
    result = Dataset()
    for name, value in elements.items():
        setattr(result, name, value)
    return result


def decimal(value: float) -> str:
    """Format a number as a decimal string (DS) of at most 16 characters, rounded to 9 decimals."""
    return format_number_as_ds(round(float(value), 9) + 0.0)


def date(moment: datetime) -> str:
    """Format a date as DICOM DA."""
    return f"{moment:%Y%m%d}"


def time(moment: datetime) -> str:
    """Format a time of day as DICOM TM."""
    return f"{moment:%H%M%S}.00"
