"""Every metric that a study can ask for, of masks, of probabilities and of fused images, and what it is scored on."""

from collections.abc import Iterable

from diffufuse.metrics.catalogue import METRICS, Metric
from diffufuse.metrics.fusion.catalogue import FUSION_METRICS, FusionMetric
from diffufuse.report.evidence import Evidence

SCORED: dict[str, Metric | FusionMetric] = {**METRICS, **FUSION_METRICS}
IMAGE = "image"
PAIRS = "pairs"


def of_masks(name: str) -> bool:
    """Whether a metric is of masks or of their surfaces."""
    return name in METRICS and METRICS[name].reads in ("mask", "surface")


def of_images(name: str) -> bool:
    """Whether a metric is of a fused image and its sources."""
    return name in FUSION_METRICS


def noun_of(evidence: Evidence, datasets: Iterable[str] | None = None) -> str:
    """What is independent in the datasets and counts once: `patients`, or `pairs` of images whose patients are unknown.

    Args:
        evidence: results of the study.
        datasets: names; by default all on which anything was measured.
    """
    names = set(evidence.metrics["dataset"] if datasets is None else datasets)
    nouns = {PAIRS if evidence.datasets.get(name, {}).get("format") == PAIRS else "patients" for name in names}
    return " or ".join(sorted(nouns)) or "patients"
