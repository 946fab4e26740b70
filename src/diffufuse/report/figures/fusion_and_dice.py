"""Scores of fused images against the Dice of what is segmented on them: does one tell of the other?"""

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from diffufuse.metrics.registry import IMAGE
from diffufuse.report import cells
from diffufuse.report.evidence import CLEAN, Evidence
from diffufuse.report.figures import looks, parts
from diffufuse.report.nouns import noun_of
from diffufuse.report.roles import DISJOINT, GAME, JOINT, of_kind, roles
from diffufuse.report.selection import in_domain_rows

NOTHING = "Nothing to draw: the study scores no fused image that a model segments, in Qabf or VIF and in Dice."
QUALITIES = {"qabf": "Qabf", "vif": "VIF"}
FEWEST = 3
QUESTION = "whether scores of images tell of segmentation is doubted, arXiv:2410.06811"
RAW = "line: Dice on the modalities themselves"


def data(evidence: Evidence) -> pd.DataFrame:
    """The figure's table: mean Dice and mean quality of the image that was segmented, of every model that reads one.

    Returns:
        Columns dataset, region, quality, model, fuser, patients, dice, dice_low, dice_high, score, score_low,
        score_high, group, member. A model that reads the modalities themselves has no fuser and no score. A one-row
        note if no fused image has both.
    """
    found = roles(evidence)
    readers = of_kind(found, DISJOINT, JOINT, GAME)
    summary = in_domain_rows(evidence.summary)
    summary = summary[summary["condition"] == CLEAN]
    images = {
        (row["dataset"], row["model"], row["metric"]): row
        for row in summary[summary["region"] == IMAGE].to_dict("records")
    }
    rows: list[dict[str, Any]] = []
    for row in summary[(summary["metric"] == "dice") & summary["model"].isin(found)].to_dict("records"):
        fuser = found[row["model"]].fuser
        for quality in QUALITIES:
            score = images.get((row["dataset"], fuser, quality))
            if score is None and row["model"] in readers:
                continue
            ends = {"": "mean", "_low": "mean_low", "_high": "mean_high"}
            rows.append(
                {name: row[name] for name in (*looks.PLACE, "model", "patients")}
                | {"quality": quality, "fuser": fuser or ""}
                | {f"dice{end}": row[name] for end, name in ends.items()}
                | {f"score{end}": math.nan if score is None else float(score[name]) for end, name in ends.items()}
            )
    table = pd.DataFrame(rows)
    if table.empty or table["score"].isna().all():
        return cells.sentence(NOTHING)
    scored = set(table.loc[table["score"].notna(), "quality"])
    table = table[table["quality"].isin(scored)].assign(noun=noun_of(evidence, table["dataset"]))
    return looks.grouped(table, evidence)


def correlation(rows: pd.DataFrame) -> tuple[float, int]:
    """Spearman's rank correlation of score and Dice over models, and their number; NaN for fewer than three."""
    both = rows.dropna(subset=["score", "dice"])
    if len(both) < FEWEST or both["score"].nunique() < 2 or both["dice"].nunique() < 2:
        return math.nan, len(both)
    return float(stats.spearmanr(both["score"], both["dice"]).statistic), len(both)


@parts.drawn
def draw(table: pd.DataFrame) -> Figure:
    """Draw a mark per model with the intervals of both means, a panel per region and score.

    Args:
        table: from `data`.
    """
    panels = list(table.groupby([*looks.PLACE, "quality"], sort=False))
    across = table["quality"].nunique()
    figure, grid = parts.lines(
        math.ceil(len(panels) / across),
        across,
        width_in=3.3,
        height_in=2.7,
        margin_in=1.0 + parts.room_for(table["model"]),
    )
    places = [axes for line in grid for axes in line]
    for axes, (_, rows) in zip(places, panels, strict=True):
        _draw_panel(axes, rows)
    seen: dict[str, Any] = {}
    for axes in places:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            seen.setdefault(label, handle)
    figure.legend(list(seen.values()), list(seen), loc="outside right upper", frameon=False, fontsize=6.5)
    scored = table.dropna(subset=["score"])
    raw = RAW if table["score"].isna().any() else ""
    parts.caption(
        figure,
        parts.number_of(scored["patients"], scored["noun"].iloc[0]),
        f"bars: {parts.INTERVAL}",
        "rank correlation over the marks of a panel, which share patients, so it has no p",
        raw,
        QUESTION,
    )
    return figure


def _draw_panel(axes: Axes, rows: pd.DataFrame) -> None:
    scored = rows.dropna(subset=["score"])
    for model, row, look in looks.models_of(scored):
        first = row.iloc[0]
        bars = {name: _lengths(first, name) for name in ("score", "dice")}
        style = {**looks.mark(look), "elinewidth": 0.8, "label": model}
        axes.errorbar(first["score"], first["dice"], xerr=bars["score"], yerr=bars["dice"], **style)
    for place, (model, row, look) in enumerate(looks.models_of(rows[rows["score"].isna()]), start=1):
        dashes = looks.DASHES[place % len(looks.DASHES)]
        line = {"color": look.color, "linewidth": 0.9, "linestyle": dashes, "zorder": 0}
        axes.axhline(row["dice"].iloc[0], label=f"{model}, raw", **line)
    rank, models = correlation(scored)
    number = f"n = {models} model{'s' if models != 1 else ''}"
    text = f"Spearman {rank:+.2f}, {number}" if not math.isnan(rank) else f"{number}: no correlation"
    axes.set_title(f"{parts.place_of(rows)}\n{text}")
    axes.set_xlabel(f"{QUALITIES[rows['quality'].iloc[0]]} of the image that is segmented")
    axes.set_ylabel("Dice")
    parts.quiet_grid(axes, "both")


def _lengths(row: pd.Series, name: str) -> np.ndarray:
    """(2, 1) lengths of an error bar; NaN without an interval."""
    ends = [row[name] - row[f"{name}_low"], row[f"{name}_high"] - row[name]]
    return np.array(ends, float).clip(min=0)[:, None]
