"""How much of a model's result is the seed of its training, and how much the patients."""

import pandas as pd

from diffufuse.report import cells
from diffufuse.report.evidence import CLEAN, Evidence
from diffufuse.report.selection import asked_of, with_own_masks
from diffufuse.report.statistics import spread

SHOWN = ("dice", "iou", "hd95")
ONE_SEED = "one seed: not known"
NOTHING = f"None of the metrics {', '.join(SHOWN)} was asked for in this study."


def seeds(evidence: Evidence) -> pd.DataFrame:
    """Between-seed and between-patient standard deviation of every model, apart, under `clean`.

    Returns:
        Text: one row per metric, region and model.
    """
    found = evidence.at_home
    kept = found["metric"].isin(asked_of(evidence, SHOWN)) & found["model"].isin(with_own_masks(evidence))
    found = found[kept & (found["condition"] == CLEAN)]
    found = found.assign(patient=found["case"].map(dict(evidence.patients)))
    found = found.iloc[found["metric"].map({name: place for place, name in enumerate(SHOWN)}).argsort(kind="stable")]
    rows = [
        {"dataset": key[0], "region": key[1], "metric": cells.heading(str(key[2]), str(key[3])), "model": key[4]}
        | _apart(group, unit=str(key[3]))
        for key, group in found.groupby(["dataset", "region", "metric", "unit", "model"], sort=False, observed=True)
    ]
    return pd.DataFrame(rows) if rows else cells.sentence(NOTHING)


def _apart(values: pd.DataFrame, *, unit: str) -> dict[str, str]:
    examinations = values.groupby(["patient", "seed"])["value"]
    by_seed = examinations.mean().where(examinations.count() == examinations.size()).unstack("seed")
    found, decimals = spread(by_seed.to_numpy(float)), cells.DECIMALS.get(unit, (3, 3))[0]
    return {
        "seeds": str(found.seeds),
        "patients": str(found.patients),
        "between seeds (SD of the mean)": cells.plain(found.between_seeds, decimals) if found.seeds > 1 else ONE_SEED,
        "between patients (SD)": cells.plain(found.between_patients, decimals),
    }
