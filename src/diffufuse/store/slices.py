"""The store of prepared cases: one compressed file each, from which a slice or a 3-D patch is read alone.

An image is kept in 16-bit steps of its own; the masks share one more channel, bit by bit. A file is compared with its
SHA-256 when it is opened, so that damage shows before a training begins, not in it.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import blosc2
import numpy as np

from diffufuse.errors import BadInput
from diffufuse.files.atomic import atomic_path
from diffufuse.files.digests import sha256_of
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

# Chosen by benchmarks/patches.py: blocks thin enough for slices and wide enough for patches. Air and absence shrink to
# nothing; noise in 16 bits hardly shrinks, so what does not halve is kept plain and read at the speed of memory.
CHUNK, BLOCK = (1, 32, 64, 64), (1, 8, 64, 64)
PACKED = {"codec": blosc2.Codec.LZ4, "filters": [blosc2.Filter.NOFILTER], "typesize": 2, "nthreads": 1}
WORTH_PACKING = 0.5
# An open file takes 0.2 MB and a descriptor, opening it anew 0.2 ms: memory must not grow with the cohort.
MOST_OPEN = 64

Region = tuple[slice, slice, slice]


@dataclass(frozen=True)
class StoredCase:
    """One prepared case, read slice by slice or patch by patch.

    Attributes:
        path: its file.
        stamp: what tells whether the file is still the one that was compared with its SHA-256.
        sha256: of the file's content.
        modalities: names of the images, in channel order.
        steps: (M,) float32, size of a step in each image's unit; a value is off by half a step at most.
    """

    path: Path
    stamp: tuple[int, ...]
    sha256: str
    modalities: tuple[str, ...]
    steps: np.ndarray

    @property
    def array(self) -> blosc2.NDArray:
        """(M + 1, Z, X, Y) int16, memory-mapped: the images in steps, and the masks bit by bit."""
        return _opened(self.path, self.stamp)

    def __len__(self) -> int:
        return int(self.array.shape[1])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Size in voxels, (X, Y, Z)."""
        _, z, x, y = self.array.shape
        return int(x), int(y), int(z)

    def images(self, z: int | slice) -> np.ndarray:
        """Images of a slice in physical units, (M, X, Y), or of several, (Z, M, X, Y); 0 where absent."""
        return _slices_first(self._images((_slab(z), slice(None), slice(None))), z)

    def presence(self, z: int | slice) -> np.ndarray:
        """Where each modality was acquired, boolean, shaped like `images`."""
        return _slices_first(presence_of(self._masks((_slab(z), slice(None), slice(None))), len(self.modalities)), z)

    def body(self, z: int | slice) -> np.ndarray:
        """Where the body is, boolean, (X, Y) or (Z, X, Y)."""
        return _slices_first(body_of(self._masks((_slab(z), slice(None), slice(None)))), z)

    def labels(self, z: int | slice) -> np.ndarray:
        """Reference labels, uint8, (X, Y) or (Z, X, Y)."""
        return _slices_first(labels_of(self._masks((_slab(z), slice(None), slice(None)))), z)

    def patch(self, start: tuple[int, int, int], size: tuple[int, int, int]) -> "Patch":
        """A box of the case; only what is asked of it is read.

        Args:
            start: lowest voxel (X, Y, Z); may lie outside the case, where everything is absent.
            size: (X, Y, Z) in voxels.
        """
        return Patch(self, start, size)

    def _images(self, region: Region) -> np.ndarray:
        return decode(self.array[(slice(len(self.modalities)), *region)], self.steps)

    def _masks(self, region: Region) -> np.ndarray:
        return self.array[(slice(-1, None), *region)][0]


@dataclass(frozen=True)
class Patch:
    """A box of a stored case.

    Attributes:
        case: what it is a part of.
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
        return presence_of(self._masks, len(self.case.modalities))

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
        """What was read, (..., Z, X, Y), as (..., X, Y, Z), with nothing around it where the case ends."""
        found = np.moveaxis(part, -3, -1)
        if found.shape[-3:] == tuple(self.size):
            return found
        whole = np.zeros((*found.shape[:-3], *self.size), found.dtype)
        x, y, z = (
            slice(first - start, last - start) for start, (first, last) in zip(self.start, self._within, strict=True)
        )
        whole[..., x, y, z] = found
        return whole


def write_slices(
    path: str | os.PathLike[str],
    *,
    images: Mapping[str, np.ndarray],
    presence: Mapping[str, np.ndarray],
    body: np.ndarray,
    labels: np.ndarray,
) -> str:
    """Store a prepared case.

    Whole numbers within 32,767 of 0 are kept exactly, other values to half a step: the image's largest magnitude
    divided by 65,534. Where a modality is absent its image is exactly 0.

    Args:
        path: ends in `.b2nd`.
        images: modality to (X, Y, Z) values in physical units; all modalities of the dataset, at most 7.
        presence: modality to (X, Y, Z) boolean, False throughout for an absent modality.
        body: (X, Y, Z) boolean.
        labels: (X, Y, Z) uint8.

    Returns:
        SHA-256 of the file, to be kept in the case's record and given to `open_slices`.

    Raises:
        BadInput: an image is not finite, or few of its values lie so far out that the steps between the others
            would be lost.
    """
    x, y, z = labels.shape
    array = np.empty((len(images) + 1, z, x, y), np.int16)
    steps = []
    for codes, (name, image) in zip(array, images.items(), strict=False):
        seen = np.where(presence[name], image, 0)
        require_finite(seen, path, name)
        steps.append(step_of(seen))
        require_fine_steps(seen[presence[name]], steps[-1], path, name)
        encode(seen, steps[-1], codes)
    array[-1] = pack_masks([presence[name] for name in images], body, labels).transpose(2, 0, 1)
    stored = _compressed(array)
    stored.schunk.vlmeta["modalities"] = list(images)
    stored.schunk.vlmeta["steps"] = steps
    with atomic_path(path) as partial:
        partial.write_bytes(stored.to_cframe())
        digest = sha256_of(partial)
    return digest


def open_slices(path: str | os.PathLike[str], *, sha256: str) -> StoredCase:
    """Open a stored case for reading.

    Args:
        path: the file that `write_slices` wrote.
        sha256: what `write_slices` returned.

    Raises:
        BadInput: the file is missing or its content is not what was written.
    """
    path = Path(path)
    stamp = _stamp(path)
    if not path.exists() or sha256_of(path) != sha256:
        raise BadInput(
            f"{path}: expected the slice store as it was written, but it is missing or damaged; prepare the case again."
        )
    array = _opened.__wrapped__(path, stamp)  # for a moment only; reading will open it again
    if array.dtype != np.int16:
        raise BadInput(f"{path}: expected 16-bit steps, got {array.dtype} of an older release; prepare the case again.")
    kept = array.schunk.vlmeta
    return StoredCase(path, stamp, sha256, tuple(kept["modalities"]), np.array(kept["steps"], np.float32))


def _stamp(path: Path) -> tuple[int, ...]:
    """Identity of a file, empty if there is none."""
    if not path.exists():
        return ()
    now = path.stat()
    return now.st_ino, now.st_size, now.st_mtime_ns


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
    """From (..., Z, X, Y) to (Z, ..., X, Y), or to (..., X, Y) for one slice."""
    return np.moveaxis(part, -3, 0) if isinstance(z, slice) else part[..., 0, :, :]
