"""In-domain and external Dice of every model."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffufuse.report import cells
from diffufuse.report.evidence import CLEAN, Evidence
from diffufuse.report.figures import looks, parts
from diffufuse.report.selection import with_own_masks
from diffufuse.report.style import INK
from diffufuse.study.transfer import refusal

NOTHING = "No transfer to draw: this study tests its models on no other dataset, or does not measure Dice."
REFUSED = "No transfer could be tested: {reasons}."
NOT_TESTED = "it has not been tested"
HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "++++")
BAR_IN = 0.15


def data(evidence: Evidence) -> pd.DataFrame:
    """The figure's table: Dice over patients under `clean`, of the lesion, in-domain and on each external dataset.

    Returns:
        Columns dataset, region, trained_on, model, those of `parts.STATISTICS`, refused, group, member. A dataset that
        could not be tested has one row without numbers, of `compare_with`, with the reason in `refused`. A one-row
        note if there are no external results.
    """
    statistics = evidence.summary
    selected = (
        (statistics["metric"] == "dice")
        & (statistics["condition"] == CLEAN)
        & statistics["model"].isin(with_own_masks(evidence))
    )
    dice = statistics[selected]
    lesions = {
        name: block.get("lesion", next(iter(block.get("regions", ())), "")) for name, block in evidence.datasets.items()
    }
    external = dice["dataset"] != dice["trained_on"]
    refused = _refused(evidence, dice, sorted(set(dice.loc[~external, "dataset"])))
    if not external.any():
        return cells.sentence(REFUSED.format(reasons=_reasons(refused)) if refused else NOTHING)
    shown = dice[external | (dice["region"] == dice["dataset"].map(lesions))].assign(refused="")
    order = {
        name: rank for rank, name in enumerate(dict.fromkeys([*dice.loc[~external, "dataset"], *evidence.transfers]))
    }
    table = pd.DataFrame([*shown.to_dict("records"), *refused])
    table = table.sort_values("dataset", key=lambda names: names.map(order), kind="stable")
    return looks.grouped(table[[*looks.PLACE, "trained_on", "model", *parts.STATISTICS, "refused"]], evidence)


def _refused(evidence: Evidence, dice: pd.DataFrame, trained_datasets: list[str]) -> list[dict[str, str]]:
    tested = set(zip(dice["trained_on"], dice["dataset"], strict=True))
    return [
        {"dataset": name, "region": "", "trained_on": trained_on, "model": evidence.compare_with}
        | {"refused": refusal(evidence.datasets[trained_on], evidence.datasets[name]) or NOT_TESTED}
        for trained_on in trained_datasets
        for name in evidence.transfers
        if name != trained_on and (trained_on, name) not in tested
    ]


def _reasons(refused: list[dict[str, str]]) -> str:
    return "; ".join(f"{row['trained_on']} to {row['dataset']} ({row['refused']})" for row in refused)


@parts.drawn
def draw(table: pd.DataFrame) -> Figure:
    """Draw a bar per model and dataset with the interval of the mean, one panel per dataset of the training.

    Args:
        table: from `data`.
    """
    shown, refused = table[table["refused"] == ""], table[table["refused"] != ""]
    panels = [rows for _, rows in shown.groupby("trained_on", sort=False)]
    name_width_in = parts.room_for(shown["model"])
    bars = max(rows["model"].nunique() * (rows["dataset"].nunique() + 1) for rows in panels)
    figure, grid = parts.lines(
        len(panels), 1, width_in=4.2, height_in=0.8 + BAR_IN * bars, margin_in=1.6 + name_width_in
    )
    for (axes,), rows in zip(grid, panels, strict=True):
        _draw_panel(axes, rows)
        parts.legend(figure, axes, "right", handlelength=1.6)
    reasons = _reasons(refused.to_dict("records"))  # type: ignore[arg-type]
    parts.caption(figure, parts.INTERVAL, "n: patients", f"not tested: {reasons}" if reasons else "")
    return figure


def _draw_panel(axes: Axes, rows: pd.DataFrame) -> None:
    trained_on = rows["trained_on"].iloc[0]
    models = list(dict.fromkeys(rows.sort_values(["group", "member"], kind="stable")["model"]))
    datasets = list(dict.fromkeys(rows["dataset"]))
    height = 1 / (len(datasets) + 1)
    for number, dataset in enumerate(datasets):
        bars = rows[rows["dataset"] == dataset]
        y = bars["model"].map(models.index) + (number - (len(datasets) - 1) / 2) * height
        color, hatch = looks.COLORS[number % len(looks.COLORS)], HATCHES[number % len(HATCHES)]
        label = f"{'in-domain' if dataset == trained_on else 'transfer'}: {parts.place_of(bars)}"
        fill: dict[str, Any] = {"color": color, "hatch": hatch, "edgecolor": "white", "linewidth": 0}
        axes.barh(y, bars["mean"], 0.9 * height, label=label, **fill)
        axes.errorbar(bars["mean"], y, xerr=parts.intervals(bars), linestyle="none", ecolor=INK, elinewidth=0.8)
        for position, row in zip(y, bars.to_dict("records"), strict=True):
            end = max(row["mean"], row["mean_high"]) if row["mean_high"] == row["mean_high"] else row["mean"]
            axes.text(end + 0.015, position, f"n={row['patients']:.0f}", va="center", fontsize=6)
    axes.set_yticks(range(len(models)), models)
    axes.set_ylim(len(models) - 0.45, -0.55)
    axes.set_xlabel(f"Dice, trained on {trained_on}")
    parts.unit_axis(axes, "x")
