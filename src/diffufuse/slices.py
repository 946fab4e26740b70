"""The slice store: a prepared case in one compressed file, from which any axial slice is read alone."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import blosc2
import numpy as np
import pandas as pd

from diffufuse.errors import BadInput
from diffufuse.files import atomic_path, sha256_of

STORED = blosc2.CParams(codec=blosc2.Codec.ZSTD, clevel=3, typesize=4, nthreads=1)


@dataclass(frozen=True)
class StoredCase:
    """One prepared case, read slice by slice.

    Attributes:
        array: (Z, C, X, Y) float32, memory-mapped; its channels are the images in physical units, the presence of
            each modality, the body, and the labels.
        modalities: names of the images, in channel order.
    """

    array: blosc2.NDArray
    modalities: tuple[str, ...]

    def __len__(self) -> int:
        return int(self.array.shape[0])

    def images(self, z: int | slice) -> np.ndarray:
        """Images of a slice in physical units, (M, X, Y), or of several, (Z, M, X, Y); 0 where absent."""
        return self.array[z][..., : len(self.modalities), :, :]

    def presence(self, z: int | slice) -> np.ndarray:
        """Where each modality was acquired, boolean, shaped like `images`."""
        count = len(self.modalities)
        return self.array[z][..., count : 2 * count, :, :] > 0.5

    def body(self, z: int | slice) -> np.ndarray:
        """Where the body is, boolean, (X, Y) or (Z, X, Y)."""
        return self.array[z][..., -2, :, :] > 0.5

    def labels(self, z: int | slice) -> np.ndarray:
        """Reference labels, uint8, (X, Y) or (Z, X, Y)."""
        return np.rint(self.array[z][..., -1, :, :]).astype(np.uint8)


def write_slices(
    path: str | os.PathLike[str],
    *,
    images: Mapping[str, np.ndarray],
    presence: Mapping[str, np.ndarray],
    body: np.ndarray,
    labels: np.ndarray,
) -> str:
    """Store a prepared case, one chunk per axial slice.

    Args:
        path: ends in `.b2nd`.
        images: modality to (X, Y, Z) values in physical units; all modalities of the dataset, 0 where absent.
        presence: modality to (X, Y, Z) boolean, False throughout for an absent modality.
        body: (X, Y, Z) boolean.
        labels: (X, Y, Z) uint8.

    Returns:
        SHA-256 of the file, to be kept in the case's record and given to `open_slices`.
    """
    channels = [*images.values(), *(presence[name] for name in images), body, labels]
    array = np.stack([channel.astype(np.float32) for channel in channels]).transpose(3, 0, 1, 2)
    with atomic_path(path) as partial:
        stored = blosc2.asarray(
            np.ascontiguousarray(array), urlpath=str(partial), mode="w", chunks=(1, *array.shape[1:]), cparams=STORED
        )
        stored.schunk.vlmeta["modalities"] = list(images)
        del stored
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
    if not path.exists() or sha256_of(path) != sha256:
        raise BadInput(
            f"{path}: expected the slice store as it was written, but it is missing or damaged; prepare the case again."
        )
    array = blosc2.open(str(path), mode="r", mmap_mode="r")
    return StoredCase(array, tuple(array.schunk.vlmeta["modalities"]))


def index_slices(cases: Mapping[str, StoredCase], *, dataset: str, regions: Mapping[str, list[int]]) -> pd.DataFrame:
    """How much body and how much of each region every axial slice holds.

    Args:
        cases: name to stored case.
        dataset: name for the table.
        regions: region to the label values that it joins.

    Returns:
        One row per case, region and slice, columns as in `tables.PATCHES`.
    """
    rows = []
    for name, case in cases.items():
        labels, body = case.labels(slice(None)), case.body(slice(None))
        for region, values in regions.items():
            counts = np.isin(labels, values).sum(axis=(1, 2))
            rows += [
                (dataset, name, z, int(inside.sum()), region, int(count))
                for z, (inside, count) in enumerate(zip(body, counts, strict=True))
            ]
    return pd.DataFrame(rows, columns=["dataset", "case", "slice", "body_voxels", "region", "region_voxels"])
