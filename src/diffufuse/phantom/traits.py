"""Tumor traits of the phantom patients."""

from dataclasses import dataclass, replace

import numpy as np

from diffufuse.phantom.tissues import TYPICAL, Kind, Tissue
from diffufuse.seeds import seed_of

# Square roots of primes are irrational and independent, so that each trait is evenly distributed over any number of
# patients and no two traits are correlated.
PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23)


@dataclass(frozen=True)
class Traits:
    """Tumor traits of one patient.

    Attributes:
        diameter_mm: axial diameter of the mass, before lobulation, 25-82.
        viable_suv: mean uptake of the viable tumor, 1.5-11; muscle has 0.65.
        viable_hu: attenuation of the viable tumor, 30-56 HU; muscle has 55.
        viable_t1_ms: 900-1400; muscle has 1010.
        viable_t2_ms: 54-94; muscle has 42.
        edema_t2_ms: 58-98.
        necrosis: relative depth of the necrotic core from center to surface, 0.1-0.65.
        edema_mm: mean thickness of the edema around the mass, 4-15.
        one_sided: increase of the uptake from one side of the mass to the other, 0-0.9 (log).
    """

    diameter_mm: float
    viable_suv: float
    viable_hu: float
    viable_t1_ms: float
    viable_t2_ms: float
    edema_t2_ms: float
    necrosis: float
    edema_mm: float
    one_sided: float


def draw_traits(number: int, *, study_seed: int) -> Traits:
    """Return the traits of the patient with a given number, independent of the size of the cohort.

    Args:
        number: number of the patient, from 1.
        study_seed: seed of the study.
    """
    start = np.random.default_rng(seed_of(study_seed, "phantom", "traits")).random(len(PRIMES))
    size, uptake, density, t1, t2, core, shell, side, edema_t2 = (start + number * np.sqrt(PRIMES)) % 1.0
    return Traits(
        diameter_mm=float(25 + 57 * size),
        viable_suv=float(1.5 * (11 / 1.5) ** uptake),
        viable_hu=float(30 + 26 * density),
        viable_t1_ms=float(900 + 500 * t1),
        viable_t2_ms=float(54 + 40 * t2),
        edema_t2_ms=float(58 + 40 * edema_t2),
        necrosis=float(0.1 + 0.55 * core),
        edema_mm=float(4 + 11 * shell),
        one_sided=float(0.9 * side),
    )


def tissues_of(traits: Traits) -> dict[Kind, Tissue]:
    """Return the tissue properties of a patient: the typical ones with those of the tumor."""
    viable = replace(
        TYPICAL[Kind.VIABLE],
        suv=traits.viable_suv,
        hu=traits.viable_hu,
        t1_ms=traits.viable_t1_ms,
        t2_ms=traits.viable_t2_ms,
    )
    return TYPICAL | {
        Kind.VIABLE: viable,
        Kind.MYXOID: replace(TYPICAL[Kind.MYXOID], suv=0.5 + 0.2 * traits.viable_suv),
        Kind.FIBROUS: replace(TYPICAL[Kind.FIBROUS], suv=0.6 + 0.15 * traits.viable_suv),
        Kind.EDEMA: replace(TYPICAL[Kind.EDEMA], t2_ms=traits.edema_t2_ms),
        Kind.INFLAMED: replace(TYPICAL[Kind.INFLAMED], suv=1.0 + 0.3 * traits.viable_suv),
        Kind.NODE: replace(TYPICAL[Kind.NODE], suv=1.0 + 0.8 * traits.viable_suv),
    }
