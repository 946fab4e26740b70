"""Lesions that were lost in resampling: of which patients, as a note below every table."""

import pandas as pd

from diffufuse.metrics.overlap import lost
from diffufuse.report.evidence import Evidence

KEYS = ["dataset", "region"]


def lost_patients(evidence: Evidence) -> pd.DataFrame:
    """The patients with a region that was drawn and of which resampling left no voxel in one of their examinations.

    Returns:
        Columns dataset, region, patient, each row once.
    """
    metrics = evidence.metrics
    rows = metrics[(metrics["metric"] == lost.__name__) & (metrics["value"] > 0)]
    return rows.assign(patient=rows["case"].map(dict(evidence.patients)))[[*KEYS, "patient"]].drop_duplicates()


def lost_note(evidence: Evidence) -> str:
    """A sentence that counts them by dataset and region, for a reader of any table; empty without any."""
    counts = lost_patients(evidence).groupby(KEYS, sort=False, as_index=False).size()
    if counts.empty:
        return ""
    listed = ", ".join(
        f"{row['region']} of {row['size']} patient{'s' if row['size'] > 1 else ''} in {row['dataset']}"
        for row in counts.to_dict("records")
    )
    return (
        f"Lost in resampling and not scored: {listed}. The lesion was drawn, but resampling to the common grid left "
        "no voxel of it; such patients count as undefined."
    )
