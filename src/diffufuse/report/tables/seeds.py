"""Between-seed and between-patient variation of every model."""

import pandas as pd

from diffufuse.report import cells
from diffufuse.report.evidence import CLEAN, Evidence
from diffufuse.report.nouns import noun_of
from diffufuse.report.selection import asked_of, with_own_masks
from diffufuse.report.statistics import spread
from diffufuse.report.tables.comparison import OF_IMAGES

SHOWN = ("dice", "iou", "hd95", *OF_IMAGES)
ONE_SEED = "one seed: not known"
NOTHING = f"None of the metrics {', '.join(SHOWN)} was asked for in this study."


def seeds(evidence: Evidence) -> pd.DataFrame:
    """Between-seed and between-patient standard deviation of every model under `clean`.

    Returns:
        Text: one row per metric, region and model.
    """
    metrics_table = evidence.in_domain
    selected = metrics_table["metric"].isin(asked_of(evidence, SHOWN)) & metrics_table["model"].isin(
        with_own_masks(evidence)
    )
    metrics_table = metrics_table[selected & (metrics_table["condition"] == CLEAN)]
    metrics_table = metrics_table.assign(patient=metrics_table["case"].map(dict(evidence.patients)))
    metrics_table = metrics_table.iloc[
        metrics_table["metric"].map({name: rank for rank, name in enumerate(SHOWN)}).argsort(kind="stable")
    ]
    rows = [
        {"dataset": key[0], "region": key[1], "metric": cells.heading(str(key[2]), str(key[3])), "model": key[4]}
        | _apart(group, unit=str(key[3]), noun=noun_of(evidence, [str(key[0])]))
        for key, group in metrics_table.groupby(
            ["dataset", "region", "metric", "unit", "model"], sort=False, observed=True
        )
    ]
    return pd.DataFrame(rows).fillna("") if rows else cells.sentence(NOTHING)


def _apart(values: pd.DataFrame, *, unit: str, noun: str) -> dict[str, str]:
    examinations = values.groupby(["patient", "seed"])["value"]
    by_seed = examinations.mean().where(examinations.count() == examinations.size()).unstack("seed")
    variation, decimals = spread(by_seed.to_numpy(float)), cells.DECIMALS.get(unit, (3, 3))[0]
    return {
        "seeds": str(variation.seeds),
        noun: str(variation.patients),
        "between seeds (SD of the mean)": cells.plain(variation.between_seeds, decimals)
        if variation.seeds > 1
        else ONE_SEED,
        f"between {noun} (SD)": cells.plain(variation.between_patients, decimals),
    }
