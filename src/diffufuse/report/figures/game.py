"""Training curves of the game: both players, what moves the leader, and whether its image differs from the mean."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from diffufuse.report import cells
from diffufuse.report.evidence import Evidence
from diffufuse.report.figures import looks, parts
from diffufuse.report.roles import GAME, JOINT, of_kind, roles
from diffufuse.report.style import MEDIUM

NOTHING = "No game to draw: the study trains no fuser and segmenter together, or kept no curves of it."
BINS = 100
WIDTH_IN, HEIGHT_IN = 3.2, 2.35
VALIDATION = "validation_dice_"
# The decomposition loss passes 0, where a logarithm has no end.
LEAST_SHARE, WIDE = 1e-4, 100


class Panel(NamedTuple):
    """A panel of the figure.

    Attributes:
        title: of the panel.
        curves: quantity of the history → name in the legend.
        logarithmic: whether y is.
        limits: of y; None for those of the values.
    """

    title: str
    curves: dict[str, str]
    logarithmic: bool = False
    limits: tuple[float, float] | None = None


PANELS = (
    Panel("Loss", {"loss": "follower", "leader_loss": "leader", "leader_loss_task": "of it the task"}),
    Panel(
        "Physical terms of the leader, unweighted",
        {
            "leader_loss_decomposition": "decomposition",
            "leader_loss_gradient": "gradient",
            "leader_loss_anchor": "anchor",
            "loss_decomposition": "decomposition",
            "loss_gradient": "gradient",
            "loss_anchor": "anchor",
        },
        logarithmic=True,
    ),
    Panel(
        "Gradient norm before clipping",
        {"gradient_norm": "follower", "leader_gradient_norm": "leader"},
        logarithmic=True,
    ),
    Panel("Share of the task in the leader's gradient", {"leader_task_share": "task"}, limits=(-0.02, 1.02)),
    Panel("Distance from the mean image (levels)", {"delta_levels": "|fused - mean|"}),
    Panel(
        "Correlation of the modalities' features",
        {"base_correlation": "base", "detail_correlation": "detail"},
        limits=(-1.02, 1.02),
    ),
    Panel("Validation Dice", {VALIDATION: ""}, limits=(-0.02, 1.02)),
    Panel("Validation Qabf", {"validation_qabf": "Qabf"}, limits=(-0.02, 1.02)),
)


def data(evidence: Evidence) -> pd.DataFrame:
    """The figure's table: the curves of one game a dataset, `compare_with` if it is one, over folds and seeds.

    Returns:
        Columns dataset, model, panel, curve, step (the middle of a bin of steps), median, low and high (the range) over
        runs of their mean in the bin, runs, warm_up (the steps of stage 1), group, member. A one-row note without
        curves.
    """
    curves, found = evidence.curves, roles(evidence)
    players = [*of_kind(found, GAME), *of_kind(found, JOINT)]
    order = sorted(players, key=lambda name: name != evidence.compare_with)
    shown = [
        _of_model(rows[rows["model"] == model], evidence)
        for _, rows in curves[curves["model"].isin(players)].groupby("dataset", sort=False)
        for model in [name for name in order if name in set(rows["model"])][:1]
    ]
    shown = [table for table in shown if len(table)]
    if not shown:
        return cells.sentence(NOTHING)
    return looks.grouped(pd.concat(shown, ignore_index=True), evidence)


def _of_model(rows: pd.DataFrame, evidence: Evidence) -> pd.DataFrame:
    first = rows.iloc[0]
    width = max(1, int(np.ceil((rows["step"].max() + 1) / BINS)))
    binned = rows.assign(step=(rows["step"] // width) * width + width // 2)
    tables = []
    for panel in PANELS:
        for quantity, label in _curves_of(panel, rows):
            of_curve = binned[(binned["quantity"] == quantity) & binned["value"].notna()]
            means = of_curve.groupby(["step", "fold", "seed"])["value"].mean().groupby("step")
            table = pd.DataFrame({"median": means.median(), "low": means.min(), "high": means.max()}).reset_index()
            tables.append(table.assign(panel=panel.title, curve=label))
    if not tables:
        return pd.DataFrame()
    training = evidence.models[first["model"]].get("training", {})
    known = {
        "dataset": first["dataset"],
        "model": first["model"],
        "runs": len(rows[["fold", "seed"]].drop_duplicates()),
        "warm_up": int(training.get("game", {}).get("warm_up_steps", 0)),
    }
    return pd.concat(tables, ignore_index=True).assign(**known)


def _curves_of(panel: Panel, rows: pd.DataFrame) -> list[tuple[str, str]]:
    """(quantity, label) of the curves of a panel that the history has."""
    recorded = list(dict.fromkeys(rows["quantity"]))
    if VALIDATION in panel.curves:
        return [(name, name.removeprefix(VALIDATION)) for name in recorded if name.startswith(VALIDATION)]
    return [(name, label) for name, label in panel.curves.items() if name in recorded]


@parts.drawn
def draw(table: pd.DataFrame) -> Figure:
    """Draw a line of medians with the range over runs for each curve; a dotted line ends stage 1.

    Args:
        table: from `data`.
    """
    panels = list(table.groupby(["dataset", "panel"], sort=False))
    figure, grid = parts.panels(len(panels), width_in=WIDTH_IN, height_in=HEIGHT_IN)
    for axes, (_, rows) in zip(grid, panels, strict=True):
        _draw_panel(axes, rows)
    models = "; ".join(dict.fromkeys(f"{row['model']} on {row['dataset']}" for row in table.to_dict("records")))
    runs = parts.number_of(table["runs"], "runs")
    parts.caption(figure, models, runs, "line: median over folds and seeds; band: their range; dotted: end of stage 1")
    return figure


def _draw_panel(axes: Axes, rows: pd.DataFrame) -> None:
    panel = next(panel for panel in PANELS if panel.title == rows["panel"].iloc[0])
    for number, (curve, line) in enumerate(rows.groupby("curve", sort=False)):
        look = looks.look(0, number)
        if panel.logarithmic:
            line = line[line["median"] > 0]
        axes.fill_between(line["step"], line["low"], line["high"], color=look.color, alpha=0.2, linewidth=0)
        axes.plot(line["step"], line["median"], color=look.color, linestyle=look.line, linewidth=1.2, label=curve)
        if len(line) == 1:
            axes.plot(line["step"], line["median"], **looks.mark(look))
    if panel.logarithmic and (rows["median"] > 0).any():
        axes.set_yscale("log", nonpositive="mask")
        most = rows["high"].max()
        axes.set_ylim(bottom=max(rows.loc[rows["low"] > 0, "low"].min(), LEAST_SHARE * most) / 1.3)
        wide = axes.get_ylim()[1] > WIDE * axes.get_ylim()[0]
        axes.yaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter("{x:g}")
    if panel.limits:
        axes.set_ylim(*panel.limits)
    if rows["warm_up"].iloc[0]:
        axes.axvline(rows["warm_up"].iloc[0], color=MEDIUM, linewidth=0.8, linestyle=":")
    axes.set_title(panel.title)
    axes.set_xlabel("Step")
    axes.legend(frameon=False, fontsize=6.5, loc="best", handlelength=2.4)
    parts.quiet_grid(axes, "y")
