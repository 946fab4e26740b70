"""Quality gate of registrations: measures and their limits."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from diffufuse.prepare.registration.registering import Registration
from diffufuse.prepare.similarity import LEAST_OVERLAP


@dataclass(frozen=True)
class Limit:
    """The limit of one measure of a registration.

    Attributes:
        value: default limit.
        is_lower: whether it is a lower limit; else an upper one.
        unit: unit, for messages.
        meaning: name of the measure, for messages.
    """

    value: float
    is_lower: bool
    unit: str
    meaning: str

    def broken_by(self, value: float, limit: float) -> bool:
        """Return whether a value violates a limit; NaN always does."""
        return math.isnan(value) or (value < limit if self.is_lower else value > limit)


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


def measures(registration: Registration) -> dict[str, float]:
    """Return the measures of a registration by the names of their limits.

    The displacement from the header's position counts as 0 where the images do not overlap there: the frames of two
    scanners are then unrelated.
    """
    values = {"similarity": registration.similarity_after, "edges": registration.edges_after}
    if registration.overlap_before < LEAST_OVERLAP:
        values["displacement_mm"] = 0.0
    return {name: values[name] if name in values else getattr(registration, name) for name in LIMITS}


def first_violation(
    registration: Registration, *, gate: Mapping[str, float | None], only: Collection[str] | None = None
) -> str | None:
    """Return the first violated limit of a registration as text, or None.

    Args:
        registration: the registration.
        gate: measure to its limit in place of the default; None disables a measure.
        only: the measures to check; all if None.

    Returns:
        Text like "mutual information of at least 0.3 bit, got 0.05 bit"; None if no limit is violated.

    Raises:
        ValueError: the gate names an unknown measure.
    """
    unknown = sorted(set(gate) - set(LIMITS))
    if unknown:
        raise ValueError(f"gate: expected measures among {', '.join(LIMITS)}, got {', '.join(unknown)}")
    for name, value in measures(registration).items():
        limit, threshold = LIMITS[name], gate.get(name, LIMITS[name].value)
        checked = only is None or name in only
        if checked and threshold is not None and limit.broken_by(value, threshold):
            relation = "at least" if limit.is_lower else "at most"
            return f"{limit.meaning} of {relation} {threshold:g}{limit.unit}, got {value:.3g}{limit.unit} ({name})"
    return None
