"""Standardized uptake values by body weight, from a PET series' own tags or not at all.

| Units | Decay correction | SUV = value times |
|---|---|---|
| BQML | START | weight in g / (dose in Bq decayed from injection to scan start) |
| BQML | ADMIN | weight in g / dose in Bq |
| BQML | NONE | refused |
| GML of type BW | any | 1 |
| all others | any | refused |
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import numpy as np
import pydicom
from pydicom.valuerep import DA, DT, TM

from diffufuse.dicom.series import Series, read_header, read_series
from diffufuse.errors import BadInput
from diffufuse.volumes import Volume

log = logging.getLogger(__name__)

GRAMS_PER_KG = 1000.0
WEIGHT_RANGE_KG = (0.5, 500.0)
DOSE_RANGE_BQ = (1e6, 1e10)
HALF_LIFE_RANGE_S = (1.0, 1e8)
LONGEST_DELAY_HALF_LIVES = 10.0
LONGEST_DELAY_OVER_MIDNIGHT = timedelta(hours=6)
ADMINISTRATION = (
    "RadionuclideTotalDose",
    "RadionuclideHalfLife",
    "RadiopharmaceuticalStartTime",
    "RadiopharmaceuticalStartDateTime",
)
# Vendors' own record of the moment to which values are decay-corrected: group, element, private creator.
VENDOR_SCAN_START = ((0x0009, 0x0D, "GEMS_PETD_01"), (0x0071, 0x22, "SIEMENS MED PT"))


def to_suv(series: Series) -> Volume:
    """Read a PET series as SUV by body weight.

    Args:
        series: of modality PT.

    Returns:
        float32, g/ml, RAS.

    Raises:
        BadInput: the series is not PET or not a regular stack, or a tag that SUV needs is missing or contradictory.
    """
    if series.modality != "PT":
        raise BadInput(f"{series.files[0]}: expected a PET series for SUV, got modality {series.modality}.")
    factor = suv_factor([read_header(path) for path in series.files])
    activity = read_series(series)
    return activity.with_array((activity.array.astype(np.float64) * factor).astype(np.float32))


def suv_factor(headers: Sequence[pydicom.Dataset]) -> float:
    """The number by which rescaled PET values become SUV by body weight.

    Args:
        headers: of every slice of one series, in any order.

    Returns:
        g/ml per unit of the stored values: for BQML, 1000 * weight_kg / (dose_bq * 2 ** (-delay_s / half_life_s)).

    Raises:
        BadInput: a tag is missing, zero, implausible, contradicts another, or names a unit without a rule above.

    Source:
        DICOM PS3.3 C.8.9.1 (Units, SUV Type, Decay Correction) and the QIBA vendor-neutral SUV rules.
    """
    units = _one(headers, "Units")
    if units == "GML":
        return _factor_of_gml(headers)
    if units != "BQML":
        raise _refusal(headers, f"expected Units BQML or GML, got {units or 'none'}; no rule turns it into SUV")
    weight_kg = _within(_one(headers, "PatientWeight"), WEIGHT_RANGE_KG, "PatientWeight in kg", headers)
    return GRAMS_PER_KG * weight_kg / _dose_at_reference_bq(headers)


def _factor_of_gml(headers: Sequence[pydicom.Dataset]) -> float:
    """SUV already; DICOM says that an absent SUV type means body weight."""
    kind = _one(headers, "SUVType") or "BW"
    if kind != "BW":
        raise _refusal(headers, f"expected SUV by body weight (SUVType BW), got {kind}; export the series in BQML")
    return 1.0


def _dose_at_reference_bq(headers: Sequence[pydicom.Dataset]) -> float:
    """The injected dose, decayed to the moment to which the image's values were corrected, Bq."""
    decay = _one(headers, "DecayCorrection")
    corrections = _one(headers, "CorrectedImage")
    if decay not in ("START", "ADMIN"):
        raise _refusal(headers, f"expected DecayCorrection START or ADMIN, got {decay or 'none'}; reconstruct it again")
    if corrections and not ("DECY" in corrections and "ATTN" in corrections):
        raise _refusal(headers, "expected DECY and ATTN in CorrectedImage; choose the corrected reconstruction")
    given = _administration(headers)
    dose_bq = _within(
        _text(given, "RadionuclideTotalDose", headers), DOSE_RANGE_BQ, "RadionuclideTotalDose in Bq", headers
    )
    return dose_bq if decay == "ADMIN" else dose_bq * _decay(given, headers)


def _decay(given: pydicom.Dataset, headers: Sequence[pydicom.Dataset]) -> float:
    """The share of the activity that is left at scan start, in (0, 1]."""
    half_life_s = _within(
        _text(given, "RadionuclideHalfLife", headers), HALF_LIFE_RANGE_S, "RadionuclideHalfLife in s", headers
    )
    scan = _scan_start(headers)
    delay_s = (scan - _injection(given, scan, headers)).total_seconds()
    if delay_s < 0:
        raise _refusal(
            headers, f"expected the injection before the scan, got it {-delay_s:.0f} s after; correct the times"
        )
    if delay_s > LONGEST_DELAY_HALF_LIVES * half_life_s:
        raise _refusal(
            headers,
            f"expected the scan within {LONGEST_DELAY_HALF_LIVES:.0f} half-lives ({half_life_s:g} s each) after the "
            f"injection, got a delay of {delay_s:.0f} s; correct the times or the half-life",
        )
    log.info("PET scan starts %.0f s after the injection; half-life %g s.", delay_s, half_life_s)
    return float(2.0 ** (-delay_s / half_life_s))


def _scan_start(headers: Sequence[pydicom.Dataset]) -> datetime:
    """The moment to which the values are corrected when DecayCorrection is START.

    The vendor's own tag if there is one; else the series' start, unless that lies after the first acquisition (the time
    of a later reconstruction), in which case it is the first acquisition.
    """
    vendor = {value for header in headers for value in _vendor_starts(header)}
    if len(vendor) > 1:
        raise _refusal(headers, "expected one vendor's scan start in all slices; separate the acquisitions")
    if vendor:
        return _moment(vendor.pop(), headers)
    first = min(_dated(header, "Acquisition") for header in headers)
    start = _dated(headers[0], "Series")
    if start > first:
        log.warning("PET series is dated after its first acquisition; the acquisition's time is taken as scan start.")
    return min(start, first)


def _vendor_starts(header: pydicom.Dataset) -> Iterable[str]:
    for group, element, creator in VENDOR_SCAN_START:
        try:
            value = header.get_private_item(group, element, creator).value
        except KeyError:
            continue
        yield (value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)).strip(" \0")


def _dated(header: pydicom.Dataset, event: str) -> datetime:
    """SeriesDate with SeriesTime, or AcquisitionDate with AcquisitionTime."""
    date, time = (_text(header, f"{event}{part}", [header]) for part in ("Date", "Time"))
    try:
        return datetime.combine(DA(date), _clock(time))
    except (ValueError, TypeError) as error:
        raise _refusal([header], f"expected {event}Date and {event}Time; export the series with its times") from error


def _clock(text: str) -> TM:
    if len(text) < len("HHMM"):
        raise ValueError(f"text: expected a time of day with its minutes, got {text!r}")
    return TM(text)


def _injection(given: pydicom.Dataset, scan: datetime, headers: Sequence[pydicom.Dataset]) -> datetime:
    """When the tracer was injected; a bare time is of the scan's day, or of the evening before an early scan."""
    stamp = _text(given, "RadiopharmaceuticalStartDateTime", headers)
    if stamp:
        return _moment(stamp, headers)
    try:
        moment = datetime.combine(scan.date(), _clock(_text(given, "RadiopharmaceuticalStartTime", headers)))
    except (ValueError, TypeError) as error:
        raise _refusal(headers, "expected RadiopharmaceuticalStartTime or its DateTime; export it again") from error
    yesterday = moment - timedelta(days=1)
    if moment > scan and scan - yesterday <= LONGEST_DELAY_OVER_MIDNIGHT:
        return yesterday
    return moment


def _moment(text: str, headers: Sequence[pydicom.Dataset]) -> datetime:
    """A DICOM date-time as the clock in the room showed it."""
    try:
        moment = DT(text)
    except (ValueError, TypeError) as error:
        raise _refusal(headers, "expected a DICOM date and time of injection and scan; export it again") from error
    if len(text) < len("YYYYMMDDHHMM"):
        raise _refusal(headers, "expected a date with its time of day for injection and scan; export it again")
    if moment.tzinfo and text[-5:] != headers[0].get("TimezoneOffsetFromUTC"):
        raise _refusal(headers, "expected all times in one time zone; export the series without offsets")
    return datetime.combine(moment.date(), moment.time())


def _administration(headers: Sequence[pydicom.Dataset]) -> pydicom.Dataset:
    """The one radiopharmaceutical that was given, described alike in every slice."""
    sequences = [header.get("RadiopharmaceuticalInformationSequence") or [] for header in headers]
    if any(len(sequence) != 1 for sequence in sequences):
        raise _refusal(headers, "expected one item in RadiopharmaceuticalInformationSequence; export it with its tags")
    items = [sequence[0] for sequence in sequences]
    for keyword in ADMINISTRATION:
        if len({_text(item, keyword, headers) for item in items}) > 1:
            raise _refusal(headers, f"expected one {keyword} in all slices; separate the acquisitions")
    return items[0]


def _one(headers: Sequence[pydicom.Dataset], keyword: str) -> str:
    values = {_text(header, keyword, headers) for header in headers}
    if len(values) != 1:
        raise _refusal(headers, f"expected one {keyword} in all slices, got {len(values)}; separate the acquisitions")
    return values.pop()


def _text(header: pydicom.Dataset, keyword: str, headers: Sequence[pydicom.Dataset]) -> str:
    """A tag's value as text, empty if it is absent."""
    try:
        value = header.get(keyword)
    except (ValueError, TypeError) as error:
        raise _refusal(headers, f"expected a readable {keyword}; correct the tag") from error
    return "" if value is None else str(value)


def _within(text: str, limits: tuple[float, float], what: str, headers: Sequence[pydicom.Dataset]) -> float:
    try:
        number = float(text)
    except ValueError:
        number = np.nan
    if not limits[0] <= number <= limits[1]:
        shown = "none" if np.isnan(number) else f"{number:g}"
        raise _refusal(
            headers, f"expected {what} between {limits[0]:g} and {limits[1]:g}, got {shown}; enter the measured value"
        )
    return number


def _refusal(headers: Sequence[pydicom.Dataset], reason: str) -> BadInput:
    return BadInput(f"{getattr(headers[0], 'filename', 'PET header')}: {reason}.")
