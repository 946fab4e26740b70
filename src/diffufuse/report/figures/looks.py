"""The look of each model, the same in every figure, and the grouping of models into panels."""

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from diffufuse.report.evidence import Evidence
from diffufuse.report.style import MARKERS, PALETTE

PLACE = ["dataset", "region"]
TOGETHER = 6

# Blue for `compare_with`, then the colors of the palette that differ most in gray.
COLORS = tuple(PALETTE[number] for number in (0, 1, 2, 3, 7, 5, 4))
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (6, 1.5)), (0, (4, 1, 1, 1, 1, 1)), (0, (1, 0.7)))


class Look(NamedTuple):
    """The look of a model in every figure: color, and marker and dashes, which also differ in a gray print.

    Attributes:
        color: of the line and of the edge of the marker.
        marker: shape of the marker.
        line: dashes of the line.
        face: fill color of the marker.
    """

    color: str
    marker: str
    line: Any
    face: str


def look(group: int, member: int) -> Look:
    """The look of a model, from the two columns that `grouped` adds."""
    if not member:
        return Look(COLORS[0], MARKERS[0], DASHES[0], COLORS[0])
    color, marks = COLORS[member % len(COLORS)], MARKERS[1:]
    face = "white" if group % 2 else color
    return Look(color, marks[(member - 1 + group) % len(marks)], DASHES[member % len(DASHES)], face)


def models_of(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame, Look]]:
    """(model, rows, look) of the models of a table, in its order."""
    return [
        (str(model), rows, look(int(rows["group"].iloc[0]), int(rows["member"].iloc[0])))
        for model, rows in table.groupby("model", sort=False)
    ]


def is_variant(evidence: Evidence, model: str) -> bool:
    """Whether a model is a variant of another: different at test time alone, or an ablation by its name."""
    changed = {"weights_of", "predictions_of"} & set(evidence.models[model])
    return bool(changed) or model.startswith(f"{evidence.compare_with}_")


def grouped(table: pd.DataFrame, evidence: Evidence) -> pd.DataFrame:
    """The table with the columns `group` and `member`, which assign many models to panels, sorted by them.

    Args:
        table: has the columns dataset, model and perhaps region.
        evidence: results of the study; its models and their order are read.

    Returns:
        `group`: models that share a panel, at most six and `compare_with`, which is in each panel; baselines come
        first, variants later. `member`: 0 is `compare_with`, the others of a group count from 1. Sorted by dataset
        and region as they first appear, then by group and member.
    """
    others = [model for model in evidence.models if model != evidence.compare_with]
    kinds = [[model for model in others if is_variant(evidence, model) == variant] for variant in (False, True)]
    kinds = kinds if len(others) > TOGETHER else [[model for kind in kinds for model in kind]]
    chunks = [chunk for kind in kinds for chunk in _evenly(kind)]
    group_and_member = {
        m: (group, number) for group, chunk in enumerate(chunks) for number, m in enumerate(chunk, start=1)
    }
    group_and_member[evidence.compare_with] = (0, 0)
    assigned = [group_and_member[model] for model in table["model"]]
    with_groups = table.assign(group=[group for group, _ in assigned], member=[member for _, member in assigned])
    return in_order(with_groups)


def _evenly(models: list[str]) -> list[list[str]]:
    size = math.ceil(len(models) / max(1, math.ceil(len(models) / TOGETHER)))
    return [models[first : first + size] for first in range(0, len(models), size or 1)]


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """The table sorted by dataset and region as they first appear, then by group and member."""
    keys = [key for key in PLACE if key in table]
    ranks = [table[key].map({name: rank for rank, name in enumerate(dict.fromkeys(table[key]))}) for key in keys]
    order = np.lexsort([table["member"], table["group"], *reversed(ranks)])
    return table.iloc[order].reset_index(drop=True)


def together(table: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of each panel: of one dataset, region and group, with those of `compare_with`."""
    panels = []
    for _, rows in table.groupby(PLACE, sort=False):
        for group in sorted(set(rows.loc[rows["member"] > 0, "group"])) or [0]:
            panels.append(rows[(rows["group"] == group) | (rows["member"] == 0)])
    return panels


def mark(look: Look, *, size: float = 5.0) -> dict[str, Any]:
    """Matplotlib keywords of a model's marker, without a line."""
    return {
        "color": look.color,
        "marker": look.marker,
        "markersize": size,
        "markerfacecolor": look.face,
        "markeredgecolor": look.color,
        "markeredgewidth": 0.8,
        "linestyle": "none",
    }
