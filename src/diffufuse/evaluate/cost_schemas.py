"""The tables of what a trained model costs where it is used."""

import pyarrow as pa

# What a trained model costs where it is used, on one device: logits for one slice, or one volume if it works in 3-D, of
# the size of a training patch. `macs` as in RUNS; memory beyond what the process held before, NaN if unknown.
EFFICIENCY = pa.schema(
    [
        ("dataset", pa.string()),
        ("model", pa.string()),
        ("device", pa.string()),
        ("threads", pa.int16()),
        ("precision", pa.string()),
        ("voxels", pa.int64()),
        ("parameters", pa.int64()),
        ("macs", pa.int64()),
        ("file_mb", pa.float64()),
        ("peak_memory_mb", pa.float64()),
    ]
)

# One row per timed repeat, after warm-up.
LATENCIES = pa.schema(
    [
        ("dataset", pa.string()),
        ("model", pa.string()),
        ("device", pa.string()),
        ("threads", pa.int16()),
        ("precision", pa.string()),
        ("batch", pa.int16()),
        ("repeat", pa.int32()),
        ("milliseconds", pa.float64()),
    ]
)
