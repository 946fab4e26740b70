"""The content of a NIfTI file: bytes, checked against the header, and the values that they stand for."""

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from diffufuse.errors import BadInput
from diffufuse.space.nifti_header import LONGEST_START, Header, broken, parse

GZIP = b"\x1f\x8b"
GZIP_STREAM = 16 + zlib.MAX_WBITS  # header, checksum and length are verified
# Deflate makes no stream longer than this many times its size.
MOST_INFLATED = 1032
SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)
# Slope times stored value, and their sum with the intercept, are each rounded like the slope itself.
ROUNDINGS = 2
WHOLE_TOLERANCE = 1e-3
MOST_EXACT = 2.0**53  # beyond it, doubles are whole whatever was meant


def stored(path: Path) -> tuple[Header, np.ndarray]:
    """Read header and voxels of a `.nii` or `.nii.gz` file; the checksum of gzip is verified.

    Returns:
        The header, and the voxels as they are stored, not scaled; read-only.

    Raises:
        BadInput: the file cannot be read, is damaged, or its size is not what its header says.
    """
    content, zipped = _bytes_of(path), path.suffix.lower() == ".gz"
    if zipped and not content.startswith(GZIP):
        raise broken(path, "it is not compressed with gzip, as its name says")
    if not zipped and content.startswith(GZIP):
        raise BadInput(f"{path}: expected a plain NIfTI file, got one compressed with gzip; name it .nii.gz.")
    start = _inflated(content, LONGEST_START, path, whole=False) if zipped else content[:LONGEST_START]
    header = parse(start, path)
    if header.size > len(content) * (MOST_INFLATED if zipped else 1):
        raise broken(path, f"its header promises {header.size} bytes, more than there are")
    if zipped:
        content = _inflated(content, header.size + 1, path, whole=True)
    if len(content) != header.size:
        more = "more" if len(content) > header.size else f"{len(content)}"
        raise broken(path, f"its header promises {header.size} bytes, and it has {more}")
    return header, np.ndarray(header.shape, header.kind, content, header.offset, order="F")


def as_numbers(header: Header, array: np.ndarray, path: Path) -> np.ndarray:
    """The values of an image, float32, rounded once.

    Args:
        header: of the file.
        array: voxels as stored.
        path: for messages.

    Raises:
        BadInput: a value is NaN, infinite, or beyond what float32 holds; or all vanish in float32.
    """
    values = np.empty(array.shape, np.float32, order="F")
    with np.errstate(over="ignore"):
        for number, slab in _scaled_slabs(header, array):
            values[..., number] = slab
    _require_finite(values, array, path)
    if header.scaled or header.kind.itemsize > values.itemsize:
        _require_visible(values, header, array, path)
    return values


def as_whole_numbers(header: Header, array: np.ndarray, path: Path) -> np.ndarray:
    """The values of labels: integers, exact.

    Scaled values may be off by as much as the rounding of slope and intercept in the header makes them: 1/127 is no
    float, so that 127 times the slope is not exactly 1. Unscaled ones must be whole.

    Args:
        header: of the file.
        array: voxels as stored.
        path: for messages.

    Returns:
        In the type of the file, or int64 where it stores floats or scales.

    Raises:
        BadInput: a value is not whole.
    """
    if not header.scaled and header.kind.kind in "iu":
        return array.astype(header.kind.newbyteorder("="))
    _require_finite(array, array, path)
    values = np.empty(array.shape, np.int64, order="F")
    with np.errstate(over="ignore", invalid="ignore"):
        for number, slab in _scaled_slabs(header, array):
            nearest = np.rint(slab)
            whole = (np.abs(slab - nearest) <= _rounding(header, slab)) & (np.abs(nearest) < MOST_EXACT)
            if not whole.all():
                raise BadInput(
                    f"{path}: expected labels that are whole numbers, got also {slab[~whole][0]!s}; round them if that "
                    "is what they mean, save them as integers, or name the file of the labels."
                )
            values[..., number] = nearest
    return values


def _bytes_of(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():  # reading a pipe would wait for ever
            raise BadInput(f"{path}: expected a NIfTI file, got a folder, pipe or device; remove or rename it.")
        return path.read_bytes()
    except OSError as error:
        raise BadInput(
            f"{path}: expected a NIfTI file that can be read, got: {error.strerror}; correct its place or permissions."
        ) from error


def _inflated(content: bytes, most: int, path: Path, *, whole: bool) -> bytes:
    """Up to `most` bytes of a gzip file, which may consist of several streams and end with zeros.

    Args:
        content: the compressed file.
        most: number of bytes after which to stop.
        path: for messages.
        whole: whether the file must end before that.
    """
    parts, size = [], 0
    try:
        while content and size < most:
            stream = zlib.decompressobj(GZIP_STREAM)
            parts.append(stream.decompress(content, most - size))
            size += len(parts[-1])
            if whole and size < most and not stream.eof:
                raise broken(path, "its compressed content ends too early")
            content = stream.unused_data.lstrip(b"\0") if stream.eof else b""
    except zlib.error as error:
        raise broken(path, f"its compressed content is damaged ({error})") from error
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _scaled_slabs(header: Header, array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Iterate over slabs of the last axis and their values: in double precision where they are scaled."""
    for number in range(array.shape[-1]):
        slab = array[..., number]
        if header.scaled:
            slab = slab * np.float64(header.slope)
            if header.inter:
                slab = slab + np.float64(header.inter)
        yield number, slab


def _rounding(header: Header, values: np.ndarray) -> np.ndarray | float:
    """How far scaled values may lie from whole numbers."""
    if not header.scaled:
        return 0.0
    products = np.abs(values - header.inter)
    return np.minimum(ROUNDINGS * header.step * (products + abs(header.inter)), WHOLE_TOLERANCE)


def _require_finite(values: np.ndarray, array: np.ndarray, path: Path) -> None:
    if np.isfinite(values).all():
        return
    broken_voxels = np.argwhere(~np.isfinite(values))
    first = tuple(int(index) for index in broken_voxels[0])
    what = "NaN or infinite" if not np.isfinite(array).all() else "too large for float32"
    raise BadInput(
        f"{path}: expected finite values, but {len(broken_voxels)} voxels are {what}, the first at {first}; repair or "
        "exclude the image."
    )


def _require_visible(values: np.ndarray, header: Header, array: np.ndarray, path: Path) -> None:
    """Refuse an image whose every value would become 0, or lose its digits, in float32."""
    if max(values.max(), -values.min()) >= SMALLEST_NORMAL:
        return
    if any(slab.any() for _, slab in _scaled_slabs(header, array)):
        raise BadInput(
            f"{path}: expected values that float32 holds, but all are nearer to 0 than {SMALLEST_NORMAL:.2g}; save it "
            "in another unit."
        )
