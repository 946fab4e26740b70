"""Risk-coverage curves: the mean risk of the patients retained when the most uncertain ones are rejected."""

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure

from diffufuse.report import cells
from diffufuse.report.evidence import Evidence
from diffufuse.report.figures import looks, parts
from diffufuse.report.selection import in_domain_values
from diffufuse.report.statistics import aurc
from diffufuse.report.ties import tie_groups

RISK, UNCERTAINTY = "dice", "uncertainty_body"
NOTHING = f"No risk-coverage curve: it needs the metrics {RISK} and {UNCERTAINTY}, and the study lacks one of them."
MARKS = 15


def data(evidence: Evidence) -> pd.DataFrame:
    """The figure's table: patients under `clean`, the least uncertain first, and the mean risk of those retained.

    Returns:
        Columns dataset, region, model, patient, uncertainty, risk (1 - Dice), retained (share of the patients up to
        this one), mean_risk (of these), oracle (the same if sorted by risk), aurc and aurc_oracle
        (areas under the two), group, member. Patients without a Dice are left out. A one-row note if Dice
        or uncertainty is missing.
    """
    values = in_domain_values(evidence, [RISK, UNCERTAINTY], models=evidence.models)
    if set(values["metric"]) < {RISK, UNCERTAINTY}:
        return cells.sentence(NOTHING)
    wide = values.pivot(index=[*parts.MODEL, "patient"], columns="metric", values="value")
    defined = wide.dropna(subset=RISK).reset_index()
    if defined.empty:
        return cells.sentence(NOTHING)
    rows = [_curve(rows) for _, rows in defined.groupby(parts.MODEL, sort=False)]
    return looks.grouped(pd.concat(rows, ignore_index=True), evidence)


def _curve(rows: pd.DataFrame) -> pd.DataFrame:
    rows = rows.sort_values([UNCERTAINTY, "patient"], na_position="last")
    risk, uncertainty_values = 1 - rows[RISK].to_numpy(), rows[UNCERTAINTY].to_numpy()
    return rows[[*parts.MODEL, "patient"]].assign(
        uncertainty=rows[UNCERTAINTY],
        risk=risk,
        retained=np.arange(1, risk.size + 1) / risk.size,
        mean_risk=retained_risk(risk, uncertainty_values),
        oracle=retained_risk(risk, risk),
        aurc=aurc(risk, uncertainty_values),
        aurc_oracle=aurc(risk, risk),
    )


def retained_risk(risk: Float[np.ndarray, " n"], uncertainty: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The mean risk of the k least uncertain patients, for k = 1..n; its mean is the area under the curve, AURC.

    Args:
        risk: one per patient.
        uncertainty: one per patient; NaN is the greatest. Ties share their mean risk.

    Source:
        Geifman and El-Yaniv 2017, arXiv:1705.08500; Geifman et al. 2019, arXiv:1805.08206.
    """
    groups = tie_groups(uncertainty)
    tied_mean = pd.Series(risk).groupby(groups).transform("mean").to_numpy()
    return tied_mean[np.argsort(groups, kind="stable")].cumsum() / np.arange(1, risk.size + 1)


@parts.drawn
def draw(table: pd.DataFrame) -> Figure:
    """Draw the curve of each model and, thin, that of an oracle, one panel per region and group of models.

    Args:
        table: from `data`.
    """
    panels = looks.together(table)
    height_in = parts.with_legend(3.0, panels, lines=2)
    figure, grid = parts.panels(len(panels), width_in=3.6, height_in=height_in)
    for axes, part in zip(grid, panels, strict=True):
        for model, rows, look in looks.models_of(part):
            first = rows.iloc[0]
            label = f"{model}\nAURC {cells.fixed(first['aurc'], 3)}, oracle {cells.fixed(first['aurc_oracle'], 3)}"
            style = {**looks.mark(look, size=3.5), "linestyle": look.line, "linewidth": 1.2}
            style["markevery"] = max(1, len(rows) // MARKS)
            axes.plot(rows["retained"], rows["mean_risk"], label=label, **style)
            axes.plot(rows["retained"], rows["oracle"], color=look.color, linewidth=0.5)
        axes.set_title(parts.place_of(part))
        axes.set_xlabel("Share of patients retained, least uncertain first")
        axes.set_ylabel("Mean risk of these, 1 \N{MINUS SIGN} Dice")
        axes.set_ylim(bottom=0)
        axes.set_xlim(0, 1.02)
        parts.quiet_grid(axes, "both")
        parts.legend(figure, axes, "below")
    counts = table.groupby(parts.MODEL, sort=False)["patient"].nunique()
    explanation = (
        f"uncertainty: {UNCERTAINTY}, undefined counts as the most; thin: an oracle that sorts by the risk itself"
    )
    parts.caption(figure, parts.number_of(counts), explanation)
    return figure
