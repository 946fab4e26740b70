"""What a study's models forecast, as figures of probabilities need it."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from diffufuse.metrics.comparison import NEAR_MM
from diffufuse.metrics.forecast import Forecast
from diffufuse.metrics.overlap import COUNTED
from diffufuse.report.evidence import CLEAN, Evidence
from diffufuse.report.figures import parts
from diffufuse.report.selection import home

NOTHING = "No probabilities to draw: the study has no forecast of any model under clean."
NEAR = f"voxels within {NEAR_MM:g}\u00a0mm of reference or prediction"
SCOPE = [*parts.MODEL, "scope"]


def forecasts(evidence: Evidence, *scopes: str) -> Iterator[tuple[dict[str, str], Forecast]]:
    """What each model forecast of its own dataset under `clean`, the voxels of all test cases together.

    Args:
        evidence: what a study found.
        scopes: of `near` and `body`.

    Yields:
        dataset, region, model and scope by name, and the forecast.
    """
    kept = home(evidence.forecasts)
    kept = kept[(kept["condition"] == CLEAN) & kept["scope"].isin(scopes)]
    for key, rows in kept.groupby(SCOPE, sort=False):
        level, inside, outside = rows.sort_values("level")[["level", "inside", "outside"]].to_numpy(np.int64).T
        yield dict(zip(SCOPE, map(str, key), strict=True)), Forecast(level, inside, outside)


def tested(evidence: Evidence) -> pd.DataFrame:
    """How many patients each model was tested on under `clean`: the columns of `parts.MODEL` and `tested`."""
    counted = parts.clean_summary(evidence, COUNTED[0])
    return counted[[*parts.MODEL, "patients"]].rename(columns={"patients": "tested"})
