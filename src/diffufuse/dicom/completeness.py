"""Whether the files of a series are as many as its headers say.

A slice that is missing at an end of the stack leaves no gap, so that only these tags tell of it.
"""

import logging
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence

from diffufuse.dicom.decoding import DicomFile
from diffufuse.dicom.elements import whole_number
from diffufuse.dicom.uniform import texts_of
from diffufuse.errors import BadInput

log = logging.getLogger(__name__)

# Number of files of a series, as an archive writes it, or as older scanners did.
OF_THE_SERIES = ("NumberOfSeriesRelatedInstances", "ImagesInSeries")
# Of all series that an acquisition gave.
OF_AN_ACQUISITION = "ImagesInAcquisition"


def require_complete(files: Sequence[DicomFile], *, slices: int, filled: int) -> None:
    """Raise if a series has another number of slices or fewer files than its headers say.

    Args:
        files: all files of the series.
        slices: number of slices of its stack, without localizers, with those that were filled in.
        filled: number of those that were filled in.

    Raises:
        BadInput: NumberOfSlices is not the number of slices; there are fewer files than
            NumberOfSeriesRelatedInstances, ImagesInSeries or, of one acquisition, ImagesInAcquisition say, unless it
            may have given several series; or a part of a concatenation is missing.

    Source:
        DICOM PS3.3 C.8.9.1 (Number of Slices), C.7.6.1 (Images in Acquisition), C.7.6.16 (Concatenation).
    """
    said = _largest(files, "NumberOfSlices")
    if said not in (0, slices):
        raise _refusal(files, "slices", said, slices, "NumberOfSlices")
    for keyword, group in _counted_in_files(files):
        said = _largest(group, keyword)
        if said <= len(group) + filled or (keyword == OF_AN_ACQUISITION and said == len(files) + filled):
            continue
        if keyword != OF_AN_ACQUISITION or not _may_be_of_several_series(said, group, len(files) + filled):
            raise _refusal(group, "files", said, len(group), keyword)
        log.warning(
            "%s: %d of %d images of an acquisition; the others may be another series of it, or are missing.",
            *(group[0].path.parent, len(group), said),
        )
    _log_gaps_in_numbers(files)


def _counted_in_files(files: Sequence[DicomFile]) -> Iterator[tuple[str, Sequence[DicomFile]]]:
    """Yield each tag that counts files, with the files that it counts."""
    for parts in _by("ConcatenationUID", files):
        yield "InConcatenationTotalNumber", parts
    if len(files) > 1:  # a multi-frame file is one instance of several images
        for keyword in OF_THE_SERIES:
            yield keyword, files
        for acquired in _by("AcquisitionNumber", files):
            yield OF_AN_ACQUISITION, acquired


def _may_be_of_several_series(said: int, acquired: Sequence[DicomFile], whole: int) -> bool:
    """Return whether other series can explain why a series has fewer images than its acquisition gave.

    Those of other echoes, phases or reconstructions have as many slices each; a derived stack, such as one in another
    plane, has a number of its own and the count of its source.

    Args:
        said: number of images of the acquisition.
        acquired: those of the series.
        whole: number of all images of the series, whose acquisitions may be numbered by slice.
    """
    derived = all(text.split("\\")[0] == "DERIVED" for text in texts_of(acquired, "ImageType"))
    return derived or any(said % size == 0 for size in (len(acquired), whole) if size > 1)


def _by(keyword: str, files: Sequence[DicomFile]) -> list[list[DicomFile]]:
    groups: dict[str, list[DicomFile]] = defaultdict(list)
    for text, file in zip(texts_of(files, keyword), files, strict=True):
        groups[text].append(file)
    return list(groups.values())


def _largest(files: Sequence[DicomFile], keyword: str) -> int:
    """Return the largest number that a file says, 0 where none says any."""
    first = {text: file for text, file in zip(texts_of(files, keyword), files, strict=True) if text}
    return max((whole_number(file.header, keyword, file.path) for file in first.values()), default=0)


def _refusal(files: Sequence[DicomFile], what: str, said: int, got: int, keyword: str) -> BadInput:
    return BadInput(
        f"{files[0].path.parent}: expected {said} {what}, as {keyword} says, got {got}; fetch the series again, or say "
        "in its block why it is `partial`."
    )


def _log_gaps_in_numbers(files: Sequence[DicomFile]) -> None:
    """Warn of numbers that skip some; they may, as localizers or other echoes may have had them."""
    if len(files) == 1:  # with all its frames
        return
    numbers = sorted({float(text) for text in texts_of(files, "InstanceNumber") if _is_number(text)})
    missing = int(numbers[-1] - numbers[0]) + 1 - len(numbers) if numbers else 0
    if missing or (numbers and numbers[0] > 1):
        log.warning(
            "%s: %d files are numbered from %d to %d; complete by geometry, but an end may be missing.",
            *(files[0].path.parent, len(files), int(numbers[0]), int(numbers[-1])),
        )


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
