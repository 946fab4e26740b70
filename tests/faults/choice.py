"""Folders in which the rules find two series, or none, or one that a careless rule would have missed."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from diffufuse.dicom.choice import Chosen, choose_series
from diffufuse.dicom.series import find_series
from faults import Fault
from faults.geometry import save, slice_of

MR = {"Modality": "MR"}
T1 = {"Modality": "^MR$", "SeriesDescription": "t1", "without": {"SeriesDescription": "al+igned"}}
T2FS = (
    {"sequence": "stir", "Modality": "^MR$", "SeriesDescription": r"stir|\bir\b"},
    {"sequence": "t2fs", "Modality": "^MR$", "SeriesDescription": "t2"},
)


def folder_of(*series: Mapping[str, Any]) -> Callable[[Path], None]:
    """Writes one file for each series."""

    def make(folder: Path) -> None:
        for index, changes in enumerate(series):
            save(slice_of(0, SeriesInstanceUID=f"1.2.3.{index}", **changes), folder / f"{index}.dcm")

    return make


def choosing(rules: Sequence[Mapping[str, Any]], required: str | None = "t1") -> Callable[[Path], Chosen | None]:
    return lambda folder: choose_series(find_series(folder), rules, required=required)


def described(*descriptions: str) -> Callable[[Path], None]:
    """MR series of the given descriptions."""
    return folder_of(*({**MR, "SeriesDescription": text} for text in descriptions))


def chosen(description: str, sequence: str | None = None) -> Callable[[Chosen | None], bool]:
    return lambda found: found is not None and (found.series.description, found.sequence) == (description, sequence)


FAULTS = [
    Fault(
        "choice: two series match",
        described("AX T1 Smith", "COR T1 1941"),
        choosing([T1]),
        refused=r"one series for t1, got 2 that match: MR 'ax t1 …' of 1 files 16x18; MR 'cor t1 …' of 1 files 16x18;",
    ),
    Fault(
        "choice: two series match two rules of one modality",
        described("AX STIR", "AX T2 FS"),
        choosing(T2FS, None),
        refused="got 2 that match",
    ),
    Fault(
        "choice: no series matches a modality that is required",
        described("AX STIR Smith", "3PL LOC"),
        choosing([T1]),
        refused=r"^(?!.*Smith).*got none that matches among: MR 'ax stir …' of 1 files 16x18; MR '… loc'",
    ),
    Fault(
        "choice: no series matches a modality that may be absent",
        described("AX STIR"),
        choosing([T1], None),
        right=lambda found: found is None,
    ),
    Fault(
        "choice: the publisher's aligned copy is left out",
        described("AXIALT1", "Alligned_T1toPET_BOX", "Aligned_T1toPET_BOX"),
        choosing([T1]),
        right=chosen("AXIALT1"),
    ),
    Fault(
        "choice: one series matches two rules",
        described("HIP/T2_TURBO_STIR", "AX T1"),
        choosing(T2FS),
        right=chosen("HIP/T2_TURBO_STIR", "stir"),
    ),
    Fault(
        "choice: a rule on one of several values",
        folder_of(
            {**MR, "ImageType": ["DERIVED", "SECONDARY", "MPR"], "SeriesDescription": "A"},
            {**MR, "ImageType": ["ORIGINAL", "PRIMARY", "M"], "SeriesDescription": "B"},
        ),
        choosing([{"ImageType": r"^ORIGINAL\\PRIMARY"}]),
        right=chosen("B"),
    ),
    Fault(
        "choice: the tag of a rule is absent",
        folder_of({**MR, "SeriesDescription": None}),
        choosing([T1]),
        refused="got none that matches among: MR '' of",
    ),
    Fault(
        "choice: a rule names no tag of DICOM",
        described("AX T1"),
        choosing([{"SeriesDescripton": "t1"}]),
        refused="keyword of a DICOM tag with text, got 'SeriesDescripton'",
    ),
    Fault(
        "choice: a rule names a tag that holds no text",
        described("AX T1"),
        choosing([{"ReferencedImageSequence": "t1"}]),
        refused="keyword of a DICOM tag with text",
    ),
    Fault(
        "choice: a rule is no regular expression",
        described("AX T1"),
        choosing([{"SeriesDescription": "*t1"}]),
        refused="regular expression for SeriesDescription",
    ),
    Fault(
        "choice: a rule asks for nothing",
        described("AX T1"),
        choosing([{"sequence": "t1"}]),
        refused="at least one DICOM keyword",
    ),
]
