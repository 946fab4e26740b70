"""Index the axial slices of a dataset by the voxels of the body and of each region."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
import pyarrow as pa

from diffufuse.store.packing import body_of, labels_of
from diffufuse.store.slices import StoredCase

# One row per axial slice of a prepared case.
PATCHES = pa.schema(
    [
        ("dataset", pa.string()),
        ("case", pa.string()),
        ("slice", pa.int32()),
        ("body_voxels", pa.int32()),
        ("region", pa.string()),
        ("region_voxels", pa.int32()),
    ]
)


NO_REGION: Mapping[str, list[int]] = {"": []}


def index_slices(
    cases: Iterable[tuple[str, StoredCase]], *, dataset: str, regions: Mapping[str, list[int]]
) -> pd.DataFrame:
    """Count the voxels of the body and of each region in every axial slice.

    Args:
        cases: name and stored case; consumed one at a time.
        dataset: name of the dataset.
        regions: region to the label values that it combines; without any, a slice has one row of the region "".

    Returns:
        One row per case, region and slice, columns as in `PATCHES`.
    """
    parts = []
    for name, case in cases:
        masks = case._masks((slice(None), slice(None), slice(None)))
        labels, body = labels_of(masks), np.count_nonzero(body_of(masks), axis=(1, 2))
        for region, values in (regions or NO_REGION).items():
            counts = np.count_nonzero(np.isin(labels, values), axis=(1, 2))
            parts.append((name, region, body.astype(np.int32), counts.astype(np.int32)))
    lengths = [len(body) for _, _, body, _ in parts]
    return pd.DataFrame(
        {
            "dataset": dataset,
            "case": np.repeat(np.array([name for name, *_ in parts], object), lengths),
            "slice": np.concatenate([np.arange(length, dtype=np.int32) for length in lengths]),
            "body_voxels": np.concatenate([body for _, _, body, _ in parts]),
            "region": np.repeat(np.array([region for _, region, *_ in parts], object), lengths),
            "region_voxels": np.concatenate([counts for *_, counts in parts]),
        }
    )
