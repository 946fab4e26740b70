"""Whose the files below a folder are, by one header in each of its folders."""

from collections.abc import Iterator
from pathlib import Path

import pydicom

from diffufuse.dicom.elements import refusing, text_of
from diffufuse.dicom.file_names import dicom_files

NO_ISSUER = "\\"  # which no value of a DICOM tag holds
TAGS = ("PatientID", "IssuerOfPatientID", "StudyInstanceUID")


def identities_below(folder: Path) -> frozenset[str]:
    """Return the patients and studies of a folder's files, not to be shown or written.

    Only the first file of every folder is read, so that many cases take little time. A patient without an issuer ends
    in `NO_ISSUER`, and may be any whose text begins likewise; one that another file gives an issuer is left out.

    Raises:
        BadInput: that file is unreadable, or something below the folder is.
    """
    found = {identity for path in _first_files(folder) for identity in _identities_of(path)}
    return frozenset(
        identity
        for identity in found
        if not identity.endswith(NO_ISSUER) or not any(other.startswith(identity) for other in found - {identity})
    )


def _first_files(folder: Path) -> list[Path]:
    first = {path.parent: path for path in reversed(dicom_files(folder))}
    return sorted(first.values())


def _identities_of(path: Path) -> Iterator[str]:
    with refusing(path):
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(TAGS))
    patient, issuer, study = (text_of(header, keyword, path).strip() for keyword in TAGS)
    if patient:
        yield f"patient {patient}{NO_ISSUER}{issuer}"
    if study:
        yield f"study {study}"
