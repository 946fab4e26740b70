"""Stored values: what the code gave when a person last looked. `pytest --write-golden` rewrites them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from diffufuse.conditions.corruptions import CORRUPTIONS, REMOVALS
from diffufuse.metrics.catalogue import METRICS, evaluate
from diffufuse.metrics.comparison import Comparison
from diffufuse.metrics.fusion.catalogue import FUSION_METRICS
from diffufuse.metrics.fusion.catalogue import evaluate as evaluate_fusion
from diffufuse.metrics.fusion.images import Fusion

GOLDEN = Path(__file__).parent / "golden"
CONDITIONS = yaml.safe_load((Path(__file__).parents[1] / "config" / "conditions.yaml").read_text())["conditions"]
SPACING_MM = (1.0, 1.5, 3.0)
SHAPE = (40, 32, 16)


def ball(center_mm, radius_mm):
    grid = np.indices(SHAPE) * np.reshape(SPACING_MM, (3, 1, 1, 1))
    return np.linalg.norm(grid - np.reshape(center_mm, (3, 1, 1, 1)), axis=0) <= radius_mm


def doubt():
    """What one forecasts who sees the tumor 2 mm aside and is sure of nothing but the far background."""
    grid = np.indices(SHAPE) * np.reshape(SPACING_MM, (3, 1, 1, 1))
    beyond_mm = np.linalg.norm(grid - np.reshape((20, 24, 24), (3, 1, 1, 1)), axis=0) - 10
    return (np.clip(0.5 - beyond_mm / 12, 0, 1) * 0.98).astype(np.float32)


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
    compared = {name: Comparison(*pair, SPACING_MM) for name, pair in metric_phantoms().items()}
    compared["doubtful"] = Comparison(
        doubt() >= 0.5,
        ball((18, 24, 24), 10),
        SPACING_MM,
        probability=doubt(),
        inside=ball((18, 24, 24), 20),
        threshold=0.4,
        samples_ml=(3.9, 4.2, 4.6),
    )
    compared["lost"] = Comparison(*metric_phantoms()["spurious"], SPACING_MM, drawn=True)
    rows = []
    for phantom, comparison in compared.items():
        values = evaluate(comparison)
        rows += [{"phantom": phantom, "metric": name, "value": value} for name, value in values.items()]
    return pd.DataFrame(rows)


def fusion_phantoms():
    """Name → the image fused of two that are always the same: rings with a wave in them, and a spot on gray ground."""
    x, y = np.indices((188, 177))
    radius = np.hypot(x - 90, y - 85)
    a = np.where(radius < 70, 0.5 + 0.3 * np.sin(x / 4) * np.cos(y / 7), 0.2 * (radius < 78))
    b = 0.1 + 0.8 * np.exp(-(((x - 70) / 25) ** 2) - ((y - 110) / 18) ** 2)
    fused = {
        "average": (a + b) / 2,
        "maximum": np.maximum(a, b),
        "one source": a,
        "stretched": np.clip(1.6 * np.maximum(a, b) - 0.2, 0, 1),
        "lifted": 0.15 + 0.85 * np.maximum(a, b),
        "constant": np.full(a.shape, 0.4),
    }
    return {name: Fusion(a, b, image) for name, image in fused.items()}


def fusion_values():
    rows = []
    for phantom, images in fusion_phantoms().items():
        values = evaluate_fusion(images)
        rows += [{"phantom": phantom, "metric": name, "value": value} for name, value in values.items()]
    return pd.DataFrame(rows)


def corruption_values():
    """Mean, spread and one voxel of a corrupted ramp with a bright ball in it, for every corruption and strength."""
    inside = ball((18, 24, 24), 14)
    image = (np.indices(SHAPE).sum(axis=0) + 50 * ball((18, 24, 24), 6)).astype(np.float32)
    rows = []
    for condition, block in CONDITIONS.items():
        if "corruption" in block and "modalities" not in block:
            name = block["corruption"]
            how = {"settings": block["settings"], "spacing_mm": SPACING_MM, "generator": np.random.default_rng(7)}
            if name in REMOVALS:
                corrupted = np.where(REMOVALS[name](inside, **how), image, 0)
            else:
                corrupted = CORRUPTIONS[name](image, inside, **how)
            values = {"mean": corrupted[inside].mean(), "sd": corrupted[inside].std(), "center": corrupted[18, 16, 8]}
            rows += [{"condition": condition, "quantity": name, "value": float(v)} for name, v in values.items()]
    return pd.DataFrame(rows)


TABLES = {"metrics": metric_values, "fusion": fusion_values, "corruptions": corruption_values}


@pytest.mark.parametrize("name", TABLES)
def test_values_are_those_stored(name, write_golden):
    path, computed = GOLDEN / f"{name}.csv", TABLES[name]()
    if write_golden:
        GOLDEN.mkdir(exist_ok=True)
        computed.to_csv(path, index=False, float_format="%.8g", lineterminator="\n", na_rep="nan")
    stored = pd.read_csv(path)
    pd.testing.assert_frame_equal(computed, stored, check_exact=False, check_dtype=False, rtol=1e-5)


def test_every_metric_is_stored_and_nothing_else():
    assert set(pd.read_csv(GOLDEN / "metrics.csv")["metric"]) == set(METRICS)


def test_every_metric_of_fused_images_is_stored_and_nothing_else():
    assert set(pd.read_csv(GOLDEN / "fusion.csv")["metric"]) == set(FUSION_METRICS)


def test_every_corruption_is_stored():
    stored = set(pd.read_csv(GOLDEN / "corruptions.csv")["condition"])
    assert {CONDITIONS[name]["corruption"] for name in stored} == set(CORRUPTIONS | REMOVALS)
