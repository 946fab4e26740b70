"""Whose the files below a folder are, by one header in each of its folders."""

import os
from collections.abc import Iterator
from pathlib import Path

import pydicom

from diffufuse.dicom.elements import UNREADABLE, kind_of, text_of
from diffufuse.dicom.file_names import named_like_dicom
from diffufuse.errors import BadInput

TAGS = ("PatientID", "IssuerOfPatientID", "StudyInstanceUID")


def identities_below(folder: Path) -> frozenset[str]:
    """Return the patients and studies of a folder's files, not to be shown or written.

    Only the first file of every folder is read, so that many cases take little time.

    Raises:
        BadInput: that file is unreadable.
    """
    return frozenset(identity for path in _first_files(folder) for identity in _identities_of(path))


def _first_files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        likely = sorted(name for name in names if not name.startswith(".") and named_like_dicom(Path(name)))
        if likely:
            yield Path(place, likely[0])


def _identities_of(path: Path) -> Iterator[str]:
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(TAGS))
    except UNREADABLE as error:
        raise BadInput(
            f"{path}: expected a readable DICOM file, but reading it failed ({kind_of(error)}); fetch it again."
        ) from error
    patient, issuer, study = (text_of(header, keyword, path).strip() for keyword in TAGS)
    if patient:
        yield f"patient {issuer}\\{patient}"
    if study:
        yield f"study {study}"
