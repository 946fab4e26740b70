"""A registration that cannot be trusted is found by what it measures, and named."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from diffufuse.prepare.registration.registering import Registration
from diffufuse.prepare.similarity import LEAST_OVERLAP


@dataclass(frozen=True)
class Limit:
    """What one measure of a registration may be.

    Attributes:
        value: the limit unless a dataset sets its own.
        is_least: whether values below it are bad; else those above.
        unit: for the sentence.
        meaning: the measure in words, for the sentence.
    """

    value: float
    is_least: bool
    unit: str
    meaning: str

    def broken_by(self, value: float, limit: float) -> bool:
        """Whether a value is on the bad side of a limit; NaN always is."""
        return math.isnan(value) or (value < limit if self.is_least else value > limit)


# Set on sound and on deliberately wrong registrations, see benchmarks/gate.py.
LIMITS = {
    "similarity": Limit(0.3, True, " bit", "mutual information"),
    "edges": Limit(0.1, True, "", "agreement of edges"),
    "overlap": Limit(0.5, True, "", "shared field of view"),
    "body_overlap": Limit(0.7, True, "", "overlap of the bodies"),
    "displacement_mm": Limit(60.0, False, " mm", "mean displacement from the header's position"),
    "rotation_deg": Limit(30.0, False, " degrees", "rotation from the header's position"),
    "disagreement_mm": Limit(15.0, False, " mm", "distance to where the edges alone would put it"),
    "folded": Limit(0.001, False, "", "share of voxels turned inside out"),
}


def measures(found: Registration) -> dict[str, float]:
    """The values of a registration that have limits, by the names of the limits.

    A displacement from the header counts as 0 where the headers put the images apart: two scanners then have frames
    that know nothing of each other, and the header's position is no expectation.
    """
    named = {"similarity": found.similarity_after, "edges": found.edges_after}
    if found.overlap_before < LEAST_OVERLAP:
        named["displacement_mm"] = 0.0
    return {name: named[name] if name in named else getattr(found, name) for name in LIMITS}


def first_fault(
    found: Registration, *, gate: Mapping[str, float | None], only: Collection[str] | None = None
) -> str | None:
    """What is wrong with a registration, or None.

    Args:
        found: the registration.
        gate: measure to its limit in place of the default; None switches a measure off.
        only: the measures to ask about; all if None.

    Returns:
        Words like "mutual information of at least 0.3 bit, got 0.05 bit", of the first broken limit.

    Raises:
        ValueError: the gate names an unknown measure.
    """
    unknown = sorted(set(gate) - set(LIMITS))
    if unknown:
        raise ValueError(f"gate: expected measures among {', '.join(LIMITS)}, got {', '.join(unknown)}")
    for name, value in measures(found).items():
        limit, bound = LIMITS[name], gate.get(name, LIMITS[name].value)
        asked = only is None or name in only
        if asked and bound is not None and limit.broken_by(value, bound):
            most = "at least" if limit.is_least else "at most"
            return f"{limit.meaning} of {most} {bound:g}{limit.unit}, got {value:.3g}{limit.unit} ({name})"
    return None
