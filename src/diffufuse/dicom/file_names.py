"""Which files below a folder should be DICOM, by their names."""

import re
from pathlib import Path

from diffufuse.errors import BadInput
from diffufuse.files.tree import files_below

DICOM_SUFFIX = re.compile(r"|\.(dcm|dicom|dic|ima|[0-9]+)", re.IGNORECASE)
IMAGE_SUFFIX = re.compile(r"\.(dcm|dicom|dic|ima)", re.IGNORECASE)
# What archives, viewers and exports of Philips put beside images, under names without a suffix or with a number as one.
NOT_DICOM = re.compile(
    r"(dicomdir|dirfile|lockfile|license|licence|copying|readme|version|notice|changes|changelog|authors|manifest|index|"
    r"checksums?|(md5|sha1|sha256|sha512)(sums?)?|thumbs|desktop|autorun|icon\r?)(\.[0-9]+)?",
    re.IGNORECASE,
)
PREAMBLE_BYTES, MARK = 128, b"DICM"


def dicom_files(folder: Path) -> list[Path]:
    """Return the files below a folder that should be DICOM, sorted.

    Hidden files and folders are passed over, and files whose name is clearly that of something else. A file with
    another suffix is DICOM if its content says so.

    Raises:
        BadInput: a file with another suffix, a folder or a link cannot be opened.
    """
    return [path for path in files_below(folder) if _should_be_dicom(path)]


def named_like_dicom(path: Path) -> bool:
    """Return whether a file should be DICOM by its name."""
    if not IMAGE_SUFFIX.fullmatch(path.suffix) and NOT_DICOM.fullmatch(path.name):
        return False
    return DICOM_SUFFIX.fullmatch(path.suffix) is not None


def _should_be_dicom(path: Path) -> bool:
    return named_like_dicom(path) or (NOT_DICOM.fullmatch(path.name) is None and _is_marked(path))


def _is_marked(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(PREAMBLE_BYTES + len(MARK))[PREAMBLE_BYTES:] == MARK
    except OSError as error:
        raise BadInput(f"{path}: expected a readable file, got {error.strerror or 'an error'}; allow it.") from error
