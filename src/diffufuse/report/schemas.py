"""Schemas of the tables that a study joins and computes."""

import pyarrow as pa

# One row per dataset, condition, model, region and metric; statistics over patients. `excluded` counts the cases that
# the cohort sheet excludes.
SUMMARY = pa.schema(
    [
        ("dataset", pa.string()),
        ("condition", pa.string()),
        ("trained_on", pa.string()),
        ("model", pa.string()),
        ("region", pa.string()),
        ("metric", pa.string()),
        ("unit", pa.string()),
        ("excluded", pa.int32()),
        ("patients", pa.int32()),
        ("undefined", pa.int32()),
        ("mean", pa.float64()),
        ("mean_low", pa.float64()),
        ("mean_high", pa.float64()),
        ("median", pa.float64()),
        ("minimum", pa.float64()),
        ("maximum", pa.float64()),
    ]
)

# One row per run that a study reports. A model without a training of its own has the rows of `trained_as`, whose
# weights it uses. `macs_per_sample` gives logits for `voxels_per_sample`; `corruptions` are those of the training,
# joined by commas; `duration_s` counts from the last start, `seconds_per_step` over all steps.
RUNS = pa.schema(
    [
        ("dataset", pa.string()),
        ("model", pa.string()),
        ("trained_as", pa.string()),
        ("fold", pa.int8()),
        ("seed", pa.int16()),
        ("parameters", pa.int64()),
        ("macs_per_sample", pa.int64()),
        ("voxels_per_sample", pa.int64()),
        ("steps", pa.int32()),
        ("duration_s", pa.float64()),
        ("seconds_per_step", pa.float64()),
        ("modality_dropout", pa.float64()),
        ("corruptions", pa.string()),
        ("device", pa.string()),
        ("threads", pa.int16()),
        ("precision", pa.string()),
        ("commit", pa.string()),
        ("torch", pa.string()),
        ("started_unix_s", pa.float64()),
    ]
)

# Training curves of all runs, one row per step and quantity, as in their history.
CURVES = pa.schema(
    [
        ("dataset", pa.string()),
        ("model", pa.string()),
        ("fold", pa.int8()),
        ("seed", pa.int16()),
        ("step", pa.int32()),
        ("quantity", pa.string()),
        ("value", pa.float64()),
        ("unit", pa.string()),
    ]
)
