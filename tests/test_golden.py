"""Stored values: what the code gave when a person last looked. `pytest --write-golden` rewrites them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diffufuse.metrics import METRICS, evaluate_case

GOLDEN = Path(__file__).parent / "golden"
SPACING_MM = (1.0, 1.5, 3.0)
SHAPE = (40, 32, 16)


def ball(center_mm, radius_mm):
    grid = np.indices(SHAPE) * np.reshape(SPACING_MM, (3, 1, 1, 1))
    return np.linalg.norm(grid - np.reshape(center_mm, (3, 1, 1, 1)), axis=0) <= radius_mm


def metric_phantoms():
    """Name → prediction, reference."""
    none, tumor = np.zeros(SHAPE, bool), ball((18, 24, 24), 10)
    return {
        "shifted": (ball((22, 24, 24), 10), tumor),
        "shrunken": (ball((18, 24, 24), 7), tumor),
        "island": (tumor | ball((36, 6, 6), 4), tumor),
        "missed": (none, tumor),
        "spurious": (tumor, none),
        "both_empty": (none, none),
    }


def metric_values():
    rows = []
    for phantom, (prediction, reference) in metric_phantoms().items():
        values = evaluate_case(prediction, reference, spacing_mm=SPACING_MM, metrics=list(METRICS))
        rows += [{"phantom": phantom, "metric": name, "value": value} for name, value in values.items()]
    return pd.DataFrame(rows)


TABLES = {"metrics": metric_values}


@pytest.mark.parametrize("name", TABLES)
def test_values_are_those_stored(name, write_golden):
    path, computed = GOLDEN / f"{name}.csv", TABLES[name]()
    if write_golden:
        GOLDEN.mkdir(exist_ok=True)
        computed.to_csv(path, index=False, float_format="%.8g", lineterminator="\n", na_rep="nan")
    stored = pd.read_csv(path)
    pd.testing.assert_frame_equal(computed, stored, check_exact=False, check_dtype=False, rtol=1e-6)


def test_every_metric_is_stored_and_nothing_else():
    assert set(pd.read_csv(GOLDEN / "metrics.csv")["metric"]) == set(METRICS)
