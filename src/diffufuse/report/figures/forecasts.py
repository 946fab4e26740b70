"""Forecasts of a study's models, for figures of probabilities."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from diffufuse.metrics.comparison import NEAR_MM
from diffufuse.metrics.forecast import Forecast
from diffufuse.metrics.overlap import COUNTED
from diffufuse.report.evidence import CLEAN, Evidence
from diffufuse.report.figures import parts
from diffufuse.report.selection import in_domain_rows

NOTHING = "No probabilities to draw: the study has no forecast of any model under clean."
NEAR = f"voxels within {NEAR_MM:g}\u00a0mm of reference or prediction"
SCOPE = [*parts.MODEL, "scope"]


def forecasts(evidence: Evidence, *scopes: str) -> Iterator[tuple[dict[str, str], Forecast]]:
    """In-domain forecasts of each model under `clean`, pooled over all test cases.

    Args:
        evidence: results of the study.
        scopes: `near`, `body` or both.

    Yields:
        dataset, region, model and scope by name, and the forecast.
    """
    selected = in_domain_rows(evidence.forecasts)
    selected = selected[(selected["condition"] == CLEAN) & selected["scope"].isin(scopes)]
    for key, rows in selected.groupby(SCOPE, sort=False):
        level, inside, outside = rows.sort_values("level")[["level", "inside", "outside"]].to_numpy(np.int64).T
        yield dict(zip(SCOPE, map(str, key), strict=True)), Forecast(level, inside, outside)


def tested(evidence: Evidence) -> pd.DataFrame:
    """Number of scored test patients of each model under `clean`: the columns of `parts.MODEL` and `tested`."""
    summary = parts.clean_summary(evidence, COUNTED[0])
    return summary[parts.MODEL].assign(tested=summary["patients"] - summary["undefined"])
