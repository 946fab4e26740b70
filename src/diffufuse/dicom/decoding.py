"""Read the header and the stored pixel values of a DICOM file."""

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom import config
from pydicom.errors import InvalidDicomError
from pydicom.uid import JPEG2000, JPEG2000MC, UID, JPEGLSNearLossless

from diffufuse.errors import BadInput

# pydicom has no common error class: a damaged file surfaces as whichever of these its parser meets first.
BROKEN_FILE = (InvalidDicomError, OSError, EOFError, struct.error, zlib.error)
UNREADABLE = (*BROKEN_FILE, ValueError, TypeError, LookupError, AttributeError, RuntimeError)
PIXEL_TAG = 0x7FE0, 0x0010
UNKNOWN_LENGTH = 0xFFFFFFFF
LONG_FORM = (b"OB", b"OW", b"UN")
# The processes of JPEG other than 14 (57, 70) and its retired twins (58, 65, 66); all in 1.2.840.10008.1.2.4.
ALWAYS_LOSSY = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 52, 53, 54, 55, 56, 59, 60, 61, 62, 63, 64))
LOSSY_UNLESS_DENIED = (JPEGLSNearLossless, JPEG2000, JPEG2000MC)

config.settings.reading_validation_mode = config.IGNORE  # its warnings quote values, which may name the patient


@dataclass(frozen=True)
class DicomFile:
    """A parsed DICOM file whose pixels can be read without parsing it again.

    Attributes:
        path: path of the file.
        header: all elements before the pixel data.
        pixel_offset: byte offset of the pixel data element; used for uncompressed files only.
    """

    path: Path
    header: pydicom.FileDataset
    pixel_offset: int


def open_file(path: str | os.PathLike[str]) -> DicomFile:
    """Parse all elements of a DICOM file before its pixel data.

    Raises:
        BadInput: the file is not DICOM, is damaged, or has no SeriesInstanceUID or Modality.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            header = pydicom.dcmread(stream, stop_before_pixels=True)
            file = DicomFile(path, header, stream.tell())
    except UNREADABLE as error:
        raise unreadable(path, _kind(error)) from error
    header.filename = str(path)
    if not header.get("SeriesInstanceUID") or not header.get("Modality"):
        raise unreadable(path, "its header ends before series and modality are named")
    return file


def unreadable(path: Path, reason: str) -> BadInput:
    """Return the error for a damaged file, with its size in bytes."""
    size = path.stat().st_size if path.exists() else 0
    return BadInput(
        f"{path}: expected a whole DICOM file, but its {size} bytes cannot be read ({reason}); fetch it again."
    )


def numbers(dataset: pydicom.Dataset, keyword: str, count: int, path: Path) -> np.ndarray:
    """Return the `count` finite numbers of a tag.

    Args:
        dataset: a header, or an item of one of its sequences.
        keyword: keyword of the tag.
        count: required number of values.
        path: the file, for the error message.

    Raises:
        BadInput: the tag is absent or malformed.
    """
    try:
        values = np.atleast_1d(np.asarray(dataset.get(keyword), float))
    except UNREADABLE:
        values = np.array([np.nan])
    if values.shape != (count,) or not np.isfinite(values).all():
        raise BadInput(
            f"{path}: expected {count} number(s) in {keyword}, which is missing or malformed; export it again."
        )
    return values


def stored_values(file: DicomFile) -> np.ndarray:
    """Return the stored pixel values, without unused and overlay bits, before rescaling.

    Native data are read directly from the file, compressed data through pydicom's plugins.

    Returns:
        (frames, rows, columns), integer.

    Raises:
        BadInput: the pixels are absent, truncated, in color, inverted (MONOCHROME1), or in an unsupported encoding.
    """
    _require_gray(file)
    shape = frame_count(file), *(int(n) for n in (_count(file, "Rows"), _count(file, "Columns")))
    stored = _native_values(file, shape) if _is_native(file) else _decompressed_values(file, shape)
    return _true_bits(stored, file)


def frame_count(file: DicomFile) -> int:
    """Return the number of frames, 1 where NumberOfFrames is absent."""
    return 1 if file.header.get("NumberOfFrames") in (None, "") else _count(file, "NumberOfFrames")


def is_lossy(header: pydicom.FileDataset) -> bool:
    """Return whether the pixels were lossily compressed, by LossyImageCompression or the transfer syntax."""
    declared, syntax = str(header.get("LossyImageCompression") or ""), _syntax(header)
    return declared == "01" or syntax in ALWAYS_LOSSY or (declared != "00" and syntax in LOSSY_UNLESS_DENIED)


def padding_values(file: DicomFile) -> tuple[int, int] | None:
    """Return the smallest and largest stored padding value; None where PixelPaddingValue is absent."""
    if file.header.get("PixelPaddingValue") in (None, ""):
        return None
    ends = [file.header.get(keyword) for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    try:
        values = np.array([int(end) for end in ends if end not in (None, "")], np.int64)
    except (ValueError, TypeError) as error:
        raise BadInput(f"{file.path}: expected whole numbers in PixelPaddingValue; export it again.") from error
    values = _true_bits(values, file)
    return int(values.min()), int(values.max())


def _kind(error: Exception) -> str:
    """Return the class name of an error; its text may quote the file, and thus patient data."""
    return f"{type(error).__module__}.{type(error).__name__}".removeprefix("builtins.")


def _syntax(header: pydicom.FileDataset) -> str:
    return str(header.file_meta.get("TransferSyntaxUID") or "")


def _is_native(file: DicomFile) -> bool:
    """Return whether the pixels are stored uncompressed; pydicom unswaps bytes in big-endian words."""
    syntax = UID(_syntax(file.header))
    if not syntax:
        return True
    if not syntax.is_transfer_syntax or syntax.is_private:
        raise BadInput(f"{file.path}: expected a transfer syntax of the DICOM standard, got a private one; convert it.")
    words_swapped = not syntax.is_little_endian and file.header.get("BitsAllocated") == 8
    return not (words_swapped or syntax.is_deflated or syntax.is_encapsulated)


def _count(file: DicomFile, keyword: str) -> int:
    number = int(numbers(file.header, keyword, 1, file.path)[0])
    if number < 1:
        raise BadInput(f"{file.path}: expected {keyword} of at least 1, got {number}; export it again.")
    return number


def _require_gray(file: DicomFile) -> None:
    header = file.header
    if header.get("SamplesPerPixel", 1) != 1:
        raise BadInput(f"{file.path}: expected one gray value per pixel, got several; leave color images out.")
    if header.get("PhotometricInterpretation") != "MONOCHROME2":
        actual = "MONOCHROME1" if header.get("PhotometricInterpretation") == "MONOCHROME1" else "another one"
        raise BadInput(
            f"{file.path}: expected pixels that grow with the signal (MONOCHROME2), got {actual}; export it again."
        )


def _native_values(file: DicomFile, shape: tuple[int, ...]) -> np.ndarray:
    """Read uncompressed pixels at the offset where the header ended."""
    is_implicit, is_little = (bool(flag) for flag in file.header.original_encoding)
    bits = _count(file, "BitsAllocated")
    if bits not in (8, 16, 32):
        raise BadInput(f"{file.path}: expected 8, 16 or 32 bits per pixel, got {bits}; convert it to 16.")
    kind = np.dtype(f"{'<' if is_little else '>'}u{bits // 8}")
    expected_bytes = kind.itemsize * int(np.prod(shape))
    with file.path.open("rb") as stream:
        stream.seek(file.pixel_offset)
        length = _element_length(stream.read(8), stream.read(4) if not is_implicit else b"", is_little, file.path)
        content = stream.read(expected_bytes)
    if length < expected_bytes or len(content) < expected_bytes:
        raise unreadable(file.path, f"pixels: {min(length, len(content))} bytes where {expected_bytes} are due")
    if length > expected_bytes + expected_bytes % 2:
        raise unreadable(file.path, f"pixels: {length} bytes where {expected_bytes} are due")
    return np.frombuffer(content, kind).reshape(shape)


def _element_length(head: bytes, long_length: bytes, is_little: bool, path: Path) -> int:
    """Return the number of pixel bytes, from the header of their element."""
    order = "<" if is_little else ">"
    explicit = bool(long_length)
    if len(head) < 8 or struct.unpack(f"{order}HH", head[:4]) != PIXEL_TAG:
        raise unreadable(path, "pixels: there are none")
    if explicit and (head[4:6] not in LONG_FORM or len(long_length) < 4):
        raise unreadable(path, "pixels: their element is malformed")
    length = struct.unpack(f"{order}L", long_length if explicit else head[4:])[0]
    if length == UNKNOWN_LENGTH:
        raise unreadable(path, "pixels: compressed, though the file says they are not")
    return length


def _decompressed_values(file: DicomFile, shape: tuple[int, ...]) -> np.ndarray:
    try:
        stored = pydicom.dcmread(file.path).pixel_array
    except UNREADABLE as error:
        raise unreadable(file.path, f"pixels: {_kind(error)}") from error
    if stored.size != np.prod(shape):
        raise unreadable(file.path, f"pixels: {stored.size} where {np.prod(shape)} are due")
    return stored.reshape(shape)


def _true_bits(stored: np.ndarray, file: DicomFile) -> np.ndarray:
    """Return the lowest BitsStored bits as signed or unsigned numbers; the bits above are dropped."""
    bits, high = _count(file, "BitsStored"), int(numbers(file.header, "HighBit", 1, file.path)[0])
    if high != bits - 1 or bits > _count(file, "BitsAllocated"):
        raise BadInput(f"{file.path}: expected HighBit below BitsStored, got {high} and {bits}; export it again.")
    signed = int(numbers(file.header, "PixelRepresentation", 1, file.path)[0]) == 1
    if stored.dtype.itemsize * 8 == bits:
        kind = stored.dtype.str[0] + ("i" if signed else "u") + stored.dtype.str[2:]
        return stored.view(kind)
    wide = stored.astype(np.int64) & ((1 << bits) - 1)
    return wide - ((wide >> (bits - 1)) << bits) if signed else wide
