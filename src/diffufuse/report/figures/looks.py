"""Whose look is which, the same in every figure, and which models share a panel."""

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from diffufuse.report.evidence import Evidence
from diffufuse.report.style import MARKERS, PALETTE

PLACE = ["dataset", "region"]
TOGETHER = 6

# Blue for the model that all others are compared with, then those of the palette that differ most in gray.
COLORS = tuple(PALETTE[number] for number in (0, 1, 2, 3, 7, 5, 4))
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (6, 1.5)), (0, (4, 1, 1, 1, 1, 1)), (0, (1, 0.7)))


class Look(NamedTuple):
    """How a model is drawn in every figure: by color, mark and dashes, of which the last two survive a gray print.

    Attributes:
        color: of its line and of the edge of its mark.
        marker: its mark.
        line: the dashes of its line.
        face: the inside of its mark.
    """

    color: str
    marker: str
    line: Any
    face: str


def look(group: int, member: int) -> Look:
    """The look of a model, by the two columns that `grouped` adds."""
    if not member:
        return Look(COLORS[0], MARKERS[0], DASHES[0], COLORS[0])
    color, marks = COLORS[member % len(COLORS)], MARKERS[1:]
    face = "white" if group % 2 else color
    return Look(color, marks[(member - 1 + group) % len(marks)], DASHES[member % len(DASHES)], face)


def models_of(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame, Look]]:
    """The models of a table in its order, each with its rows and its look."""
    return [
        (str(model), rows, look(int(rows["group"].iloc[0]), int(rows["member"].iloc[0])))
        for model, rows in table.groupby("model", sort=False)
    ]


def is_variant(evidence: Evidence, model: str) -> bool:
    """Whether a model is another one with something changed: at test time alone, or an ablation by its name."""
    changed = {"weights_of", "predictions_of"} & set(evidence.models[model])
    return bool(changed) or model.startswith(f"{evidence.compare_with}_")


def grouped(table: pd.DataFrame, evidence: Evidence) -> pd.DataFrame:
    """The table with two columns more, by which a figure of many models stays readable, and sorted by them.

    Args:
        table: has the columns dataset, model and perhaps region.
        evidence: knows the models and their order.

    Returns:
        `group`: those that share a panel, six at most beside `compare_with`, who is drawn in each; opponents come
        first, variants later. `member`: 0 is `compare_with`, the others of a group count from 1. Sorted by dataset
        and region as they first appear, then by group and member.
    """
    others = [model for model in evidence.models if model != evidence.compare_with]
    kinds = [[model for model in others if is_variant(evidence, model) == variant] for variant in (False, True)]
    kinds = kinds if len(others) > TOGETHER else [[model for kind in kinds for model in kind]]
    chunks = [chunk for kind in kinds for chunk in _evenly(kind)]
    seats = {m: (group, number) for group, chunk in enumerate(chunks) for number, m in enumerate(chunk, start=1)}
    seats[evidence.compare_with] = (0, 0)
    found = [seats[model] for model in table["model"]]
    seated = table.assign(group=[group for group, _ in found], member=[member for _, member in found])
    return in_order(seated)


def _evenly(models: list[str]) -> list[list[str]]:
    most = math.ceil(len(models) / max(1, math.ceil(len(models) / TOGETHER)))
    return [models[first : first + most] for first in range(0, len(models), most or 1)]


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """The table sorted by dataset and region as they first appear, then by group and member."""
    keys = [key for key in PLACE if key in table]
    ranks = [table[key].map({name: rank for rank, name in enumerate(dict.fromkeys(table[key]))}) for key in keys]
    order = np.lexsort([table["member"], table["group"], *reversed(ranks)])
    return table.iloc[order].reset_index(drop=True)


def together(table: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of each panel: those of one place and one group, with those of the model that all are compared with."""
    found = []
    for _, place in table.groupby(PLACE, sort=False):
        for group in sorted(set(place.loc[place["member"] > 0, "group"])) or [0]:
            found.append(place[(place["group"] == group) | (place["member"] == 0)])
    return found


def mark(whose: Look, *, size: float = 5.0) -> dict[str, Any]:
    """A model's mark, without a line."""
    return {
        "color": whose.color,
        "marker": whose.marker,
        "markersize": size,
        "markerfacecolor": whose.face,
        "markeredgecolor": whose.color,
        "markeredgewidth": 0.8,
        "linestyle": "none",
    }
