"""What is independent and counts once in a dataset: patients, or pairs of images whose patients are unknown."""

from collections.abc import Iterable

from diffufuse.report.evidence import Evidence

PAIRS = "pairs"


def noun_of(evidence: Evidence, datasets: Iterable[str] | None = None) -> str:
    """What counts once in datasets: `patients`, `pairs`, or `pairs or patients`.

    Args:
        evidence: results of the study.
        datasets: names; by default all on which anything was measured.
    """
    names = set(evidence.metrics["dataset"] if datasets is None else datasets)
    nouns = {PAIRS if evidence.datasets.get(name, {}).get("format") == PAIRS else "patients" for name in names}
    return " or ".join(sorted(nouns)) or "patients"
