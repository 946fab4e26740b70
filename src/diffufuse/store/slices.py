"""Store of prepared cases: one compressed file per case, with access to single slices and 3-D patches.

Images are quantized to 16 bits; the masks share one more channel as a bit field. The SHA-256 of a file is verified when
a host first opens it, so that damage is detected before training: see `files.verified`.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import blosc2
import numpy as np

from diffufuse.errors import BadInput
from diffufuse.files.atomic import atomic_path
from diffufuse.files.digests import sha256_of
from diffufuse.files.sealed import not_as_written
from diffufuse.files.verified import has_sha256
from diffufuse.store.packing import (
    body_of,
    decode,
    encode,
    labels_of,
    pack_masks,
    presence_of,
    require_fine_steps,
    require_finite,
    step_of,
)

# Chosen by benchmarks/patches.py: blocks thin enough for slices and wide enough for patches. Air and absent voxels
# compress well, noise hardly; chunks that do not halve are stored uncompressed and read at memory speed.
CHUNK, BLOCK = (1, 32, 64, 64), (1, 8, 64, 64)
PACKED = {"codec": blosc2.Codec.LZ4, "filters": [blosc2.Filter.NOFILTER], "typesize": 2, "nthreads": 1}
WORTH_PACKING = 0.5
# An open file takes 0.2 MB and a descriptor, reopening it 0.2 ms: memory must not grow with the cohort.
MOST_OPEN = 64

Region = tuple[slice, slice, slice]


@dataclass(frozen=True)
class StoredCase:
    """A prepared case, read by slices or patches.

    Attributes:
        path: path of the file.
        stamp: inode, size and modification time of the verified file, to detect later changes.
        sha256: SHA-256 of the file's content.
        stored: names of the images in the file, in its order.
        steps: quantization step of each stored image in its unit, float32; the error of a value is at most half a step.
        modalities: names of the images that are read, in channel order.
    """

    path: Path
    stamp: tuple[int, ...]
    sha256: str
    stored: tuple[str, ...]
    steps: np.ndarray
    modalities: tuple[str, ...]

    def selected(self, modalities: Iterable[str]) -> "StoredCase":
        """The same case with these images alone, in this order.

        Raises:
            BadInput: the file has no such image.
        """
        names = tuple(modalities)
        absent = [name for name in names if name not in self.stored]
        if absent:
            raise BadInput(
                f"{self.path}: expected the image {absent[0]}, but the slice store holds {', '.join(self.stored)}; "
                "prepare the case again."
            )
        return replace(self, modalities=names)

    @property
    def array(self) -> blosc2.NDArray:
        """(M + 1, Z, X, Y) int16, memory-mapped: the quantized images and the packed masks."""
        return _opened(self.path, self.stamp)

    def __len__(self) -> int:
        return int(self.array.shape[1])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Size in voxels, (X, Y, Z)."""
        _, z, x, y = self.array.shape
        return int(x), int(y), int(z)

    def images(self, z: int | slice) -> np.ndarray:
        """Return images in physical units, (M, X, Y) of one slice or (Z, M, X, Y) of several; 0 where absent."""
        return _slices_first(self._images((_slab(z), slice(None), slice(None))), z)

    def presence(self, z: int | slice) -> np.ndarray:
        """Return where each modality was acquired, boolean, shaped like `images`."""
        return _slices_first(self._presence(self._masks((_slab(z), slice(None), slice(None)))), z)

    def body(self, z: int | slice) -> np.ndarray:
        """Return the body mask, boolean, (X, Y) or (Z, X, Y)."""
        return _slices_first(body_of(self._masks((_slab(z), slice(None), slice(None)))), z)

    def labels(self, z: int | slice) -> np.ndarray:
        """Return the reference labels, uint8, (X, Y) or (Z, X, Y)."""
        return _slices_first(labels_of(self._masks((_slab(z), slice(None), slice(None)))), z)

    def patch(self, start: tuple[int, int, int], size: tuple[int, int, int]) -> "Patch":
        """Return a patch of the case, which is read on access.

        Args:
            start: lowest voxel (X, Y, Z); may lie outside the case, where all modalities are absent.
            size: (X, Y, Z) in voxels.
        """
        return Patch(self, start, size)

    def _images(self, region: Region) -> np.ndarray:
        if self.modalities == self.stored:
            return decode(self.array[(slice(len(self.stored)), *region)], self.steps)
        codes = np.stack([self.array[(slice(channel, channel + 1), *region)][0] for channel in self._channels])
        return decode(codes, self.steps[self._channels])

    @property
    def _channels(self) -> list[int]:
        return [self.stored.index(name) for name in self.modalities]

    def _presence(self, masks: np.ndarray) -> np.ndarray:
        stored = presence_of(masks, len(self.stored))
        return stored if self.modalities == self.stored else stored[self._channels]

    def _masks(self, region: Region) -> np.ndarray:
        return self.array[(slice(-1, None), *region)][0]


@dataclass(frozen=True)
class Patch:
    """A patch of a stored case.

    Attributes:
        case: the stored case.
        start: lowest voxel (X, Y, Z).
        size: (X, Y, Z) in voxels.
    """

    case: StoredCase
    start: tuple[int, int, int]
    size: tuple[int, int, int]

    @property
    def images(self) -> np.ndarray:
        """(M, X, Y, Z) float32 in physical units, 0 where absent."""
        return self._placed(self.case._images(self._region))

    @property
    def presence(self) -> np.ndarray:
        """(M, X, Y, Z) boolean, where each modality was acquired."""
        return self.case._presence(self._masks)

    @property
    def body(self) -> np.ndarray:
        """(X, Y, Z) boolean."""
        return body_of(self._masks)

    @property
    def labels(self) -> np.ndarray:
        """(X, Y, Z) uint8."""
        return labels_of(self._masks)

    @cached_property
    def _masks(self) -> np.ndarray:
        return self._placed(self.case._masks(self._region))

    @property
    def _within(self) -> list[tuple[int, int]]:
        """First and last voxel of the part that lies in the case, (X, Y, Z)."""
        boxes = zip(self.start, self.size, self.case.shape, strict=True)
        return [(min(max(first, 0), n), min(max(first + length, 0), n)) for first, length, n in boxes]

    @property
    def _region(self) -> Region:
        x, y, z = (slice(first, last) for first, last in self._within)
        return z, x, y

    def _placed(self, part: np.ndarray) -> np.ndarray:
        """Transpose an array (..., Z, X, Y) to (..., X, Y, Z), zero-padded outside the case."""
        values = np.moveaxis(part, -3, -1)
        if values.shape[-3:] == tuple(self.size):
            return values
        padded = np.zeros((*values.shape[:-3], *self.size), values.dtype)
        x, y, z = (
            slice(first - start, last - start) for start, (first, last) in zip(self.start, self._within, strict=True)
        )
        padded[..., x, y, z] = values
        return padded


def write_slices(
    path: str | os.PathLike[str],
    *,
    images: Mapping[str, np.ndarray],
    presence: Mapping[str, np.ndarray],
    body: np.ndarray,
    labels: np.ndarray,
    bounded: bool = False,
) -> str:
    """Store a prepared case.

    Integers within 32,767 of 0 are stored exactly, other values to half a step: the image's largest magnitude divided
    by 65,534. Where a modality is absent its image is exactly 0.

    Args:
        path: ends in `.b2nd`.
        images: modality to (X, Y, Z) values in physical units; all modalities of the dataset, at most 7.
        presence: modality to (X, Y, Z) boolean, False throughout for an absent modality.
        body: (X, Y, Z) boolean.
        labels: (X, Y, Z) uint8.
        bounded: whether the range of values is known, as of gray levels, so that few bright ones are no outliers.

    Returns:
        SHA-256 of the file, to be passed to `open_slices`.

    Raises:
        BadInput: an image is not finite, or its outliers make the quantization too coarse.
    """
    x, y, z = labels.shape
    array = np.empty((len(images) + 1, z, x, y), np.int16)
    steps = []
    for codes, (name, image) in zip(array, images.items(), strict=False):
        masked = np.where(presence[name], image, 0)
        require_finite(masked, path, name)
        steps.append(step_of(masked))
        if not bounded:
            require_fine_steps(masked[presence[name]], steps[-1], path, name)
        encode(masked, steps[-1], codes)
    array[-1] = pack_masks([presence[name] for name in images], body, labels).transpose(2, 0, 1)
    stored = _compressed(array)
    stored.schunk.vlmeta["modalities"] = list(images)
    stored.schunk.vlmeta["steps"] = steps
    with atomic_path(path) as partial:
        partial.write_bytes(stored.to_cframe())
        digest = sha256_of(partial)
    return digest


def open_slices(path: str | os.PathLike[str], *, sha256: str, remove: str | Path | None = None) -> StoredCase:
    """Open a stored case for reading.

    Args:
        path: a file written by `write_slices`.
        sha256: the return value of `write_slices`.
        remove: what to remove so that the store is made anew, for the message; by default the file.

    Raises:
        BadInput: the file is missing or its content has changed.
    """
    path, stamp = Path(path), _stamp(Path(path))
    if not has_sha256(path, sha256):
        raise not_as_written(path, "the slice store", "it is missing or damaged", remove=remove)
    array = _opened.__wrapped__(path, stamp)  # bypasses the cache; reading opens the file again
    if array.dtype != np.int16:
        raise not_as_written(path, "the slice store", f"it is of an earlier release, {array.dtype}", remove=remove)
    metadata = array.schunk.vlmeta
    names = tuple(metadata["modalities"])
    return StoredCase(path, stamp, sha256, names, np.array(metadata["steps"], np.float32), names)


def _stamp(path: Path) -> tuple[int, ...]:
    """Return inode, size and modification time of a file, empty if it does not exist."""
    if not path.exists():
        return ()
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


@lru_cache(maxsize=MOST_OPEN)
def _opened(path: Path, stamp: tuple[int, ...]) -> blosc2.NDArray:
    if _stamp(path) != stamp:
        raise BadInput(f"{path}: expected the slice store that was checked, but it was changed since; start again.")
    return blosc2.open(str(path), mode="r", mmap_mode="r", dparams=blosc2.DParams(nthreads=1))


def _compressed(array: np.ndarray) -> blosc2.NDArray:
    chunks = tuple(map(min, CHUNK, array.shape))
    layout = {"chunks": chunks, "blocks": tuple(map(min, BLOCK, chunks))}
    packed = blosc2.asarray(array, cparams={**PACKED, "clevel": 1}, **layout)
    plain = blosc2.asarray(array, cparams={**PACKED, "clevel": 0}, **layout)
    for n in range(plain.schunk.nchunks):
        if len(packed.schunk.get_chunk(n)) > WORTH_PACKING * plain.schunk.chunksize:
            packed.schunk.update_chunk(n, plain.schunk.get_chunk(n))
    return packed


def _slab(z: int | slice) -> slice:
    return z if isinstance(z, slice) else slice(z, z + 1)


def _slices_first(part: np.ndarray, z: int | slice) -> np.ndarray:
    """Transpose (..., Z, X, Y) to (Z, ..., X, Y), or to (..., X, Y) for one slice."""
    return np.moveaxis(part, -3, 0) if isinstance(z, slice) else part[..., 0, :, :]
