"""Table schemas of the inference cost of a trained model."""

import pyarrow as pa

# Inference cost on one device: the logits of one slice, or of one volume for a 3-D model, of the size of a training
# patch. `macs` as in RUNS; memory in addition to that of the process before, NaN if unknown.
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
