"""Files whose planes do not make a stack, or make one in an unusual way; and the makers of such files."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    EnhancedPETImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from diffufuse.dicom.series import find_series, read_stack
from diffufuse.dicom.stack import Stack
from faults import Fault

SLICES, ROWS, COLUMNS = 6, 16, 18
AXIAL = (1, 0, 0, 0, 1, 0)
CORONAL = (1, 0, 0, 0, 0, -1)
PLANTED = "9.8.7"  # in the identifiers that no message may print
EIGHT_BITS = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0}
ENHANCED = {"CT": EnhancedCTImageStorage, "MR": EnhancedMRImageStorage, "PT": EnhancedPETImageStorage}


def stored_values(k: int) -> np.ndarray:
    """(rows, columns), int16, as the file of slice k stores them."""
    return (np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) + 100 * k).astype(np.int16)


def true_values(count: int = SLICES) -> np.ndarray:
    """(columns, rows, slices) in RAS order, as the untouched stack means them."""
    planes = [stored_values(k) * (1.0 + k) - 100 for k in range(count)]
    return np.stack([plane.T[::-1, ::-1] for plane in planes], axis=-1).astype(np.float32)


def slice_of(k: int, **changes: Any) -> Dataset:
    """Slice k of a small axial CT: 3 mm apart, 2 mm between rows, 1.5 mm between columns; None removes a tag."""
    header = Dataset()
    header.SOPClassUID, header.SOPInstanceUID = CTImageStorage, generate_uid()
    header.SeriesInstanceUID, header.FrameOfReferenceUID, header.Modality = "1.2.3", "1.2.4", "CT"
    header.StudyInstanceUID, header.PatientID = "1.2.5", "P1"
    header.Manufacturer, header.PatientName, header.StudyDate = "Maker", "Planted^Name", "20010203"
    header.SeriesDescription, header.SliceThickness = "Planted^Name", "9"
    header.InstanceNumber = SLICES - k
    header.ImagePositionPatient = [-10.0, -20.0, 30.0 + 3.0 * k]
    header.ImageOrientationPatient, header.PixelSpacing = list(AXIAL), [2.0, 1.5]
    header.Rows, header.Columns, header.SamplesPerPixel = ROWS, COLUMNS, 1
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.RescaleSlope, header.RescaleIntercept = 1.0 + k, -100.0
    header.PixelData = stored_values(k).tobytes()
    return changed(header, changes)


def changed(header: Dataset, changes: Mapping[str, Any]) -> Dataset:
    """The header with some tags set; those set to None are removed."""
    for keyword, value in changes.items():
        if value is None:
            delattr(header, keyword)
        else:
            setattr(header, keyword, value)
    return header


def save(header: Dataset, path: Path, syntax: str = ExplicitVRLittleEndian) -> Path:
    """Write a file whose pixels are stored as the syntax says, but for the byte order, which is the caller's."""
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = syntax
    if "PixelData" in header:
        header["PixelData"].VR = "OW"
    header.save_as(path, enforce_file_format=True)
    return path


def write_stack(
    folder: Path,
    changes: Mapping[int, Mapping[str, Any]] | None = None,
    leave_out: Iterable[int] = (),
    count: int = SLICES,
) -> None:
    """Write the stack into files whose names are in another order than its slices."""
    for k in set(range(count)) - set(leave_out):
        save(slice_of(k, **(changes or {}).get(k, {})), folder / f"{(k * 5) % 7 + 7 * (k // 7)}.dcm")


def in_every_slice(*, count: int = SLICES, **changes: Any) -> dict[int, dict[str, Any]]:
    """The same changes in every slice."""
    return {k: dict(changes) for k in range(count)}


def positioned(position_of: Callable[[int], Sequence[float]], **changes: Any) -> dict[int, dict[str, Any]]:
    """Every slice at a place of its own."""
    return {k: {"ImagePositionPatient": [float(part) for part in position_of(k)], **changes} for k in range(SLICES)}


def enhanced(
    order: Sequence[int] = range(SLICES), *, modality: str = "CT", contents: Sequence[Mapping[str, Any]] | None = None
) -> Dataset:
    """The stack as one enhanced multi-frame file, its frames in the given order."""
    file = slice_of(0, SOPClassUID=ENHANCED[modality], Modality=modality, NumberOfFrames=len(order))
    for keyword in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "RescaleSlope",
        "SliceThickness",
    ):
        delattr(file, keyword)
    del file.RescaleIntercept
    shared = Dataset()
    shared.PlaneOrientationSequence = [changed(Dataset(), {"ImageOrientationPatient": list(AXIAL)})]
    shared.PixelMeasuresSequence = [changed(Dataset(), {"PixelSpacing": [2.0, 1.5], "SliceThickness": 9.0})]
    file.SharedFunctionalGroupsSequence = [shared]
    file.PerFrameFunctionalGroupsSequence = [
        _frame(k, (contents or [{}] * len(order))[index]) for index, k in enumerate(order)
    ]
    file.PixelData = b"".join(stored_values(k).tobytes() for k in order)
    return file


def _frame(k: int, content: Mapping[str, Any]) -> Dataset:
    frame = Dataset()
    frame.PlanePositionSequence = [changed(Dataset(), {"ImagePositionPatient": [-10.0, -20.0, 30.0 + 3.0 * k]})]
    frame.PixelValueTransformationSequence = [
        changed(Dataset(), {"RescaleSlope": 1.0 + k, "RescaleIntercept": -100.0, "RescaleType": "HU"})
    ]
    frame.FrameContentSequence = [changed(Dataset(), dict(content))]
    return frame


def big_endian(folder: Path) -> None:
    for k in range(SLICES):
        save(slice_of(k, PixelData=stored_values(k).astype(">i2").tobytes()), folder / f"{k}.dcm", ExplicitVRBigEndian)


def bytes_in_words(folder: Path) -> None:
    """8-bit pixels in a big-endian file, each two of them swapped as one word."""
    words = ramp().reshape(-1, 2)[:, ::-1].tobytes()
    for k in range(SLICES):
        save(slice_of(k, **EIGHT_BITS, PixelData=words), folder / f"{k}.dcm", ExplicitVRBigEndian)


def private_syntax(folder: Path) -> None:
    in_syntax(ImplicitVRLittleEndian)(folder)
    for path in folder.iterdir():
        file = dcmread(path)
        file.file_meta.TransferSyntaxUID = "1.2.840.113619.5.2"
        file.save_as(path, implicit_vr=True, little_endian=True)


def in_syntax(syntax: str) -> Callable[[Path], None]:
    """Writes the stack uncompressed in a syntax of little bytes."""

    def make(folder: Path) -> None:
        for k in range(SLICES):
            save(slice_of(k), folder / f"{k}.dcm", syntax)

    return make


def compressed(syntax: str) -> Callable[[Path], None]:
    """Writes the stack compressed by pydicom's encoders."""

    def make(folder: Path) -> None:
        write_stack(folder)
        for path in folder.iterdir():
            file = dcmread(path)
            file.compress(syntax, generate_instance_uid=False)
            file.save_as(path)

    return make


def transcoded(syntax: int, **changes: Any) -> Callable[[Path], None]:
    """Writes the stack compressed by gdcm."""

    def make(folder: Path) -> None:
        write_stack(folder, in_every_slice(**changes))
        for path in folder.iterdir():
            transcode(path, syntax)

    return make


def transcode(path: Path, syntax: int) -> None:
    """Compress a file in place by gdcm."""
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


def read(folder: Path, **options: Any) -> Stack:
    (series,) = find_series(folder)
    return read_stack(series, **options)


def filling(most: int) -> Callable[[Path], Stack]:
    return lambda folder: read(folder, fill_gaps=most)


def as_written(stack: Stack) -> bool:
    """Whether the stack is the untouched one, voxel by voxel, in its place."""
    volume = stack.volume
    origin = [10 - 1.5 * (COLUMNS - 1), 20 - 2.0 * (ROWS - 1), 30]
    return (
        np.array_equal(volume.array, true_values())
        and np.allclose(volume.spacing_mm, (1.5, 2.0, 3.0))
        and np.allclose(volume.affine[:3, 3], origin)
    )


def stack_with(changes: Mapping[int, Mapping[str, Any]] | None = None, **options: Any) -> Callable[[Path], None]:
    return lambda folder: write_stack(folder, changes, **options)


def stack_and(*others: Dataset) -> Callable[[Path], None]:
    """Writes the stack and other images of the same series."""

    def make(folder: Path) -> None:
        write_stack(folder)
        for index, other in enumerate(others):
            save(other, folder / f"other{index}.dcm")

    return make


def one_file(header: Callable[[], Dataset]) -> Callable[[Path], None]:
    return lambda folder: save(header(), folder / "frames.dcm") and None


def cut_off(make: Callable[[Path], None]) -> Callable[[Path], None]:
    """Writes as `make` does, but for the last bytes of a file."""

    def cut(folder: Path) -> None:
        make(folder)
        path = folder / "3.dcm"
        path.write_bytes(path.read_bytes()[:-7])

    return cut


def html_page(folder: Path) -> None:
    write_stack(folder)
    (folder / "3.dcm").write_text("<html>404</html>")


def oblique(folder: Path) -> None:
    row, column = np.array([0.8, 0.6, 0]), np.array([-0.36, 0.48, -0.8])
    normal = np.cross(row, column)
    write_stack(folder, positioned(lambda k: 5 + 3.0 * k * normal, ImageOrientationPatient=[*row, *column]))


def is_oblique(stack: Stack) -> bool:
    """Slice 4, row 1, column 3 lies where its header says."""
    row, column = np.array([0.8, 0.6, 0]), np.array([-0.36, 0.48, -0.8])
    lps = 5 + 3.0 * 4 * np.cross(row, column) + 1.5 * 3 * row + 2.0 * 1 * column
    index = np.linalg.inv(stack.volume.affine) @ [-lps[0], -lps[1], lps[2], 1]
    value = stack.volume.array[tuple(np.round(index[:3]).astype(int))]
    return bool(value == stored_values(4)[1, 3] * 5 - 100) and stack.facts["obliquity_degrees"] > 30


def unpadded_lowest(stack: Stack) -> bool:
    expected = true_values()
    expected[expected == -100] = stack.volume.array.min()
    lowest = np.sort(true_values().ravel())[1]
    return np.array_equal(stack.volume.array, expected) and stack.volume.array.min() == lowest


def overlaid(k: int) -> bytes:
    """12-bit numbers with a graphic in the four bits above."""
    return (stored_values(k).astype(np.uint16) | 0x5000).tobytes()


def twelve_bits(k: int, **changes: Any) -> dict[str, Any]:
    return {"BitsStored": 12, "HighBit": 11, **changes}


def filled_linearly(stack: Stack) -> bool:
    expected = true_values()
    expected[..., 3] = (expected[..., 2] + expected[..., 4]) / 2
    same_place = np.allclose(stack.volume.spacing_mm, (1.5, 2.0, 3.0))
    return same_place and np.allclose(stack.volume.array, expected) and stack.facts["slices_filled"] == 1


def ramp() -> np.ndarray:
    """(rows, columns), gray values of 8 bits that grow along both axes."""
    return np.add.outer(np.arange(ROWS), 2 * np.arange(COLUMNS)).astype(np.uint8)


def off_ramp(stack: Stack) -> float:
    return float(np.abs(stack.volume.array[..., 0] + 100 - ramp().T[::-1, ::-1]).max())


def is_ramp(stack: Stack) -> bool:
    return off_ramp(stack) == 0 and "lossy_compression" not in stack.facts


def is_nearly_a_ramp(stack: Stack) -> bool:
    """A lossy stack is near the truth and says that it is lossy."""
    return off_ramp(stack) <= 3 and stack.facts["lossy_compression"] is True


def lossy(folder: Path) -> None:
    write_stack(folder, in_every_slice(**EIGHT_BITS, PixelData=ramp().tobytes()))
    for path in folder.iterdir():
        transcode(path, gdcm.TransferSyntax.JPEGBaselineProcess1)


def times(folder: Path) -> None:
    for time in range(3):
        for k in range(SLICES):
            save(slice_of(k), folder / f"{time}_{k}.dcm")


SHUFFLED = (4, 0, 5, 2, 1, 3)
NO_ID = rf"^(?!.*{PLANTED.replace('.', '[.]')})"
SCOUT = {"ImageOrientationPatient": list(CORONAL), "ImagePositionPatient": [-10.0, 3.0, 90.0]}
CUT = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "PixelSpacing": [4.0, 4.0]}

REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a slice is missing": (
        stack_with(leave_out=[3]),
        r"6\.00 mm lie between \S+ at 36\.00 mm and \S+ at 42\.00 mm; fetch the 1 missing slice",
    ),
    "a slice file is truncated": (
        cut_off(write_stack),
        r"3\.dcm: .* its \d+ bytes cannot be read \(pixels: 569 bytes where 576",
    ),
    "a slice file is a web page": (html_page, r"3\.dcm: .* its 16 bytes cannot be read"),
    "a slice faces another way": (stack_with({2: SCOUT}), "one orientation"),
    "two stacks of one size share the series": (
        stack_and(*(slice_of(k, **SCOUT | {"ImagePositionPatient": [-10.0, 3.0 * k, 90.0]}) for k in range(SLICES))),
        r"one orientation .*\(stacks of 6, 6 slices",
    ),
    "all images are localizers of several orientations": (
        stack_with(in_every_slice(ImageType=CUT["ImageType"]) | {5: SCOUT | CUT}),
        "one orientation",
    ),
    "an unexplained slice of another pixel spacing": (
        stack_with({5: {"PixelSpacing": [2.0, 2.0]}}),
        "one pixel spacing",
    ),
    "an unexplained slice of another size": (stack_with({0: {"Rows": COLUMNS, "Columns": ROWS}}), "one number of rows"),
    "slices are unevenly spaced": (
        stack_with({5: {"ImagePositionPatient": [-10.0, -20.0, 46.0]}}),
        r"every 3\.00 mm, but 4\.00 mm .* resample",
    ),
    "two slices lie at one position": (
        stack_with({2: {"ImagePositionPatient": [-10.0, -20.0, 33.0]}}),
        r"are the same at 33\.00 mm \(1 of 6",
    ),
    "two slices lie almost at one position": (
        stack_with({2: {"ImagePositionPatient": [-10.0, -20.0, 33.1]}}),
        r"are the same at 33\.00 mm",
    ),
    "time frames share a series": (times, r"are the same .*\(12 of 18 .*separate the time frames"),
    "the gantry is tilted": (
        stack_with(positioned(lambda k: (-10, -20 + k, 30 + 3 * k))),
        r"lean by 18\.43 degrees along their columns",
    ),
    "the stack leans sideways": (
        stack_with(positioned(lambda k: (-10 + 0.1 * k, -20, 30 + 3 * k))),
        r"lean by 1\.91 degrees along their rows",
    ),
    "a slice is off the line": (
        stack_with({2: {"ImagePositionPatient": [-8.0, -20.0, 36.0]}}),
        r"on one line, but this one is 2\.00 mm off along its rows",
    ),
    "directions are not at right angles": (
        stack_with(in_every_slice(ImageOrientationPatient=[1, 0, 0, 0.1, 1, 0])),
        "at right angles",
    ),
    "there is one slice only": (stack_with(leave_out=range(1, SLICES)), "the series has one"),
    "a slice does not say where it lies": (
        stack_with({3: {"ImagePositionPatient": None}}),
        "ImagePositionPatient, which is missing",
    ),
    "a slice does not say which way it faces": (
        stack_with({3: {"ImageOrientationPatient": None}}),
        "ImageOrientationPatient, which is missing",
    ),
    "a CT slice has no slope": (stack_with({3: {"RescaleSlope": None}}), "RescaleSlope, which is missing"),
    "a slope is zero": (stack_with({3: {"RescaleSlope": 0}}), "RescaleSlope other than 0"),
    "pixels have no size": (stack_with(in_every_slice(PixelSpacing=[0, 1.5])), "positive spacing"),
    "the used bits are not the lowest": (stack_with(in_every_slice(BitsStored=12)), "HighBit below BitsStored"),
    "pixels are stored in a manner of the maker's own": (private_syntax, "got a private one"),
    "two modalities share a series": (stack_with({3: {"Modality": "MR"}}), "one modality in a series"),
    "gray values are inverted": (
        stack_with(in_every_slice(PhotometricInterpretation="MONOCHROME1")),
        "grow with the signal .*MONOCHROME1",
    ),
    "pictures are in color": (stack_with(in_every_slice(SamplesPerPixel=3)), "leave color images out"),
    "another patient's slice": (stack_with({3: {"PatientID": PLANTED}}), NO_ID + ".*one patient in a series, got 2"),
    "another study's slice": (stack_with({3: {"StudyInstanceUID": PLANTED}}), NO_ID + ".*one study in a series"),
    "a slice in another frame of reference": (
        stack_with({3: {"FrameOfReferenceUID": PLANTED}}),
        NO_ID + ".*one frame of reference",
    ),
    "frames say nothing of their places": (
        one_file(lambda: slice_of(0, NumberOfFrames=2, PixelData=2 * stored_values(0).tobytes())),
        "a place for each frame",
    ),
    "frames of several times": (
        one_file(lambda: enhanced([0, 1, 0, 1], contents=[{"TemporalPositionIndex": 1 + i // 2} for i in range(4)])),
        "frames of one time, got 2",
    ),
    "frames of several stacks": (
        one_file(lambda: enhanced([0, 1, 2, 3], contents=[{"StackID": str(i // 2)} for i in range(4)])),
        "frames of one stack, got 2",
    ),
    "frames of several echoes at one position": (one_file(lambda: enhanced([0, 1, 1, 2])), "are the same"),
    "a frame is missing": (one_file(lambda: enhanced([0, 1, 3, 4, 5])), "frame 2 at 33.00 mm and frames.dcm frame 3"),
    "fewer frames described than stored": (
        one_file(lambda: changed(enhanced(), {"NumberOfFrames": 7})),
        "functional groups for every frame",
    ),
    "a deflated file is truncated": (cut_off(in_syntax(DeflatedExplicitVRLittleEndian)), "cannot be read"),
    "a compressed file is truncated": (cut_off(compressed(RLELossless)), "cannot be read"),
    "compressed pixels under an uncompressed syntax": (
        stack_with({3: {"PixelData": stored_values(3).tobytes() * 2}}),
        "1152 bytes where 576",
    ),
}

READ: dict[str, tuple[Callable[[Path], object], Callable[[Stack], bool]]] = {
    "files and numbers in another order than the slices": (stack_with(), as_written),
    "thickness and stated spacing are not the distance": (
        stack_with(in_every_slice(SliceThickness="1", SpacingBetweenSlices="12")),
        as_written,
    ),
    "a localizer lies in the series": (
        stack_and(slice_of(0, **SCOUT)),
        lambda stack: as_written(stack) and stack.facts["localizers_left_out"] == 1,
    ),
    "a localizer that says so": (
        stack_and(slice_of(0, **CUT), slice_of(3, **CUT), slice_of(4, **CUT)),
        lambda stack: as_written(stack) and stack.facts["localizers_left_out"] == 3,
    ),
    "a localizer that says so, of the stack's own orientation and size": (
        stack_and(slice_of(2, ImageType=CUT["ImageType"])),
        lambda stack: as_written(stack) and stack.facts["localizers_left_out"] == 1,
    ),
    "the stack is oblique": (oblique, is_oblique),
    "slope and intercept differ between slices": (stack_with(), lambda stack: np.ptp(stack.volume.array) > 1000),
    "pixels outside the scanned field": (
        stack_with(in_every_slice(PixelPaddingValue=0)),
        lambda stack: unpadded_lowest(stack) and stack.facts["voxels_padded"] == 1,
    ),
    "graphics in the unused bits": (
        stack_with({k: twelve_bits(k, PixelData=overlaid(k)) for k in range(SLICES)}),
        as_written,
    ),
    "frames of an enhanced multi-frame CT": (one_file(lambda: enhanced(SHUFFLED)), as_written),
    "frames of an enhanced multi-frame MR": (one_file(lambda: enhanced(SHUFFLED, modality="MR")), as_written),
    "frames of an enhanced multi-frame PET": (one_file(lambda: enhanced(SHUFFLED, modality="PT")), as_written),
    "implicit value representations": (in_syntax(ImplicitVRLittleEndian), as_written),
    "big-endian numbers": (big_endian, as_written),
    "bytes in big-endian words": (bytes_in_words, is_ramp),
    "deflated files": (in_syntax(DeflatedExplicitVRLittleEndian), as_written),
    "run-length compression": (compressed(RLELossless), as_written),
    "JPEG-LS lossless compression": (compressed(JPEGLSLossless), as_written),
    "JPEG 2000 lossless compression": (transcoded(gdcm.TransferSyntax.JPEG2000Lossless), as_written),
    "JPEG lossless compression, process 14": (transcoded(gdcm.TransferSyntax.JPEGLosslessProcess14), as_written),
    "JPEG lossless compression, process 14, selection value 1": (
        transcoded(gdcm.TransferSyntax.JPEGLosslessProcess14_1),
        as_written,
    ),
    "lossy compression": (lossy, is_nearly_a_ramp),
}

FAULTS = [
    *(Fault(f"geometry: {name}", make, read, refused=reason) for name, (make, reason) in REFUSED.items()),
    *(Fault(f"geometry: {name}", make, read, right=right) for name, (make, right) in READ.items()),
    Fault(
        "geometry: a slice is missing, and one may be filled in",
        stack_with(leave_out=[3]),
        filling(1),
        right=filled_linearly,
    ),
    Fault(
        "geometry: two slices are missing, and one may be filled in",
        stack_with(leave_out=[2, 5], count=9),
        filling(1),
        refused=r"6\.00 mm lie between .* fetch the 2 missing",
    ),
]
