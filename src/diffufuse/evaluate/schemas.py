"""Schemas of the tables that evaluation writes."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

_RUN = [
    ("dataset", pa.string()),
    ("case", pa.string()),
    ("condition", pa.string()),
    ("trained_on", pa.string()),
    ("model", pa.string()),
    ("fold", pa.int8()),
    ("seed", pa.int16()),
]

# One value per case, region and metric; NaN is an undefined value.
METRICS = pa.schema(
    [*_RUN, ("region", pa.string()), ("metric", pa.string()), ("value", pa.float64()), ("unit", pa.string())]
)


def metrics_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows with all columns of `METRICS` as a frame with its types; further columns are left out."""
    if not rows:
        return METRICS.empty_table().to_pandas()
    return pd.DataFrame(rows, columns=METRICS.names).astype({"fold": "int8", "seed": "int16"})


# Predicted probabilities by true class of the voxels `near` the region or in the whole `body` of all test cases: one
# row per level, a probability in steps of 1/65535, with the number of voxels inside and outside the reference.
FORECASTS = pa.schema(
    [
        *(column for column in _RUN if column[0] not in ("case", "fold", "seed")),
        ("region", pa.string()),
        ("scope", pa.string()),
        ("level", pa.int32()),
        ("inside", pa.int64()),
        ("outside", pa.int64()),
    ]
)

# Post-hoc calibration near a region on a run's validation patients: the maximum-likelihood temperature, and the
# threshold of the prediction sets. NLL is the mean over patients, before and after the temperature.
CALIBRATIONS = pa.schema(
    [
        ("dataset", pa.string()),
        ("model", pa.string()),
        ("fold", pa.int8()),
        ("seed", pa.int16()),
        ("region", pa.string()),
        ("patients", pa.int32()),
        ("temperature", pa.float64()),
        ("nll_before", pa.float64()),
        ("nll_after", pa.float64()),
        ("threshold", pa.float64()),
    ]
)
