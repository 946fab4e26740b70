"""Read the header and the stored pixel values of a DICOM file."""

import math
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import (
    JPEG2000,
    JPEG2000MC,
    UID,
    AllTransferSyntaxes,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSNearLossless,
    MediaStorageDirectoryStorage,
)

from diffufuse.dicom.elements import UNKNOWN_LENGTH, UNREADABLE, kind_of, numbers, text_of, value_of, whole_number
from diffufuse.dicom.jpeg import require_sound
from diffufuse.errors import BadInput

PIXEL_TAG = 0x7FE0, 0x0010
PIXEL_GROUP = 0x7FE0
LARGEST_STORED = 2**32
JPEG_OF_SEGMENTS = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1)
SAFELY_DECODED = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEG2000Lossless, JPEG2000)
SAFE_DECODER = "pillow"
DEEP_DECODER = "pylibjpeg"  # of JPEG's extended process; the other codecs read 8 bits of it alone
LONG_FORM = (b"OB", b"OW", b"UN")
# The processes of JPEG other than 14 (57, 70) and its retired twins (58, 65, 66); all in 1.2.840.10008.1.2.4.
ALWAYS_LOSSY = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 52, 53, 54, 55, 56, 59, 60, 61, 62, 63, 64))
LOSSY_UNLESS_DENIED = (JPEGLSNearLossless, JPEG2000, JPEG2000MC)


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
        raise unreadable(path, kind_of(error)) from error
    header.filename = str(path)
    if is_directory(file):
        return file
    if not text_of(header, "SeriesInstanceUID", path) or not text_of(header, "Modality", path):
        raise unreadable(path, "its header ends before series and modality are named")
    return file


def is_directory(file: DicomFile) -> bool:
    """Return whether a file is the index of a medium (DICOMDIR), under whatever name."""
    return text_of(file.header.file_meta, "MediaStorageSOPClassUID", file.path) == MediaStorageDirectoryStorage


def unreadable(path: Path, reason: str) -> BadInput:
    """Return the error for a damaged file, with its size in bytes."""
    return BadInput(
        f"{path}: expected a whole DICOM file, but its {_size(path)} bytes cannot be read ({reason}); fetch it again."
    )


def stored_values(file: DicomFile) -> np.ndarray:
    """Return the stored pixel values, without unused and overlay bits, before rescaling.

    Native data are read directly from the file, compressed data through pydicom's plugins.

    Returns:
        (frames, rows, columns), integer.

    Raises:
        BadInput: the pixels are absent, truncated, in color, inverted (MONOCHROME1), or in an unsupported encoding.
    """
    _require_gray(file)
    shape = frame_count(file), _count(file, "Rows"), _count(file, "Columns")
    stored = _native_values(file, shape) if _is_native(file) else _decompressed_values(file, shape)
    return _true_bits(stored, file)


def frame_count(file: DicomFile) -> int:
    """Return the number of frames, 1 where NumberOfFrames is absent."""
    return 1 if value_of(file.header, "NumberOfFrames", file.path) is None else _count(file, "NumberOfFrames")


def is_lossy(file: DicomFile) -> bool:
    """Return whether the pixels were lossily compressed, by LossyImageCompression or the transfer syntax."""
    declared, syntax = text_of(file.header, "LossyImageCompression", file.path), _syntax(file)
    return declared == "01" or syntax in ALWAYS_LOSSY or (declared != "00" and syntax in LOSSY_UNLESS_DENIED)


def padding_values(file: DicomFile) -> tuple[int, int] | None:
    """Return the smallest and largest stored padding value; None where PixelPaddingValue is absent."""
    keywords = [
        keyword
        for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit")
        if value_of(file.header, keyword, file.path) is not None
    ]
    if "PixelPaddingValue" not in keywords:
        return None
    ends = [numbers(file.header, keyword, 1, file.path)[0] for keyword in keywords]
    if any(end != math.floor(end) or abs(end) > LARGEST_STORED for end in ends):
        raise BadInput(f"{file.path}: expected whole numbers in PixelPaddingValue; export it again.")
    values = np.array(ends, np.int64)
    values = _true_bits(values, file)
    return int(values.min()), int(values.max())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _syntax(file: DicomFile) -> str:
    return text_of(file.header.file_meta, "TransferSyntaxUID", file.path)


def _is_native(file: DicomFile) -> bool:
    """Return whether the pixels are stored uncompressed; pydicom unswaps bytes in big-endian words."""
    syntax = UID(_syntax(file))
    if not syntax:
        return True
    if not syntax.is_transfer_syntax or syntax.is_private:
        raise BadInput(f"{file.path}: expected a transfer syntax of the DICOM standard, got a private one; convert it.")
    words_swapped = not syntax.is_little_endian and _count(file, "BitsAllocated") == 8
    return not (words_swapped or syntax.is_deflated or syntax.is_encapsulated)


def _count(file: DicomFile, keyword: str) -> int:
    return whole_number(file.header, keyword, file.path, least=1)


def _require_gray(file: DicomFile) -> None:
    meaning = text_of(file.header, "PhotometricInterpretation", file.path)
    if text_of(file.header, "SamplesPerPixel", file.path) not in ("", "1"):
        raise BadInput(f"{file.path}: expected one gray value per pixel, got several; leave color images out.")
    if meaning != "MONOCHROME2":
        actual = "MONOCHROME1" if meaning == "MONOCHROME1" else "another one"
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
    expected_bytes = kind.itemsize * math.prod(shape)
    try:
        with file.path.open("rb") as stream:
            stream.seek(file.pixel_offset)
            length = _element_length(stream.read(8), stream.read(4) if not is_implicit else b"", is_little, file.path)
            content = stream.read(min(expected_bytes, _size(file.path)))
            stream.seek(length - len(content), os.SEEK_CUR)
            behind = stream.read(2)
    except OSError as error:
        raise unreadable(file.path, kind_of(error)) from error
    if length < expected_bytes or len(content) < expected_bytes:
        raise unreadable(file.path, f"pixels: {min(length, len(content))} bytes where {expected_bytes} are due")
    if length > expected_bytes + expected_bytes % 2:
        raise unreadable(file.path, f"pixels: {length} bytes where {expected_bytes} are due")
    # Behind the pixels is nothing, padding with zeros, or a group of elements that sorts behind theirs.
    if behind.strip(b"\0") and int.from_bytes(behind, "little" if is_little else "big") < PIXEL_GROUP:
        raise unreadable(file.path, "pixels: more bytes than their element names")
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
    plugins, syntax = _decoders(file), UID(_syntax(file))
    # Where there is a choice: on damaged streams, gdcm may not raise but end the process.
    plugin = SAFE_DECODER if syntax in SAFELY_DECODED and SAFE_DECODER in plugins else ""
    try:
        header = pydicom.dcmread(file.path)
        if syntax in JPEG_OF_SEGMENTS:
            for frame in generate_frames(header.PixelData, number_of_frames=shape[0]):
                require_sound(frame, rows=shape[1], columns=shape[2])
        stored = pixel_array(header, raw=True, decoding_plugin=plugin)
    except UNREADABLE as error:
        raise unreadable(file.path, f"pixels: {kind_of(error)}") from error
    if stored.size != math.prod(shape):
        raise unreadable(file.path, f"pixels: {stored.size} where {math.prod(shape)} are due")
    return stored.reshape(shape)


def _decoders(file: DicomFile) -> Sequence[str]:
    """Return the installed decoders of a file's pixels; raises for a compression that none of them reads."""
    syntax = UID(_syntax(file))
    try:
        plugins: Sequence[str] = get_decoder(syntax).available_plugins
    except NotImplementedError:
        plugins = ()
    deep = syntax == JPEGExtended12Bit and _count(file, "BitsStored") > 8 and DEEP_DECODER not in plugins
    if deep or (syntax.is_encapsulated and not plugins):
        bits = f" of {_count(file, 'BitsStored')} bits" if deep else ""
        name = syntax.name if syntax in AllTransferSyntaxes else "an unlisted compression"
        raise BadInput(
            f"{file.path}: expected pixels in a compression that can be read here, but there is no decoder for this, "
            f"{name}{bits}; convert the file to an uncompressed transfer syntax."
        )
    return plugins


def _true_bits(stored: np.ndarray, file: DicomFile) -> np.ndarray:
    """Return the lowest BitsStored bits as signed or unsigned numbers; the bits above are dropped."""
    bits, high = _count(file, "BitsStored"), whole_number(file.header, "HighBit", file.path)
    if high != bits - 1 or bits > _count(file, "BitsAllocated"):
        raise BadInput(f"{file.path}: expected HighBit below BitsStored, got {high} and {bits}; export it again.")
    sign = whole_number(file.header, "PixelRepresentation", file.path)
    if sign > 1:
        raise BadInput(f"{file.path}: expected PixelRepresentation 0 or 1, got {sign}; export it again.")
    signed = sign == 1
    if stored.dtype.itemsize * 8 == bits:
        kind = stored.dtype.str[0] + ("i" if signed else "u") + stored.dtype.str[2:]
        return stored.view(kind)
    wide = stored.astype(np.int64) & ((1 << bits) - 1)
    return wide - ((wide >> (bits - 1)) << bits) if signed else wide
