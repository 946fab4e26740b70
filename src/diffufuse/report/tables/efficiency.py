"""Inference cost of trained models."""

import pandas as pd

from diffufuse.report import cells
from diffufuse.report.evidence import Evidence

MACHINE = ["dataset", "model", "device", "threads", "precision"]
SIZES = ("parameters", "voxels", "macs", "file_mb", "peak_memory_mb")
NOTHING = "No latency was measured in this study."


def efficiency(evidence: Evidence) -> pd.DataFrame:
    """Size, operations, latency and memory of every trained model, per machine and batch size.

    Returns:
        Text: one row per model, machine and batch; a one-row note if nothing was timed. Latencies are per batch.
    """
    sizes = {tuple(row[name] for name in MACHINE): row for row in evidence.efficiency.to_dict("records")}
    rows = [
        {name: str(value) for name, value in zip([*MACHINE, "batch"], key, strict=True)}
        | _size(sizes.get(key[:-1], {}))
        | _time(group["milliseconds"], sizes.get(key[:-1], {}), int(str(key[-1])))
        for key, group in evidence.latencies.groupby([*MACHINE, "batch"], sort=False)
    ]
    return pd.DataFrame(rows) if rows else cells.sentence(NOTHING)


def _size(row: cells.Row) -> dict[str, str]:
    values = {
        name: float(row.get(name, "nan")) for name in ("parameters", "voxels", "macs", "file_mb", "peak_memory_mb")
    }
    return {
        "parameters (M)": cells.plain(values["parameters"] / 1e6, 2),
        "file (MB)": cells.plain(values["file_mb"], 1),
        "voxels": cells.plain(values["voxels"], 0),
        "GMACs": cells.three_digits(values["macs"] / 1e9),
        "peak memory (MB)": cells.plain(values["peak_memory_mb"], 0, unknown="unknown"),
    }


def _time(milliseconds: pd.Series, row: cells.Row, batch: int) -> dict[str, str]:
    median = float(milliseconds.median())
    voxels = batch * float(row.get("voxels", "nan"))
    return {
        "median (ms)": cells.three_digits(median),
        "p95 (ms)": cells.three_digits(float(milliseconds.quantile(0.95))),
        "median per million voxels (ms)": cells.three_digits(median / voxels * 1e6),
        "repeats": str(len(milliseconds)),
    }
