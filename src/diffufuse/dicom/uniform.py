"""Tags that say the same in all files of a series; a file that says otherwise is another's, or damaged."""

import math
from collections import Counter
from collections.abc import Callable, Sequence

from pydicom.dataelem import RawDataElement

from diffufuse.dicom.decoding import DicomFile
from diffufuse.dicom.elements import tag_of, text_of
from diffufuse.errors import BadInput

# Whose and of what examination a series is: never two in one series.
IDENTITY = {
    "Modality": "modality",
    "PatientID": "patient",
    "PatientBirthDate": "date of birth",
    "PatientSex": "sex",
    "StudyInstanceUID": "study",
    "FrameOfReferenceUID": "frame of reference",
}
# What a scanner writes once for a stack. It may differ over half of the slices; but not in few against many. A
# description may: General Electric puts the second of a calculation into those of its maps.
OF_THE_STACK = (
    *("SeriesNumber", "Manufacturer", "ManufacturerModelName", "PatientWeight"),
    *("SliceThickness", "KVP", "RepetitionTime", "EchoTime", "MagneticFieldStrength"),
    *("BitsAllocated", "BitsStored", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("RescaleSlope", "RescaleIntercept", "Units", "DecayCorrection", "NumberOfSlices"),
)
# Relative differences that say nothing: of numbers computed anew for each slice, and of the heartbeats or breaths for
# which a gated series waits.
ROUNDED = dict.fromkeys(("SliceThickness", "KVP", "EchoTime", "MagneticFieldStrength"), 1e-3) | {"RepetitionTime": 0.5}
SLOPE_OF_EACH_SLICE = {"PT": ("RescaleSlope",)}
FEW = 0.1
LEAST_FILES = 3


def plain_number(text: str) -> str:
    """Return a text without spaces around it, and a number in one way of writing it."""
    try:
        return repr(float(text) + 0.0)  # 0 for -0
    except ValueError:
        return text.strip()


def texts_of(files: Sequence[DicomFile], keyword: str, *, plain: Callable[[str], str] = plain_number) -> list[str]:
    """Return a tag's text in each file, empty where it is absent; bytes that are the same are decoded once.

    Args:
        files: of one series.
        keyword: keyword of the tag.
        plain: makes texts that mean the same equal; of an identifier, 007 and 7 are two.
    """
    tag, values = tag_of(keyword), []
    texts: dict[tuple[str | None, bytes], str] = {}
    for file in files:
        element = file.header.get_item(tag, keep_deferred=True)
        if element is None:
            values.append("")
        elif isinstance(element, RawDataElement) and isinstance(element.value, bytes):
            stored = element.VR, element.value
            if stored not in texts:
                texts[stored] = plain(text_of(file.header, keyword, file.path))
            values.append(texts[stored])
        else:
            values.append(plain(text_of(file.header, keyword, file.path)))
    return values


def require_identity(files: Sequence[DicomFile]) -> None:
    """Raise if files of one series differ in patient, study, frame of reference or modality.

    Raises:
        BadInput: they differ; the message says in what, and not what they hold.
    """
    for keyword, noun in IDENTITY.items():
        values = set(texts_of(files, keyword, plain=str.strip))
        if len(values) > 1:
            raise BadInput(
                f"{files[0].path.parent}: expected one {noun} in a series, got {len(values)} among {len(files)} files; "
                "separate the examinations."
            )


def require_uniform(files: Sequence[DicomFile]) -> None:
    """Raise if few files of a stack contradict all others in a tag that a scanner writes once for the stack.

    Numbers that differ by less than `ROUNDED` do not contradict each other.

    Args:
        files: of one stack, without localizers.

    Raises:
        BadInput: at most a tenth of the files, or a single one, has another value than all the others.
    """
    if len(files) < LEAST_FILES:
        return
    varying = SLOPE_OF_EACH_SLICE.get(text_of(files[0].header, "Modality", files[0].path), ())
    for keyword in OF_THE_STACK:
        if keyword not in varying:
            _require_agreement(files, keyword)


def _require_agreement(files: Sequence[DicomFile], keyword: str) -> None:
    values = texts_of(files, keyword)
    if len(set(values)) == 1:
        return
    usual, count = Counter(values).most_common(1)[0]
    odd = [file for file, value in zip(files, values, strict=True) if not _alike(value, usual, keyword)]
    if 0 < len(odd) <= max(1, FEW * len(files)) and count > 1:
        raise BadInput(
            f"{odd[0].path}: expected the {keyword} of the other {count} slices, got another or none; fetch the file "
            "again, or remove it if it is of another series."
        )


def _alike(value: str, usual: str, keyword: str) -> bool:
    if value == usual or keyword not in ROUNDED:
        return value == usual
    try:
        return math.isclose(float(value), float(usual), rel_tol=ROUNDED[keyword])
    except ValueError:
        return False
