"""Standardized uptake values (SUV) by body weight, from the tags of a PET series.

| Units | Decay correction | SUV = value times |
|---|---|---|
| BQML | START | weight in g / (dose in Bq decayed from injection to scan start) |
| BQML | ADMIN | weight in g / dose in Bq |
| CNTS of Philips | START, ADMIN | its SUV factor (7053,xx00), or its Bq/ml factor (7053,xx09) by the rule for BQML |
| GML of type BW | any | 1 |
| any | NONE where a dose is needed | refused |
| all others | any | refused |

NONE would need the acquisition time of every slice, which no tag gives reliably: General Electric writes one
AcquisitionTime for all beds (an error of up to 14 % in whole-body scans) and counts FrameReferenceTime from the start
of the frame, where DICOM specifies its middle.
"""

import logging
import math
from collections.abc import Sequence

import numpy as np
import pydicom

from diffufuse.dicom.pet_tags import (
    code_for_message,
    distinct,
    injection_of,
    number_of,
    number_within,
    one_of,
    private_of,
    refusal,
)
from diffufuse.dicom.pet_times import decayed_share, injection_time, require_decay_factors, scan_start
from diffufuse.dicom.series import Series, headers_of, read_stack
from diffufuse.dicom.stack import Stack
from diffufuse.errors import BadInput
from diffufuse.space.volumes import Volume

log = logging.getLogger(__name__)

GRAMS_PER_KG = 1000.0
WEIGHT_RANGE_KG = (0.5, 500.0)
DOSE_RANGE_BQ = (1e6, 1e10)
LIKELY_MBQ = (1.0, 1e4)
HALF_LIFE_RANGE_S = (1.0, 1e8)
PHILIPS, PHILIPS_GROUP, PHILIPS_SUV, PHILIPS_BQML = "Philips PET Private Group", 0x7053, 0x00, 0x09
PHILIPS_TOLERANCE = 1e-2


def to_suv(series: Series) -> Volume:
    """Return the volume of `read_suv`, without its facts: SUV by body weight, float32, g/ml, RAS."""
    return read_suv(series).volume


def read_suv(series: Series, *, fill_gaps: int = 0, partial: bool = False) -> Stack:
    """Read a PET series as SUV by body weight.

    Args:
        series: of modality PT.
        fill_gaps: maximum total number of missing slices to interpolate.
        partial: whether it is known that there are fewer slices than the headers say.

    Returns:
        The volume, float32, g/ml, RAS, and its facts with `suv_factor`, g/ml per unit of the rescaled values.

    Raises:
        BadInput: the series is not PET or not a regular stack, or a tag that SUV needs is missing or contradictory.
    """
    if series.modality != "PT":
        raise BadInput(f"{series.files[0]}: expected a PET series for SUV, got modality {series.modality}.")
    factor = suv_factor(headers_of(series))
    stack = read_stack(series, fill_gaps=fill_gaps, partial=partial)
    values = np.multiply(stack.volume.array, factor, dtype=np.float64).astype(np.float32)
    return Stack(stack.volume.with_array(values), stack.facts | {"suv_factor": factor})


def suv_factor(headers: Sequence[pydicom.Dataset]) -> float:
    """Return the factor that converts rescaled PET values to SUV by body weight.

    Args:
        headers: headers of all slices of one series, in any order.

    Returns:
        g/ml per unit of the stored values: for BQML, 1000 * weight_kg / (dose_bq * 2 ** (-delay_s / half_life_s)).

    Raises:
        BadInput: a tag is missing, zero, implausible or contradicts another, or the unit has no rule above.

    Source:
        DICOM PS3.3 C.8.9.1 (Units, SUV Type, Decay Correction) and the QIBA vendor-neutral SUV rules.
    """
    headers = distinct(headers)
    units = one_of(headers, "Units")
    rules = {"BQML": _factor_of_bqml, "CNTS": _factor_of_counts, "GML": _factor_of_gml}
    if units not in rules:
        raise refusal(
            headers, f"expected Units BQML, CNTS or GML, got {code_for_message(units)}; no rule turns it into SUV"
        )
    corrections = one_of(headers, "CorrectedImage")
    if corrections and not ("DECY" in corrections and "ATTN" in corrections):
        raise refusal(headers, "expected DECY and ATTN in CorrectedImage; choose the corrected reconstruction")
    return rules[units](headers)


def _factor_of_gml(headers: Sequence[pydicom.Dataset]) -> float:
    """Return 1 for values that are SUV by body weight; by DICOM, an absent SUVType means body weight."""
    kind = one_of(headers, "SUVType") or "BW"
    if kind != "BW":
        raise refusal(
            headers,
            f"expected SUV by body weight (SUVType BW), got {code_for_message(kind)}; export the series in BQML",
        )
    return 1.0


def _factor_of_counts(headers: Sequence[pydicom.Dataset]) -> float:
    """Return the factor from the private tags that Philips writes with CNTS."""
    suv, bqml = (_philips(headers, element) for element in (PHILIPS_SUV, PHILIPS_BQML))
    if not suv and not bqml:
        raise refusal(headers, "expected Philips' factors (7053,xx00) or (7053,xx09) beside Units CNTS; export in BQML")
    if not suv:
        return bqml * _factor_of_bqml(headers)
    _decay_correction(headers)
    if bqml:
        _require_same_suv(suv, bqml, headers)
    return suv


def _philips(headers: Sequence[pydicom.Dataset], element: int) -> float:
    """Return a private Philips factor, 0 where it is absent or zero."""
    factor = number_of(private_of(headers, PHILIPS_GROUP, element, PHILIPS) or "0")
    if not 0 <= factor < math.inf:
        raise refusal(headers, f"expected a positive number in (7053,xx{element:02X}); export the series in BQML")
    return factor


def _require_same_suv(suv: float, bqml: float, headers: Sequence[pydicom.Dataset]) -> None:
    """Raise if Philips' SUV factor contradicts weight, dose and times."""
    try:
        by_tags = bqml * _factor_of_bqml(headers)
    except BadInput:
        log.info("Philips' SUV factor is used; the other tags do not suffice to cross-check it.")
        return
    if abs(by_tags / suv - 1) > PHILIPS_TOLERANCE:
        raise refusal(
            headers,
            f"expected one SUV, but Philips' factor gives {suv:.4g} and weight, dose and times {by_tags:.4g} g/ml per "
            "count; correct the tags or export again",
        )


def _factor_of_bqml(headers: Sequence[pydicom.Dataset]) -> float:
    weight_kg = number_within(one_of(headers, "PatientWeight"), WEIGHT_RANGE_KG, "PatientWeight in kg", headers)
    return GRAMS_PER_KG * weight_kg / _dose_at_reference_bq(headers)


def _decay_correction(headers: Sequence[pydicom.Dataset]) -> str:
    decay = one_of(headers, "DecayCorrection")
    if decay not in ("START", "ADMIN"):
        raise refusal(
            headers,
            f"expected DecayCorrection START or ADMIN, got {code_for_message(decay)}; reconstruct with decay "
            "correction",
        )
    return decay


def _dose_at_reference_bq(headers: Sequence[pydicom.Dataset]) -> float:
    """Return the injected dose, decayed to the reference time of the decay correction, Bq."""
    decay, injection = _decay_correction(headers), injection_of(headers)
    dose_bq = _dose_bq(injection["RadionuclideTotalDose"], headers)
    if decay == "ADMIN":
        _cross_check_admin(injection, headers)
        return dose_bq
    half_life_s = _half_life_s(injection["RadionuclideHalfLife"], headers)
    scan = scan_start(headers)
    remaining = decayed_share(injection_time(injection, scan, headers), scan, half_life_s, headers)
    require_decay_factors(headers, reference=scan, scan=scan, half_life_s=half_life_s)
    return dose_bq * remaining


def _cross_check_admin(injection: dict[str, str], headers: Sequence[pydicom.Dataset]) -> None:
    """Check that the times of a series corrected to the injection, if present, agree with its decay factors."""
    try:
        half_life_s = _half_life_s(injection["RadionuclideHalfLife"], headers)
        scan = scan_start(headers)
        injected = injection_time(injection, scan, headers)
    except BadInput:
        log.info("PET slices lack some times; the correction to the injection cannot be cross-checked.")
        return
    require_decay_factors(headers, reference=injected, scan=scan, half_life_s=half_life_s)


def _dose_bq(text: str, headers: Sequence[pydicom.Dataset]) -> float:
    likely = LIKELY_MBQ[0] <= number_of(text) <= LIKELY_MBQ[1]
    hint = ", which looks like MBq" if likely else ""
    return number_within(text, DOSE_RANGE_BQ, "RadionuclideTotalDose in Bq", headers, hint=hint)


def _half_life_s(text: str, headers: Sequence[pydicom.Dataset]) -> float:
    return number_within(text, HALF_LIFE_RANGE_S, "RadionuclideHalfLife in s", headers)
