"""DICOM files whose elements are damaged, absurd or not readable here, and files beside them that are no images."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gdcm
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    HEVCMP51,
    HTJ2K,
    JPEG2000MC,
    MPEG2MPML,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    MediaStorageDirectoryStorage,
    RLELossless,
)

from diffufuse.dicom.choice import choice_report, choose_series
from diffufuse.dicom.rtstruct import read_rois
from diffufuse.dicom.series import find_series, read_stack, sidecar_of
from faults import Fault
from faults.geometry import (
    NO_ID,
    PLANTED,
    SLICES,
    as_written,
    compressed,
    enhanced,
    in_every_slice,
    one_file,
    read,
    save,
    slice_of,
    stack_with,
    transcoded,
    write_stack,
)

CT = [{"Modality": "^CT$", "SeriesDescription": "planted"}]
FIRST = "0.dcm"  # of slice 0, by name the first file of the series


def patched(*swaps: tuple[bytes, bytes], name: str = FIRST) -> Callable[[Path], None]:
    """Writes the stack, with bytes of one file swapped for as many others."""

    def make(folder: Path) -> None:
        write_stack(folder)
        content = (folder / name).read_bytes()
        for old, new in swaps:
            assert content.count(old) == 1, old
            assert len(old) == len(new), new
            content = content.replace(old, new)
        (folder / name).write_bytes(content)

    return make


def everything(folder: Path) -> Any:
    """All that later stages read of a case's CT."""
    candidates = find_series(folder)
    chosen = choose_series(candidates, CT, required="ct")
    stack = read_stack(chosen.series)
    return stack, sidecar_of(chosen.series), choice_report(candidates, {"ct": chosen})


def stack_alone(folder: Path) -> Any:
    """The stack, where no rule can match its description."""
    return (read(folder),)


def stack_as_written(read_all: Any) -> bool:
    return as_written(read_all[0])


def beside(name: str, content: bytes = b"PHILIPS\x00\x01\x02") -> Callable[[Path], None]:
    """Writes the stack and a file that is no image."""

    def make(folder: Path) -> None:
        write_stack(folder)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)

    return make


def medium_index(name: str) -> Callable[[Path], None]:
    """Writes the stack and the index of a medium, whatever its name."""

    def make(folder: Path) -> None:
        write_stack(folder)
        index = Dataset()
        index.SOPClassUID, index.SOPInstanceUID = MediaStorageDirectoryStorage, PLANTED
        index.FileSetID = "DISC"
        save(index, folder / name)

    return make


def in_compression(syntax: str, **changes: Any) -> Callable[[Path], None]:
    """Writes the stack in run lengths, and says that it is another compression."""

    def make(folder: Path) -> None:
        compressed(RLELossless)(folder)
        for path in folder.iterdir():
            file = dcmread(path)
            file.file_meta.TransferSyntaxUID = syntax
            for keyword, value in changes.items():
                setattr(file, keyword, value)
            file.save_as(path)

    return make


def renamed(suffix: str) -> Callable[[Path], None]:
    """Writes the stack with another suffix of one name."""

    def make(folder: Path) -> None:
        write_stack(folder)
        (folder / FIRST).rename(folder / f"0{suffix}")

    return make


def charset(name: str) -> Callable[[Path], None]:
    """Writes the stack with free text in an encoding, named rightly or not."""

    def make(folder: Path) -> None:
        write_stack(folder, in_every_slice(SpecificCharacterSet=name))
        for path in folder.iterdir():
            path.write_bytes(path.read_bytes().replace(b"Planted^Name", b"M\xfcller^N\xe4\xdf\xff\xfe"))

    return make


def damaged_jpeg(marker: bytes, offset: int, value: int) -> Callable[[Path], None]:
    """Writes the stack as lossless JPEG, with one byte of a segment of one file changed."""

    def make(folder: Path) -> None:
        transcoded(gdcm.TransferSyntax.JPEGLosslessProcess14_1)(folder)
        content = bytearray((folder / FIRST).read_bytes())
        content[content.index(marker, content.index(b"\xff\xd8\xff")) + offset] = value
        (folder / FIRST).write_bytes(content)

    return make


def cut_inside(make: Callable[[Path], None], marker: bytes) -> Callable[[Path], None]:
    """Writes as `make` does, with zeros in place of what follows a marker in one file."""

    def cut(folder: Path) -> None:
        make(folder)
        content = (folder / FIRST).read_bytes()
        end = content.rindex(marker)
        (folder / FIRST).write_bytes(content[:end] + bytes(len(content) - end))

    return cut


def nested(count: int) -> Dataset:
    """A sequence in a sequence in a sequence ..."""
    item = Dataset()
    for _ in range(count):
        outer = Dataset()
        outer.ReferencedImageSequence = [item]
        item = outer
    return slice_of(0, ReferencedImageSequence=[item])


def write_nested(folder: Path) -> None:
    write_stack(folder, leave_out=[0])
    save(nested(40), folder / FIRST)


def one_of_six(**changes: tuple[Any, Any]) -> Callable[[Path], None]:
    """Writes the stack with one value of each tag in all slices but one, and another in that one."""
    usual, odd = ({keyword: pair[which] for keyword, pair in changes.items()} for which in (0, 1))
    return stack_with(in_every_slice(**usual) | {3: odd})


def in_one(k: int = 0, **changes: Any) -> Callable[[Path], None]:
    return stack_with({k: changes})


def in_all(**changes: Any) -> Callable[[Path], None]:
    return stack_with(in_every_slice(**changes))


def raw(keyword: str, text: str, *, every: bool = False) -> Callable[[Path], None]:
    """Writes the stack with a text in a decimal tag that is no number of a plausible size."""
    mark = "8" * len(text)

    def make(folder: Path) -> None:
        marked: Mapping[str, Any] = {keyword: mark}
        write_stack(folder, in_every_slice(**marked) if every else {0: marked})
        for path in folder.iterdir():
            path.write_bytes(path.read_bytes().replace(mark.encode(), text.encode()))

    return make


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "an element of no value representation": (
        patched((b"\x28\x00\x53\x10DS", b"\x28\x00\x53\x10QQ")),
        r"0\.dcm: .*RescaleSlope",
    ),
    "a position that is a name": (
        patched((b"\x20\x00\x32\x00DS", b"\x20\x00\x32\x00PN")),
        r"0\.dcm: .*ImagePositionPatient",
    ),
    "rows as a sequence": (patched((b"\x28\x00\x10\x00US", b"\x28\x00\x10\x00SQ")), r"0\.dcm: "),
    "a description as a number": (
        patched((b"\x08\x00\x3e\x10LO", b"\x08\x00\x3e\x10FD")),
        r"0\.dcm: .*SeriesDescription",
    ),
    "a modality as a date and time of another length": (
        patched((b"\x08\x00\x60\x00CS", b"\x08\x00\x60\x00FL")),
        r"0\.dcm: .*Modality",
    ),
    "a slope that is not a number": (raw("RescaleSlope", "NaN"), r"0\.dcm: .*RescaleSlope"),
    "a slope without end": (raw("RescaleSlope", "1e400"), r"0\.dcm: .*RescaleSlope"),
    "a slope that no pixel survives": (raw("RescaleSlope", "1e30", every=True), "a plausible rescaling"),
    "a negative slope": (raw("RescaleSlope", "-1.5", every=True), "a plausible rescaling"),
    "a CT of electron densities": (in_all(RescaleType="EDW"), "Hounsfield units, got RescaleType EDW"),
    "a table of values in place of a slope": (
        in_all(RescaleSlope=None, RescaleIntercept=None, ModalityLUTSequence=[slice_of(0)]),
        "got a table of them",
    ),
    "an intercept without end": (raw("RescaleIntercept", "-inf"), r"0\.dcm: .*RescaleIntercept"),
    "a position a light year away": (in_one(ImagePositionPatient=[0, 0, 1e15]), "slice near the scanner"),
    "a pixel spacing without end": (in_all(PixelSpacing=["inf", "1"]), "PixelSpacing"),
    "a negative pixel spacing": (in_all(PixelSpacing=[-2, 1.5]), "positive spacing"),
    "directions of a billion": (in_all(ImageOrientationPatient=[1e9, 0, 0, 0, 1, 0]), "unit directions"),
    "directions that are zero": (in_all(ImageOrientationPatient=[0, 0, 0, 0, 0, 0]), "at right angles"),
    "an end slice whose directions are damaged is no localizer": (
        in_one(5, ImageOrientationPatient=[0, 0, 0, 0, 1, 0]),
        "one orientation",
    ),
    "a voltage that is not a number": (raw("KVP", "nan", every=True), "KVP, which is missing or malformed"),
    "65535 rows and columns": (in_all(Rows=65535, Columns=65535), "576 bytes where 8589672450 are due"),
    "no rows": (in_all(Rows=0), "Rows of at least 1"),
    "two thousand million frames": (in_one(NumberOfFrames=2147483647), "a place for each frame"),
    "two thousand million frames of an enhanced file": (
        one_file(lambda: _with(enhanced(), NumberOfFrames=2147483647)),
        "functional groups for every frame, got 6",
    ),
    "frames that the file does not count": (
        one_file(lambda: _with(enhanced(), NumberOfFrames=5)),
        "functional groups for every frame, got 6 for 5",
    ),
    "a sign of 7": (in_all(PixelRepresentation=7), "PixelRepresentation 0 or 1"),
    "more pixels than their element names": (
        lambda folder: _append(folder, b"\x01\x02" * 8),
        "more bytes than their element names",
    ),
    "JPEG of 12 bits": (
        in_compression(JPEGExtended12Bit, BitsStored=12, HighBit=11),
        r"no decoder for this, JPEG Extended .* of 12 bits; convert",
    ),
    "high-throughput JPEG 2000": (in_compression(HTJ2K), "no decoder for this, High-Throughput JPEG 2000"),
    "JPEG 2000 of several components": (in_compression(JPEG2000MC), "no decoder for this, JPEG 2000 Part 2"),
    "a video by MPEG-2": (in_compression(MPEG2MPML), "no decoder for this, MPEG2"),
    "a video by HEVC": (in_compression(HEVCMP51), "no decoder for this, HEVC"),
    "JPEG that is none": (in_compression(JPEGBaseline8Bit), "cannot be read"),
    "a JPEG of another size than its header": (damaged_jpeg(b"\xff\xc3\x00\x0b", 5, 1), "cannot be read"),
    "a JPEG of 144 bits": (damaged_jpeg(b"\xff\xc3\x00\x0b", 4, 144), "cannot be read"),
    "a JPEG of codes that are no tree": (damaged_jpeg(b"\xff\xc4", 5, 255), "cannot be read"),
    "a JPEG that predicts by nothing": (damaged_jpeg(b"\xff\xda", 7, 99), "cannot be read"),
    "a JPEG 2000 that ends in its header": (
        cut_inside(transcoded(gdcm.TransferSyntax.JPEG2000Lossless), b"\xff\x52"),
        "cannot be read",
    ),
    "a slope of one slice that contradicts the others": (
        stack_with(in_every_slice(RescaleSlope=1) | {3: {"RescaleSlope": 4}}),
        r"\.dcm: expected the RescaleSlope of the other 5 slices",
    ),
    "an intercept of one slice that contradicts the others": (
        in_one(RescaleIntercept=-1000),
        r"0\.dcm: expected the RescaleIntercept of the other 5",
    ),
    "signed pixels in one slice": (in_one(PixelRepresentation=0), "PixelRepresentation of the other 5"),
    "padding in one slice": (in_one(PixelPaddingValue=0), "PixelPaddingValue of the other 5"),
    "another maker's slice": (in_one(Manufacturer=PLANTED), NO_ID + ".*Manufacturer of the other 5"),
    "a description of one slice that contradicts the others": (
        in_one(SeriesDescription="T1"),
        r"0\.dcm: expected the tags of the other 5 files",
    ),
    "a repetition time of one slice from another sequence": (
        one_of_six(RepetitionTime=(500, 3000)),
        "RepetitionTime of the other 5",
    ),
    "a thickness of one slice from another stack": (
        one_of_six(SliceThickness=("2.5", "2.6")),
        "SliceThickness of the other 5",
    ),
    "a PatientID of one slice that is but the same number": (one_of_six(PatientID=("7", "007")), "one patient"),
    "a birth date of one slice that contradicts the others": (
        stack_with(in_every_slice(PatientBirthDate="19500203") | {3: {"PatientBirthDate": "19610203"}}),
        "one date of birth",
    ),
}

READ: dict[str, tuple[Callable[[Path], None], Callable[[Path], Any]]] = {
    "Philips' DIRFILE beside the images": (beside("DIRFILE"), everything),
    "a lock file beside the images": (beside("LOCKFILE"), everything),
    "a VERSION beside the images": (beside("VERSION"), everything),
    "check sums beside the images": (beside("MD5SUMS"), everything),
    "an old DICOMDIR beside the images": (beside("DICOMDIR.1"), everything),
    "thumbnails and a desktop's folder file": (beside("Thumbs.db"), everything),
    "a hidden folder of a file server": (beside(".AppleDouble/0.dcm"), everything),
    "a DICOMDIR": (medium_index("DICOMDIR"), everything),
    "a DICOMDIR of another name": (medium_index("INDEX0.dcm"), everything),
    "a slice whose name ends in .DICOM": (renamed(".DICOM"), everything),
    "a slice whose name ends in nothing known": (renamed(".MR.slice"), everything),
    "free text in Latin-1": (charset("ISO_IR 100"), stack_alone),
    "free text in no encoding": (charset("ISO_IR 192"), stack_alone),
    "an encoding that does not exist": (charset("PLANTED"), stack_alone),
    "sequences forty deep": (write_nested, everything),
    "repetition times that differ over half of the slices": (
        stack_with({k: {"RepetitionTime": 500 + 10 * (k % 2)} for k in range(SLICES)}),
        everything,
    ),
    "a CT that does not specify its unit": (in_all(RescaleType="US"), everything),
    "a repetition time of one slice that waited for a breath": (one_of_six(RepetitionTime=(3000, 4100)), everything),
    "a thickness of one slice that is computed anew": (one_of_six(SliceThickness=("2.5", "2.499999")), everything),
    "an echo time of one slice in single precision": (one_of_six(EchoTime=("4.603", "4.60300016")), everything),
    "a description with the second in which a map was computed": (
        one_of_six(SeriesDescription=("CBF 10:00:01", "CBF 10:00:02")),
        stack_alone,
    ),
    "padding with zeros behind the pixels": (lambda folder: _append(folder, bytes(32)), everything),
    "a group of the maker's own behind the pixels": (
        lambda folder: _append(folder, b"\xe1\x7f\x10\x00LO\x04\x00MINE"),
        everything,
    ),
}


def _with(header: Dataset, **changes: Any) -> Dataset:
    for keyword, value in changes.items():
        setattr(header, keyword, value)
    return header


def _append(folder: Path, content: bytes) -> None:
    write_stack(folder)
    path = folder / FIRST
    path.write_bytes(path.read_bytes() + content)


FAULTS = [
    Fault(
        "headers: the index of a medium in place of a structure set",
        medium_index("INDEX0.dcm"),
        lambda folder: read_rois(folder / "INDEX0.dcm"),
        refused=r"INDEX0\.dcm: expected one DICOM file of a series, got the index of a medium",
    ),
    *(
        Fault(f"headers: {name}", make, everything, refused=rf"^(?!.*Planted\^).*{reason}")
        for name, (make, reason) in REFUSED.items()
    ),
    *(Fault(f"headers: {name}", make, reader, right=stack_as_written) for name, (make, reader) in READ.items()),
]
