"""The table that a training writes."""

import pyarrow as pa

# One row per step and quantity: the curves of a training.
HISTORY = pa.schema([("step", pa.int32()), ("quantity", pa.string()), ("value", pa.float64()), ("unit", pa.string())])
