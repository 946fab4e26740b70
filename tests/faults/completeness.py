"""Series that lack slices at an end of the stack, where no gap shows it."""

from collections.abc import Callable
from pathlib import Path

from diffufuse.dicom.series import find_series, read_stack
from diffufuse.dicom.stack import Stack
from faults import Fault
from faults.geometry import SLICES, as_written, changed, enhanced, filling, in_every_slice, read, save, stack_with

PET = {"Modality": "PT", "RescaleIntercept": -100.0}
CUT = (SLICES - 1,)


def saying(*leave_out: int, **changes: object) -> Callable[[Path], None]:
    """Writes the stack without some slices, with the same changes in every other."""
    return stack_with(in_every_slice(**changes), leave_out=leave_out)


def concatenation(*parts: int) -> Callable[[Path], None]:
    """Writes an enhanced multi-frame image in two files of three frames, or one of them."""

    def make(folder: Path) -> None:
        for part in parts:
            file = enhanced(range(3 * part, 3 * part + 3))
            said = {"ConcatenationUID": "1.2.9", "InConcatenationNumber": part + 1, "InConcatenationTotalNumber": 2}
            save(changed(file, said), folder / f"{part}.dcm")

    return make


def read_partial(folder: Path) -> Stack:
    (series,) = find_series(folder)
    return read_stack(series, partial=True)


def one_says(k: int, **changes: object) -> Callable[[Path], None]:
    slices = in_every_slice(**PET, NumberOfSlices=SLICES)
    slices[k] = {key: value for key, value in (slices[k] | changes).items() if value is not None}
    return stack_with(slices)


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "a PET without its last slice": (
        saying(*CUT, **PET, NumberOfSlices=SLICES),
        "6 slices, as NumberOfSlices says, got 5",
    ),
    "a PET without its first slice": (saying(0, **PET, NumberOfSlices=SLICES), "6 slices, as NumberOfSlices"),
    "a PET of more slices than it says": (
        saying(**PET, NumberOfSlices=SLICES - 1),
        "5 slices, as NumberOfSlices says, got 6",
    ),
    "one PET slice that counts otherwise": (one_says(2, NumberOfSlices=7), "NumberOfSlices of the other 5 slices"),
    "one PET slice that does not count": (one_says(2, NumberOfSlices=None), "NumberOfSlices of the other 5 slices"),
    "fewer files than the archive has of the series": (
        saying(*CUT, NumberOfSeriesRelatedInstances=SLICES),
        "6 files, as NumberOfSeriesRelatedInstances says, got 5",
    ),
    "fewer files than images in the series": (saying(*CUT, ImagesInSeries=SLICES), "6 files, as ImagesInSeries"),
    "fewer files than images of the acquisition": (
        saying(*CUT, ImagesInAcquisition=SLICES, AcquisitionNumber=1),
        "6 files, as ImagesInAcquisition",
    ),
    "fewer files than a half of the images of the acquisition": (
        saying(*CUT, ImagesInAcquisition=2 * SLICES, AcquisitionNumber=1),
        "12 files, as ImagesInAcquisition",
    ),
    "one of two acquisitions lacks a slice": (
        stack_with(
            {k: {"ImagesInAcquisition": 3, "AcquisitionNumber": 1 + k // 3} for k in range(SLICES)}, leave_out=CUT
        ),
        "3 files, as ImagesInAcquisition says, got 2",
    ),
    "a slice of acquisitions that are numbered by slice is missing": (
        stack_with({k: {"ImagesInAcquisition": SLICES, "AcquisitionNumber": k} for k in range(SLICES)}, leave_out=CUT),
        "6 files, as ImagesInAcquisition",
    ),
    "a part of a concatenation is missing": (concatenation(0), "2 files, as InConcatenationTotalNumber says, got 1"),
    "a number of slices that is none": (saying(**PET, ImagesInSeries=-1), "ImagesInSeries of at least 0"),
}

FAULTS = [
    *(
        Fault(f"completeness: {name}", make, read, refused=f"expected .*{reason}")
        for name, (make, reason) in REFUSED.items()
    ),
    Fault(
        "completeness: a PET of as many slices as it says", saying(**PET, NumberOfSlices=SLICES), read, right=as_written
    ),
    Fault(
        "completeness: a filled slice counts",
        saying(3, **PET, NumberOfSlices=SLICES),
        filling(1),
        right=lambda stack: stack.volume.shape[2] == SLICES,
    ),
    Fault(
        "completeness: a publisher's crop, which the block says",
        saying(*CUT, **PET, NumberOfSlices=SLICES),
        read_partial,
        right=lambda stack: stack.volume.shape[2] == SLICES - 1,
    ),
    Fault(
        "completeness: images of an acquisition that is spread over several series",
        saying(ImagesInAcquisition=SLICES - 2, AcquisitionNumber=1),
        read,
        right=as_written,
    ),
    Fault(
        "completeness: one of two series of an acquisition, as of two reconstructions",
        saying(ImagesInAcquisition=2 * SLICES, AcquisitionNumber=1),
        read,
        right=as_written,
    ),
    Fault(
        "completeness: acquisitions that are numbered by slice, and count the images of the series",
        stack_with({k: {"ImagesInAcquisition": SLICES, "AcquisitionNumber": k} for k in range(SLICES)}),
        read,
        right=as_written,
    ),
    Fault(
        "completeness: a derived stack that kept the count of its source",
        saying(ImagesInAcquisition=5 * SLICES + 1, AcquisitionNumber=1, ImageType=["DERIVED", "SECONDARY", "MPR"]),
        read,
        right=as_written,
    ),
    Fault("completeness: both parts of a concatenation", concatenation(0, 1), read, right=as_written),
]
