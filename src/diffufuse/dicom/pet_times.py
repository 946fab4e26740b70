"""The moments of a PET examination: injection, scan start, and what the decay factors say of them."""

import logging
import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
import pydicom
from pydicom.valuerep import DA, DT, TM

from diffufuse.dicom.pet_tags import number_of, private_of, refusal, text_of
from diffufuse.errors import BadInput

log = logging.getLogger(__name__)

LONGEST_DELAY_HALF_LIVES = 10.0
LONGEST_DELAY_OVER_MIDNIGHT = timedelta(hours=6)
CLOCK_TOLERANCE = timedelta(seconds=1)
DECAY_FACTOR_TOLERANCE = 5e-3
# Vendors' own record of the moment to which values are decay-corrected: group, element, private creator.
VENDOR_SCAN_START = ((0x0009, 0x0D, "GEMS_PETD_01"), (0x0071, 0x22, "SIEMENS MED PT"))


def scan_start(headers: Sequence[pydicom.Dataset]) -> datetime:
    """The moment to which the values are corrected when DecayCorrection is START.

    The vendor's own tag if there is one; else the series' start, unless that lies after the first acquisition (the time
    of a later reconstruction), in which case it is the first acquisition.

    Raises:
        BadInput: a date or time is missing, malformed, or contradicts another.
    """
    vendor = {private_of(headers, *tag) for tag in VENDOR_SCAN_START} - {""}
    if len(vendor) > 1:
        raise refusal(headers, "expected one vendor's scan start; separate the acquisitions")
    if vendor:
        return _moment(vendor.pop(), headers)
    first = min(_dated(header, "Acquisition") for header in headers)
    start = min(_dated(header, "Series") for header in headers)
    if start > first:
        log.warning("PET series is dated after its first acquisition; the acquisition's time is taken as scan start.")
    return min(start, first)


def injection_time(given: Mapping[str, str], scan: datetime, headers: Sequence[pydicom.Dataset]) -> datetime:
    """When the tracer was injected; a bare time is of the scan's day, or of the evening before an early scan.

    Raises:
        BadInput: the time is missing or malformed, or two of them contradict each other.
    """
    stamp, clock = given["RadiopharmaceuticalStartDateTime"], given["RadiopharmaceuticalStartTime"]
    if not stamp:
        return _on_the_day_of(clock, scan, headers)
    moment = _moment(stamp, headers)
    if clock and abs(_on_the_day_of(clock, moment, headers, evening_before=False) - moment) > CLOCK_TOLERANCE:
        raise refusal(
            headers,
            "expected one time of injection, but RadiopharmaceuticalStartTime and its DateTime differ; correct it",
        )
    return moment


def decayed_share(injected: datetime, scan: datetime, half_life_s: float, headers: Sequence[pydicom.Dataset]) -> float:
    """The share of the injected activity that is left at scan start, in (0, 1].

    Raises:
        BadInput: the injection lies after the scan, or so long before it that a time or the half-life must be wrong.
    """
    delay_s = (scan - injected).total_seconds()
    if delay_s < 0:
        raise refusal(
            headers, f"expected the injection before the scan, got it {-delay_s:.0f} s after; correct the times"
        )
    if delay_s > LONGEST_DELAY_HALF_LIVES * half_life_s:
        raise refusal(
            headers,
            f"expected the scan within {LONGEST_DELAY_HALF_LIVES:.0f} half-lives ({half_life_s:g} s each) after the "
            f"injection, got a delay of {delay_s:.0f} s; correct the times or the half-life",
        )
    log.info("PET scan starts %.0f s after the injection; half-life %g s.", delay_s, half_life_s)
    return float(2.0 ** (-delay_s / half_life_s))


def require_decay_factors(
    headers: Sequence[pydicom.Dataset], *, reference: datetime, scan: datetime, half_life_s: float
) -> None:
    """Refuse a series whose DecayFactor says that its values were corrected to another moment.

    The factor of a slice is that of the time from the reference to its frame, where the frame's time is told by
    AcquisitionTime or by FrameReferenceTime (from scan start), and counts from the frame's start or as the mean over
    its duration; vendors differ in that, slices of a series do not. One of the four must fit every slice; where one of
    the two times is the same for all slices, the other. A series without decay factors passes unchecked.

    Args:
        headers: of every slice.
        reference: the moment to which the values are said to be corrected.
        scan: scan start.
        half_life_s: of the nuclide.

    Raises:
        BadInput: none of the four fits.

    Source:
        DICOM PS3.3 C.8.9.4 (Decay Factor, Frame Reference Time).
    """
    factors = _numbers(headers, "DecayFactor")
    readings = _readings(headers, reference, scan, half_life_s)
    if np.isnan(factors).any() or not readings:
        log.info("PET slices tell no decay factor with its time; the scan start cannot be cross-checked.")
        return
    off = min(float(np.abs(factors / reading - 1).max()) for reading in readings)
    log.info("Decay factors of %d slices fit the reference time to %.1e.", len(factors), off)
    if not off <= DECAY_FACTOR_TOLERANCE:
        raise refusal(
            headers,
            f"expected DecayFactor to fit the moment that DecayCorrection names, got it up to {100 * off:.1f} % off; "
            "correct the times or choose another export",
        )


def _readings(
    headers: Sequence[pydicom.Dataset], reference: datetime, scan: datetime, half_life_s: float
) -> list[np.ndarray]:
    """Decay factor of each slice, (slices,), by every reading that the tags allow."""
    elapsed_s = [_numbers(headers, "FrameReferenceTime") / 1000 + (scan - reference).total_seconds()]
    try:
        moments = [_dated(header, "Acquisition") for header in headers]
        elapsed_s.append(np.array([(moment - reference).total_seconds() for moment in moments]))
    except BadInput:
        log.info("PET slices tell no time of acquisition.")
    # A clock that stands still while the other runs was not read for each frame.
    elapsed_s = [seconds for seconds in elapsed_s if np.ptp(seconds) > 0] or elapsed_s
    decays = _numbers(headers, "ActualFrameDuration") / 1000 * math.log(2) / half_life_s
    within = [np.ones(len(headers)), decays / -np.expm1(-np.where(decays > 0, decays, np.nan))]
    found = [2 ** (seconds / half_life_s) * share for seconds in elapsed_s for share in within]
    return [reading for reading in found if not np.isnan(reading).any()]


def _numbers(headers: Sequence[pydicom.Dataset], keyword: str) -> np.ndarray:
    return np.array([number_of(text_of(header, keyword)) for header in headers])


def _dated(header: pydicom.Dataset, event: str) -> datetime:
    """SeriesDate with SeriesTime, or AcquisitionDate with AcquisitionTime."""
    date, time = (text_of(header, f"{event}{part}") for part in ("Date", "Time"))
    try:
        return datetime.combine(DA(date), _clock(time))
    except (ValueError, TypeError) as error:
        raise refusal([header], f"expected {event}Date and {event}Time; export the series with its times") from error


def _clock(text: str) -> TM:
    if len(text) < len("HHMM"):
        raise ValueError(f"text: expected a time of day with its minutes, got {len(text)} characters")
    return TM(text)


def _on_the_day_of(
    clock: str, event: datetime, headers: Sequence[pydicom.Dataset], *, evening_before: bool = True
) -> datetime:
    try:
        moment = datetime.combine(event.date(), _clock(clock))
    except (ValueError, TypeError) as error:
        raise refusal(headers, "expected RadiopharmaceuticalStartTime or its DateTime; export it again") from error
    yesterday = moment - timedelta(days=1)
    if evening_before and moment > event and event - yesterday <= LONGEST_DELAY_OVER_MIDNIGHT:
        return yesterday
    return moment


def _moment(text: str, headers: Sequence[pydicom.Dataset]) -> datetime:
    """A DICOM date-time as the clock in the room showed it."""
    try:
        moment = DT(text)
    except (ValueError, TypeError) as error:
        raise refusal(headers, "expected a DICOM date and time of injection and scan; export it again") from error
    if len(text) < len("YYYYMMDDHHMM"):
        raise refusal(headers, "expected a date with its time of day for injection and scan; export it again")
    if moment.tzinfo and text[-5:] != headers[0].get("TimezoneOffsetFromUTC"):
        raise refusal(headers, "expected all times in one time zone; export the series without offsets")
    return datetime.combine(moment.date(), moment.time())
