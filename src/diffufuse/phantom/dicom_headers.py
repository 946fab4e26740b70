"""What the headers of written DICOM files have in common: who, when, where, and how values are put down."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import format_number_as_ds


@dataclass(frozen=True)
class Person:
    """Who was examined.

    Attributes:
        patient_id: pseudonym.
        name: family and given name, joined by `^`.
        born: day of birth.
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
    """One series of one study.

    Attributes:
        person: who was examined.
        study_uid: of the study.
        series_uid: of the series; those of its images are derived from it.
        frame_uid: of the frame of reference.
        number: of the series within the study.
        description: what the scanner calls it.
        study_start: when the study began.
        start: when the series began.
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
    """What was injected before a PET scan.

    Attributes:
        dose_bq: activity at the time of injection.
        time: when it was injected.
        half_life_s: of the nuclide.
        positron_fraction: of its decays.
    """

    dose_bq: float
    time: datetime
    half_life_s: float
    positron_fraction: float


@dataclass(frozen=True)
class Written:
    """What a structure set needs to know of an image series: the series, its kind, its images by slice index."""

    series: SeriesHeader
    storage_uid: str
    image_uids: tuple[str, ...]


@dataclass(frozen=True)
class Polygon:
    """A closed polygon on one slice.

    Attributes:
        slice_index: along the third axis of the series it is drawn on.
        points_mm: (N, 3), RAS coordinates, mm.
    """

    slice_index: int
    points_mm: np.ndarray


def uid_of(*names: str | int) -> str:
    """A DICOM unique identifier that depends on the names alone."""
    return generate_uid(entropy_srcs=[str(name) for name in names])


def common_header(modality: str, storage_uid: str, series: SeriesHeader) -> Dataset:
    """What an image and a structure set alike say of patient, study and series."""
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
    """A dataset from its elements by keyword."""
    made = Dataset()
    for name, value in elements.items():
        setattr(made, name, value)
    return made


def decimal(value: float) -> str:
    """A number in at most 16 characters; tiny remainders of arithmetic become 0."""
    return format_number_as_ds(round(float(value), 9) + 0.0)


def date(moment: datetime) -> str:
    """The day as DICOM writes it."""
    return f"{moment:%Y%m%d}"


def time(moment: datetime) -> str:
    """The time of day as DICOM writes it."""
    return f"{moment:%H%M%S}.00"
