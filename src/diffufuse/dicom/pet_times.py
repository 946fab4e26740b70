"""Injection time, scan start and decay of a PET series, and their check by the decay factors."""

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
# Private tags of the time to which values are decay-corrected: group, element, private creator.
VENDOR_SCAN_START = ((0x0009, 0x0D, "GEMS_PETD_01"), (0x0071, 0x22, "SIEMENS MED PT"))


def scan_start(headers: Sequence[pydicom.Dataset]) -> datetime:
    """Return the time to which values are decay-corrected when DecayCorrection is START.

    It is the vendor's private tag if present; else the earlier of the series start and the first acquisition, as a
    later series start is the time of a reconstruction.

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


def injection_time(injection: Mapping[str, str], scan: datetime, headers: Sequence[pydicom.Dataset]) -> datetime:
    """Return the time of injection; a time without date is on the day of the scan, or the evening before an early scan.

    Raises:
        BadInput: the time is missing or malformed, or two of them contradict each other.
    """
    datetime_text, time_text = injection["RadiopharmaceuticalStartDateTime"], injection["RadiopharmaceuticalStartTime"]
    if not datetime_text:
        return _on_day_of(time_text, scan, headers)
    moment = _moment(datetime_text, headers)
    if time_text and abs(_on_day_of(time_text, moment, headers, evening_before=False) - moment) > CLOCK_TOLERANCE:
        raise refusal(
            headers,
            "expected one time of injection, but RadiopharmaceuticalStartTime and its DateTime differ; correct it",
        )
    return moment


def decayed_share(injected: datetime, scan: datetime, half_life_s: float, headers: Sequence[pydicom.Dataset]) -> float:
    """Return the fraction of the injected activity that remains at scan start, in (0, 1].

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
    """Raise if DecayFactor contradicts the reference time of the decay correction.

    The factor of a slice covers the time from the reference to its frame. The frame's time is given by AcquisitionTime
    or by FrameReferenceTime (from scan start), and refers to the frame's start or to the mean over its duration;
    vendors differ in this, slices of a series do not. One of the four interpretations must fit all slices; a time that
    is the same for all slices is ignored where the other varies. A series without decay factors is not checked.

    Args:
        headers: headers of all slices.
        reference: declared reference time of the decay correction.
        scan: scan start.
        half_life_s: half-life of the nuclide.

    Raises:
        BadInput: none of the four interpretations fits.

    Source:
        DICOM PS3.3 C.8.9.4 (Decay Factor, Frame Reference Time).
    """
    factors = _numbers(headers, "DecayFactor")
    candidates = _expected_factors(headers, reference, scan, half_life_s)
    if np.isnan(factors).any() or not candidates:
        log.info("PET slices have no decay factor with its time; the scan start cannot be cross-checked.")
        return
    error = min(float(np.abs(factors / expected - 1).max()) for expected in candidates)
    log.info("Decay factors of %d slices fit the reference time to %.1e.", len(factors), error)
    if not error <= DECAY_FACTOR_TOLERANCE:
        raise refusal(
            headers,
            f"expected DecayFactor to fit the moment that DecayCorrection names, got it up to {100 * error:.1f} % off; "
            "correct the times or choose another export",
        )


def _expected_factors(
    headers: Sequence[pydicom.Dataset], reference: datetime, scan: datetime, half_life_s: float
) -> list[np.ndarray]:
    """Return the expected decay factors, (slices,), by each interpretation that the tags allow."""
    elapsed_s = [_numbers(headers, "FrameReferenceTime") / 1000 + (scan - reference).total_seconds()]
    try:
        moments = [_dated(header, "Acquisition") for header in headers]
        elapsed_s.append(np.array([(moment - reference).total_seconds() for moment in moments]))
    except BadInput:
        log.info("PET slices have no acquisition time.")
    # A time that is constant while the other varies was not recorded per frame.
    elapsed_s = [seconds for seconds in elapsed_s if np.ptp(seconds) > 0] or elapsed_s
    decays = _numbers(headers, "ActualFrameDuration") / 1000 * math.log(2) / half_life_s
    frame_means = [np.ones(len(headers)), decays / -np.expm1(-np.where(decays > 0, decays, np.nan))]
    factors = [2 ** (seconds / half_life_s) * mean for seconds in elapsed_s for mean in frame_means]
    return [factor for factor in factors if not np.isnan(factor).any()]


def _numbers(headers: Sequence[pydicom.Dataset], keyword: str) -> np.ndarray:
    return np.array([number_of(text_of(header, keyword)) for header in headers])


def _dated(header: pydicom.Dataset, event: str) -> datetime:
    """Return SeriesDate with SeriesTime, or AcquisitionDate with AcquisitionTime."""
    date, time = (text_of(header, f"{event}{part}") for part in ("Date", "Time"))
    try:
        return datetime.combine(DA(date), _time_of_day(time))
    except (ValueError, TypeError) as error:
        raise refusal([header], f"expected {event}Date and {event}Time; export the series with its times") from error


def _time_of_day(text: str) -> TM:
    if len(text) < len("HHMM"):
        raise ValueError(f"text: expected a time of day with its minutes, got {len(text)} characters")
    return TM(text)


def _on_day_of(
    time_text: str, event: datetime, headers: Sequence[pydicom.Dataset], *, evening_before: bool = True
) -> datetime:
    try:
        moment = datetime.combine(event.date(), _time_of_day(time_text))
    except (ValueError, TypeError) as error:
        raise refusal(headers, "expected RadiopharmaceuticalStartTime or its DateTime; export it again") from error
    yesterday = moment - timedelta(days=1)
    if evening_before and moment > event and event - yesterday <= LONGEST_DELAY_OVER_MIDNIGHT:
        return yesterday
    return moment


def _moment(text: str, headers: Sequence[pydicom.Dataset]) -> datetime:
    """Parse a DICOM date-time as local time."""
    try:
        moment = DT(text)
    except (ValueError, TypeError) as error:
        raise refusal(headers, "expected a DICOM date and time of injection and scan; export it again") from error
    if len(text) < len("YYYYMMDDHHMM"):
        raise refusal(headers, "expected a date with its time of day for injection and scan; export it again")
    if moment.tzinfo and text[-5:] != text_of(headers[0], "TimezoneOffsetFromUTC"):
        raise refusal(headers, "expected all times in one time zone; export the series without offsets")
    return datetime.combine(moment.date(), moment.time())
