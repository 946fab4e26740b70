"""PET series whose tags lack, hide or contradict what SUV needs: 70 kg, 350 MBq at 10:00, scan at 11:00, 10 kBq/ml."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom

from diffufuse.dicom.series import find_series
from diffufuse.dicom.suv import to_suv
from diffufuse.phantom.dicom_headers import Injection, Person, SeriesHeader, uid_of
from diffufuse.phantom.dicom_writing import write_pet
from diffufuse.space.volumes import Volume
from faults import Fault

HALF_LIFE_S = 6588.0
ADMIN = 1e4 * 70e3 / 350e6
START = ADMIN * 2 ** (3600 / HALF_LIFE_S)
BED_S, FRAME_S = 300.0, 240.0
WITHIN = np.log(2) * FRAME_S / HALF_LIFE_S / (1 - 2 ** (-FRAME_S / HALF_LIFE_S))

Change = Callable[[pydicom.Dataset, int], None]


def write_pet_with(folder: Path, change: Change) -> None:
    """Four slices, whose headers `change(header, number)` alters."""
    person = Person("PH-001", "Phantom^1", datetime(1950, 2, 3), "F", 70.0, 1.7)
    day = datetime(2001, 2, 3)
    start = day.replace(hour=11)
    series = SeriesHeader(person, uid_of("study"), uid_of("series"), uid_of("frame"), 1, "PET", start, start)
    activity = Volume(np.full((6, 5, 4), 1e4, np.float32), np.diag([4.0, 4.0, 3.0, 1.0]))
    write_pet(activity, folder / "PET", series, Injection(350e6, day.replace(hour=10), HALF_LIFE_S, 0.97))
    for number, path in enumerate(sorted((folder / "PET").iterdir())):
        header = pydicom.dcmread(path)
        change(header, number)
        header.save_as(path)


def tags(given: dict | None = None, **changes: object) -> Change:
    """Other values of the header's tags, `given` of the injection's; None removes one."""

    def change(header: pydicom.Dataset, number: int) -> None:
        injection = header.RadiopharmaceuticalInformationSequence[0]
        for item, wanted in ((injection, given or {}), (header, changes)):
            for keyword, value in wanted.items():
                if value is None:
                    delattr(item, keyword)
                else:
                    setattr(item, keyword, value)

    return change


def vendor(group: int, creator: str, values: dict[int, tuple[str, object]], **changes: object) -> Change:
    """A vendor's private tags."""

    def change(header: pydicom.Dataset, number: int) -> None:
        tags(**changes)(header, number)
        block = header.private_block(group, creator, create=True)
        for element, (kind, value) in values.items():
            block.add_new(element, kind, value)

    return change


def philips(values: dict[int, str], **changes: object) -> Change:
    numbers = {element: ("DS", value) for element, value in values.items()}
    return vendor(0x7053, "Philips PET Private Group", numbers, Units="CNTS", **changes)


def beds(factor_s: Callable[[float], float], **changes: object) -> Change:
    """Two beds of two slices; the decay factor is that of `factor_s(seconds from scan start to the bed's frame)`."""

    def change(header: pydicom.Dataset, number: int) -> None:
        bed_s = BED_S * (number // 2)
        factor = 2 ** (factor_s(bed_s) / HALF_LIFE_S) * WITHIN
        timing = {"FrameReferenceTime": f"{1000 * bed_s:.0f}", "ActualFrameDuration": f"{1000 * FRAME_S:.0f}"}
        tags(DecayFactor=f"{factor:.5f}", **timing, **changes)(header, number)

    return change


def lifted(keyword: str, top: str | None = None) -> Change:
    """A tag of the injection at the top of the header: moved there, or there with another value as well."""

    def change(header: pydicom.Dataset, number: int) -> None:
        injection = header.RadiopharmaceuticalInformationSequence[0]
        setattr(header, keyword, top or injection[keyword].value)
        if top is None:
            delattr(injection, keyword)

    return change


def emptied(header: pydicom.Dataset, number: int) -> None:
    """The whole injection at the top of the header."""
    for element in header.RadiopharmaceuticalInformationSequence[0]:
        header.add(element)
    del header.RadiopharmaceuticalInformationSequence


def twice(header: pydicom.Dataset, number: int) -> None:
    header.RadiopharmaceuticalInformationSequence.append(header.RadiopharmaceuticalInformationSequence[0])


def one_slice_heavier(header: pydicom.Dataset, number: int) -> None:
    header.PatientWeight = "71" if number == 2 else "70"


def read(folder: Path) -> np.ndarray:
    (series,) = find_series(folder)
    return to_suv(series).array


def refused(name: str, change: Change, reason: str) -> Fault:
    return Fault(f"suv: {name}", lambda folder: write_pet_with(folder, change), read, refused=reason)


def mended(name: str, change: Change, suv: float) -> Fault:
    def right(found: np.ndarray) -> bool:
        return bool(np.allclose(found, suv, rtol=1e-4))  # stored in 32767 steps

    return Fault(f"suv: {name}", lambda folder: write_pet_with(folder, change), read, right=right)


NO_STAMP = {"RadiopharmaceuticalStartDateTime": None}
GE, SIEMENS = (0x0009, "GEMS_PETD_01"), (0x0071, "SIEMENS MED PT")

FAULTS = [
    mended("units BQML, decay-corrected to START", tags(), START),
    mended("units BQML, decay-corrected to ADMIN", tags(DecayCorrection="ADMIN"), ADMIN),
    refused("units BQML, decay correction NONE", tags(DecayCorrection="NONE"), "got NONE; reconstruct"),
    refused("decay correction missing", tags(DecayCorrection=None), "DecayCorrection START or ADMIN, got none"),
    refused("not decay-corrected after all", tags(CorrectedImage=["ATTN"]), "DECY and ATTN"),
    refused("not attenuation-corrected", tags(CorrectedImage=["DECY"]), "DECY and ATTN"),
    mended("units CNTS with Philips' SUV factor", philips({0x00: "0.0005", 0x09: "0"}, PatientWeight=None), 5.0),
    mended("units CNTS with Philips' activity factor alone", philips({0x00: "0", 0x09: "1.5"}), 1.5 * START),
    mended("units CNTS with both of Philips' factors", philips({0x00: f"{3 * START / 1e4:.8f}", 0x09: "3"}), 3 * START),
    refused("units CNTS with Philips' factors at odds", philips({0x00: "0.0005", 0x09: "1"}), "expected one SUV"),
    refused("units CNTS with Philips' factors zero", philips({0x00: "0", 0x09: "0"}), "beside Units CNTS"),
    refused("units CNTS with Philips' SUV factor, decay NONE", philips({0: "0.1"}, DecayCorrection="NONE"), "got NONE"),
    refused("units CNTS without Philips' factors", tags(Units="CNTS"), "beside Units CNTS"),
    mended("units GML", tags(Units="GML", SUVType="BW", PatientWeight=None), 1e4),
    refused("units GML by lean body mass", tags(Units="GML", SUVType="LBM"), "got LBM"),
    refused("units GML by ideal body weight", tags(Units="GML", SUVType="IBW"), "got IBW"),
    refused("units GML by body surface", tags(Units="GML", SUVType="BSA"), "got BSA"),
    refused("units CM2ML", tags(Units="CM2ML", SUVType="BSA"), "got CM2ML"),
    refused("units missing", tags(Units=None), "Units BQML, CNTS or GML, got none"),
    mended("series dated hours after its acquisition", tags(SeriesTime="150000"), START),
    mended("series begun before its first acquisition", tags(AcquisitionTime="113000"), START),
    mended(
        "scan start in General Electric's own tag",
        vendor(*GE, {0x0D: ("DT", "20010203110000.00")}, SeriesTime="130000", AcquisitionTime="130000"),
        START,
    ),
    mended(
        "scan start in Siemens' own tag",
        vendor(*SIEMENS, {0x22: ("DT", "20010203110000")}, SeriesTime="130000", AcquisitionTime="130000"),
        START,
    ),
    mended(
        "scan after midnight",
        tags({"RadiopharmaceuticalStartTime": "233000"} | NO_STAMP, SeriesTime="003000", AcquisitionTime="003000"),
        START,
    ),
    mended(
        "injection dated the evening before",
        tags(
            {"RadiopharmaceuticalStartTime": "233000", "RadiopharmaceuticalStartDateTime": "20010202233000"},
            SeriesTime="003000",
            AcquisitionTime="003000",
        ),
        START,
    ),
    refused(
        "injection after the scan", tags({"RadiopharmaceuticalStartTime": "114000"} | NO_STAMP), "got it 2400 s after"
    ),
    refused(
        "injection on another day", tags({"RadiopharmaceuticalStartDateTime": "20010201100000"}), "within 10 half-lives"
    ),
    refused("injection at two times", tags({"RadiopharmaceuticalStartTime": "101500"}), "one time of injection"),
    refused(
        "injection time missing", tags({"RadiopharmaceuticalStartTime": None} | NO_STAMP), "StartTime or its DateTime"
    ),
    refused("dose in MBq", tags({"RadionuclideTotalDose": "350"}), "got 350, which looks like MBq"),
    refused("dose in kBq", tags({"RadionuclideTotalDose": "350000"}), r"between 1e\+06 and 1e\+10, got 350000"),
    refused("dose zero", tags({"RadionuclideTotalDose": "0"}), "RadionuclideTotalDose in Bq"),
    refused("dose missing", tags({"RadionuclideTotalDose": None}), "RadionuclideTotalDose in Bq .* got none"),
    refused("weight zero", tags(PatientWeight="0"), "PatientWeight in kg"),
    refused("weight missing", tags(PatientWeight=None), "PatientWeight in kg .* got none"),
    refused("weight that changes between slices", one_slice_heavier, "one PatientWeight in all slices"),
    refused("half-life missing", tags({"RadionuclideHalfLife": None}), "RadionuclideHalfLife in s .* got none"),
    refused("half-life in minutes", tags({"RadionuclideHalfLife": "109.8"}), "within 10 half-lives"),
    mended("dose outside of its sequence", lifted("RadionuclideTotalDose"), START),
    mended("injection outside of its sequence", emptied, START),
    refused("dose inside and outside of its sequence, at odds", lifted("RadionuclideTotalDose", "370000000"), "differ"),
    refused("no injection at all", tags(RadiopharmaceuticalInformationSequence=None), "missing or empty"),
    refused("several radiopharmaceuticals", twice, "one radiopharmaceutical .* got 2"),
    mended("decay factors of two beds, to START", beds(lambda bed_s: bed_s), START),
    mended("decay factors of two beds, to ADMIN", beds(lambda bed_s: bed_s + 3600, DecayCorrection="ADMIN"), ADMIN),
    refused(
        "decay factors to START where ADMIN is said", beds(lambda bed_s: bed_s, DecayCorrection="ADMIN"), "30.7 % off"
    ),
    refused(
        "decay factors to ADMIN where START is said", beds(lambda bed_s: bed_s + 3600), "expected DecayFactor to fit"
    ),
    refused("decay factors of a scan ten minutes older", beds(lambda bed_s: bed_s + 600), "6.5 % off"),
    refused("decay factors alike though the beds are not", beds(lambda bed_s: 0.0), "expected DecayFactor to fit"),
]
