"""Values that would be equal but for the rounding of floating-point numbers count as equal.

0.9 - 0.8 and 0.4 - 0.3 differ by 1e-16, and a mean over seeds depends on their order. Ranks would take that for an
order of the patients. A metric of a patient carries an error of a few times 2e-16 of its size, which grows with the
number of values averaged, so that values within 1e-12 of the largest are ties.
"""

import numpy as np
from jaxtyping import Float, Int

TIE_TOLERANCE = 1e-12


def tie_groups(values: Float[np.ndarray, "n"], *, scale: float = 0.0) -> Int[np.ndarray, "n"]:
    """Number the values from the smallest, 0, on; ties have one number.

    Args:
        values: any unit; NaN is the greatest, as infinity is.
        scale: size of the numbers that the values were computed from; at least the largest value is taken.
    """
    values = np.where(np.isnan(values), np.inf, np.asarray(values, float))
    order = np.argsort(values, kind="stable")
    tolerance = TIE_TOLERANCE * max(scale, np.abs(values[np.isfinite(values)]).max(initial=0.0))
    with np.errstate(invalid="ignore"):  # infinity less infinity is no step
        steps = np.diff(values[order]) > tolerance
    groups = np.empty(values.size, int)
    groups[order] = np.concatenate([[0], np.cumsum(steps)])[: values.size]
    return groups


def with_ties(differences: Float[np.ndarray, "n"], *, scale: float = 0.0) -> Float[np.ndarray, "n"]:
    """Paired differences, with magnitudes that are ties made equal, and those that tie with 0 made 0.

    Args:
        differences: one per patient, finite, any unit.
        scale: the largest of the values that were subtracted, see `tie_groups`.
    """
    differences = np.asarray(differences, float)
    sizes = np.append(np.abs(differences), 0.0)
    groups = tie_groups(sizes, scale=scale)
    smallest = np.full(sizes.size, np.inf)
    np.minimum.at(smallest, groups, sizes)
    return np.sign(differences) * smallest[groups[:-1]] + 0.0  # no negative zero
