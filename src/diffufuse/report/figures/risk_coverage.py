"""Whether doubt finds the patients who went wrong: the risk of those that remain when the doubtful are set aside."""

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure

from diffufuse.report import cells
from diffufuse.report.evidence import Evidence
from diffufuse.report.figures import looks, parts
from diffufuse.report.selection import home_values
from diffufuse.report.statistics import aurc

RISK, DOUBT = "dice", "uncertainty_body"
NOTHING = f"No risk-coverage curve: it needs the metrics {RISK} and {DOUBT}, and the study lacks one of them."
MARKS = 15


def data(evidence: Evidence) -> pd.DataFrame:
    """The figure's table: patients under `clean`, the least uncertain first, and the mean risk of those retained.

    Returns:
        Columns dataset, region, model, patient, uncertainty, risk (1 - Dice), retained (share of the patients up to
        this one), mean_risk (of these), oracle (the same had they been sorted by their risk), aurc and aurc_oracle
        (areas under the two), group, member. Patients without a Dice are left out. One sentence if Dice or
        uncertainty is lacking.
    """
    values = home_values(evidence, [RISK, DOUBT], models=evidence.models)
    if set(values["metric"]) < {RISK, DOUBT}:
        return cells.sentence(NOTHING)
    wide = values.pivot(index=[*parts.MODEL, "patient"], columns="metric", values="value")
    known = wide.dropna(subset=RISK).reset_index()
    if known.empty:
        return cells.sentence(NOTHING)
    rows = [_curve(rows) for _, rows in known.groupby(parts.MODEL, sort=False)]
    return looks.grouped(pd.concat(rows, ignore_index=True), evidence)


def _curve(rows: pd.DataFrame) -> pd.DataFrame:
    rows = rows.sort_values([DOUBT, "patient"], na_position="last")
    risk, doubt = 1 - rows[RISK].to_numpy(), rows[DOUBT].to_numpy()
    return rows[[*parts.MODEL, "patient"]].assign(
        uncertainty=rows[DOUBT],
        risk=risk,
        retained=np.arange(1, risk.size + 1) / risk.size,
        mean_risk=retained_risk(risk, doubt),
        oracle=retained_risk(risk, risk),
        aurc=aurc(risk, doubt),
        aurc_oracle=aurc(risk, risk),
    )


def retained_risk(risk: Float[np.ndarray, " n"], doubt: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The mean risk of the k patients of least doubt, for k = 1..n; its mean is the area under the curve, AURC.

    Args:
        risk: one per patient.
        doubt: one per patient; NaN is the greatest. Patients of equal doubt share their mean risk, as no order of
            them is better than another.

    Source:
        Geifman and El-Yaniv 2017, arXiv:1705.08500; Geifman et al. 2019, arXiv:1805.08206.
    """
    doubt = np.where(np.isnan(doubt), np.inf, doubt)
    shared = pd.Series(risk).groupby(doubt).transform("mean").to_numpy()
    return shared[np.argsort(doubt, kind="stable")].cumsum() / np.arange(1, risk.size + 1)


@parts.drawn
def draw(table: pd.DataFrame) -> Figure:
    """Draw the curve of each model and, thin, that of an oracle, one panel per region and group of models.

    Args:
        table: as returned by `data`.
    """
    found = looks.together(table)
    height_in = parts.with_legend(3.0, found, lines=2)
    figure, grid = parts.panels(len(found), width_in=3.6, height_in=height_in)
    for axes, part in zip(grid, found, strict=True):
        for model, rows, whose in looks.models_of(part):
            first = rows.iloc[0]
            label = f"{model}\nAURC {cells.fixed(first['aurc'], 3)}, oracle {cells.fixed(first['aurc_oracle'], 3)}"
            style = {**looks.mark(whose, size=3.5), "linestyle": whose.line, "linewidth": 1.2}
            style["markevery"] = max(1, len(rows) // MARKS)
            axes.plot(rows["retained"], rows["mean_risk"], label=label, **style)
            axes.plot(rows["retained"], rows["oracle"], color=whose.color, linewidth=0.5)
        axes.set_title(parts.place_of(part))
        axes.set_xlabel("Share of patients retained, least uncertain first")
        axes.set_ylabel("Mean risk of these, 1 \N{MINUS SIGN} Dice")
        axes.set_ylim(bottom=0)
        axes.set_xlim(0, 1.02)
        parts.quiet_grid(axes, "both")
        parts.legend(figure, axes, "below")
    counts = table.groupby(parts.MODEL, sort=False)["patient"].nunique()
    doubt = f"uncertainty: {DOUBT}, undefined counts as the most; thin: an oracle that sorts by the risk itself"
    parts.caption(figure, parts.number_of(counts), doubt)
    return figure
