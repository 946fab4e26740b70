"""Score fused images against the sources that they were made of."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from diffufuse.evaluate.schemas import metrics_frame
from diffufuse.files.sealed import not_as_written
from diffufuse.metrics.fusion.catalogue import FUSION_METRICS, evaluate
from diffufuse.metrics.fusion.images import SMALLEST_SIDE, Fusion
from diffufuse.metrics.fusion.where import where_both
from diffufuse.metrics.registry import IMAGE
from diffufuse.pixels.orientation import as_picture
from diffufuse.store.case import PreparedCase, read_all_prepared, read_prepared
from diffufuse.store.fused import fused_records, gray_levels
from diffufuse.store.normalization import normalized

# Neighboring slices are alike: of 27 sarcomas, the mean over all slices differs from that over these by 1.5 % at most.
MOST_SLICES = 32

Plane = Float[np.ndarray, "x y"]


def evaluate_fused(
    predictions: str | Path,
    cases: Sequence[str | Path],
    *,
    fused_cases: Sequence[str],
    sources: Mapping[str, Mapping[str, Any]] | None,
    names: Mapping[str, Any],
) -> pd.DataFrame:
    """Every metric of every fused image in a folder of predictions, with the region `image`.

    The sources are those that were acquired, on the display scale, also under a condition: a fused image is to show
    what is there, whatever the fuser was shown. So a condition costs the metrics that compare with sources, and may
    raise those that score the fused image alone.

    Args:
        predictions: the folder.
        cases: records of the prepared cases, at least of those that were fused; none is read without `sources`.
        fused_cases: names of the cases that were fused.
        sources: name to block of both images that were fused, `normalization` is read; None if none were fused.
        names: dataset, condition, trained_on, model, fold, seed of the predictions.

    Returns:
        Columns of `METRICS`, see `scores`; no row without `sources`.

    Raises:
        BadInput: the fused image of a case is missing or damaged, or one is of another case or has another shape.
    """
    records = fused_records(predictions) if sources else []
    lost = sorted(set(fused_cases) - {record.stem for record in records}) if sources else []
    if lost:
        raise not_as_written(predictions, f"the fused image of {lost[0]}", "it is missing")
    prepared = read_all_prepared(cases) if records else {}
    rows: list[dict[str, Any]] = []
    for record in records:
        fused = read_prepared(record)
        if fused.name not in prepared or prepared[fused.name].slices.shape != fused.slices.shape:
            raise not_as_written(record, "the fused image of a case", "it is of another case", remove=predictions)
        rows += [
            {**names, "case": fused.name, "region": IMAGE, "metric": name, "value": value}
            | {"unit": FUSION_METRICS[name].unit}
            for name, value in scores(fused, prepared[fused.name], sources=sources or {}).items()
        ]
    return metrics_frame(rows)


def scores(fused: PreparedCase, case: PreparedCase, *, sources: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Every metric of a fused image: its mean over axial slices; of a pair, which has one slice, its value.

    The slices are those that hold body where both sources were acquired; of more than 32, 32 at even steps from the
    first to the last. A slice is scored where both were acquired, and as it is drawn: some metrics differ for a
    transposed image.

    Args:
        fused: the fused image.
        case: the case as it was prepared.
        sources: name to block of both images that were fused; `normalization` is read.

    Returns:
        Name to value; slices of which a metric is undefined are left out, NaN if it is undefined in all.
    """
    shown = normalized(case.selected(sources).scan, modalities=sources)
    both = np.asarray(shown.presence.all(axis=0))
    stacks = [*shown.images, gray_levels(fused)]
    chosen = evenly_spread(np.flatnonzero((both & shown.body).any(axis=(0, 1))), most=MOST_SLICES)
    common = (where_both([stack[..., z] for stack in stacks], both[..., z]) for z in chosen)
    return mean_scores([as_picture(plane) for plane in planes] for planes in common)


def mean_scores(slices: Iterable[Sequence[Plane]]) -> dict[str, float]:
    """Every metric's mean over slices, of each both sources and the fused image; NaN where none defines it.

    Slices of less than 3x3 pixels define none. An infinite value, the PSNR of equal images, counts as undefined: no
    mean over slices or patients could hold it.
    """
    values = [evaluate(Fusion(*images)) for images in slices if min(images[0].shape) >= SMALLEST_SIDE]
    table = pd.DataFrame(values, columns=list(FUSION_METRICS), dtype=float).replace([np.inf, -np.inf], np.nan)
    return {str(name): float(value) for name, value in table.mean().items()}


def evenly_spread(indices: np.ndarray, *, most: int) -> np.ndarray:
    """At most so many of some indices at even steps, the first and the last among them."""
    if len(indices) <= most:
        return indices
    return indices[np.rint(np.linspace(0, len(indices) - 1, most)).astype(int)]
