"""Report the cases that failed in a run, with reasons, and how to exclude them."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from diffufuse.errors import BadInput
from diffufuse.files.sheets import checksum_of, read_sheet
from diffufuse.study.cohorts import COLUMNS, Case, Cohort, cells_of

REFUSAL = re.compile(r"ERROR diffufuse\.logs: (.+)")
LONGEST_REASON = 140


@dataclass(frozen=True)
class Stopped:
    """A case that stopped.

    Attributes:
        dataset: name of its dataset.
        case: the case.
        stage: where it stopped.
        reason: error message of the job.
    """

    dataset: str
    case: Case
    stage: str
    reason: str

    @property
    def sheet_line(self) -> str:
        """The line that excludes the case in its cohort sheet, with the reason, for review."""
        sentence = re.split(r":\s", self.reason, maxsplit=1)[-1].rsplit(";", 1)[0]
        short = sentence if len(sentence) <= LONGEST_REASON else sentence[:LONGEST_REASON].rsplit(" ", 1)[0] + " ..."
        composed = unicodedata.normalize("NFC", short)  # as the sheet is read
        plain = "".join(character if character.isprintable() else " " for character in composed).strip()
        return "\t".join([*cells_of(self.case)[:-1], f"{self.stage}: {plain}"])


def stopped_cases(cohorts: Mapping[str, Cohort], *, stages: Mapping[str, tuple[str, str]]) -> list[Stopped]:
    """The cases with an error message in their log and without a result.

    Args:
        cohorts: dataset to its cases.
        stages: stage to the paths of its result and of its log, with `{dataset}` and `{case}`.

    Returns:
        At most one entry per case, in the order of the sheets.
    """
    entries = []
    for dataset, case in [(name, case) for name, cohort in cohorts.items() for case in cohort.cases]:
        for stage, paths in stages.items():
            result, log = (Path(path.format(dataset=dataset, case=case.name)) for path in paths)
            refusals = [] if result.exists() or not log.exists() else REFUSAL.findall(log.read_text(errors="replace"))
            if refusals:
                entries.append(Stopped(dataset, case, stage, refusals[-1]))
                break
    return entries


def closing_message(stopped: list[Stopped], *, sheet: str) -> str:
    """Message at the end of a run about the cases that stopped; empty if none did.

    Args:
        stopped: from `stopped_cases`, over all datasets.
        sheet: path of a dataset's cohort sheet, with `{dataset}`.
    """
    if not stopped:
        return ""
    lines = [f"{len(stopped)} case(s) stopped; all others went on as far as they could."]
    for dataset in dict.fromkeys(entry.dataset for entry in stopped):
        of_dataset = [entry for entry in stopped if entry.dataset == dataset]
        lines += ["", *(f"  {entry.case.name}, {entry.stage}: {entry.reason}" for entry in of_dataset), ""]
        lines += [
            f"Mend them, or go on without them: in {sheet.format(dataset=dataset)}, let these lines take the place of "
            f"theirs (columns {', '.join(COLUMNS)}). Excluded cases are counted in every table."
            f"{_first_line(Path(sheet.format(dataset=dataset)), of_dataset)}",
            *(entry.sheet_line for entry in of_dataset),
        ]
    return "\n".join(lines)


def _first_line(sheet: Path, stopped: list[Stopped]) -> str:
    """A sentence with the checksum line of the sheet once all stopped cases are excluded; empty if it has none."""
    lines = {entry.case.name: entry.sheet_line.split("\t") for entry in stopped}
    try:
        read = read_sheet(sheet, COLUMNS, what="a cohort sheet")
    except BadInput:
        return ""
    rows = [[row.cells[column] for column in COLUMNS] for row in read.rows]
    checksum = checksum_of(COLUMNS, [lines.get(cells[0], cells) for cells in rows])
    return f" The sheet's first line is then `{checksum}`, if all of them are taken." if read.checksum else ""
