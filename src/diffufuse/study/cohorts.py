"""Cohort sheets: cases, their patients, and their folds."""

import csv
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffufuse.errors import BadInput
from diffufuse.files.atomic import atomic_path
from diffufuse.seeds import seed_of

COLUMNS = ("case", "patient", "fold", "validates", "site", "excluded")
NONE = "-"
NAME = re.compile(r"[A-Za-z0-9-]+")


@dataclass(frozen=True)
class Case:
    """One examination of one patient.

    Attributes:
        name: pseudonymous, letters, digits and hyphens.
        patient: pseudonym of the patient; all examinations of a patient share one fold.
        fold: the fold in which the case is tested; None if it is always a training case.
        validates: the fold in which it is a validation case; None if in none.
        site: where it was acquired.
        excluded: reason for exclusion; None if included.
    """

    name: str
    patient: str
    fold: int | None
    validates: int | None
    site: str
    excluded: str | None = None


@dataclass(frozen=True)
class Cohort:
    """The cases of one dataset.

    Attributes:
        cases: the included cases.
        excluded: the excluded cases, with reasons.
    """

    cases: tuple[Case, ...]
    excluded: tuple[Case, ...] = ()

    @property
    def names(self) -> list[str]:
        """All case names, in the sheet's order."""
        return [case.name for case in self.cases]

    @property
    def folds(self) -> list[int]:
        """The folds that have test cases, ascending."""
        return sorted({case.fold for case in self.cases if case.fold is not None})

    def test(self, fold: int) -> list[str]:
        """Names of the cases tested in a fold."""
        return [case.name for case in self.cases if case.fold == fold]

    def validation(self, fold: int) -> list[str]:
        """Names of the validation cases of a fold."""
        return [case.name for case in self.cases if case.validates == fold]

    def training(self, fold: int) -> list[str]:
        """Names of the training cases of a fold, neither test nor validation cases."""
        return [case.name for case in self.cases if fold not in (case.fold, case.validates)]


def read_cohort(path: str | os.PathLike[str]) -> Cohort:
    """Read and check a cohort sheet.

    Args:
        path: tab-separated, with the columns case, patient, fold, validates, site, excluded; `-` means none. A case
            with a reason in `excluded` is only counted.

    Raises:
        BadInput: the sheet is empty or excludes all, a column or name is malformed, a case is duplicated, or the
            examinations of one patient are spread over test, validation and training.
    """
    path = Path(path)
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
            columns = tuple(rows[0]) if rows else ()
    except OSError as error:
        raise BadInput(f"{path}: expected a cohort sheet, but it cannot be read ({error.strerror}).") from error
    if not rows:
        raise BadInput(f"{path}: the cohort is empty; expected a header and one row per case.")
    if columns != COLUMNS:
        raise BadInput(f"{path}: expected the columns {', '.join(COLUMNS)}, got {', '.join(map(str, columns))}.")
    cases = [_case(row, path, line) for line, row in enumerate(rows, start=2)]
    _require_unique_names([case.name for case in cases], path)
    cohort = Cohort(
        *(tuple(case for case in cases if bool(case.excluded) is is_excluded) for is_excluded in (False, True))
    )
    if not cohort.cases:
        raise BadInput(f"{path}: every case is excluded; expected at least one that takes part.")
    _require_patients_apart(cohort, path)
    return cohort


def _case(row: dict[str, str], path: Path, line: int) -> Case:
    for column in ("case", "patient"):
        if not NAME.fullmatch(row[column] or ""):
            raise BadInput(
                f"{path}, line {line}: expected letters, digits and hyphens in column {column}, got {row[column]!r}."
            )
    return Case(
        name=row["case"],
        patient=row["patient"],
        fold=_fold(row["fold"], path, line, "fold"),
        validates=_fold(row["validates"], path, line, "validates"),
        site=row["site"] or "",
        excluded=_reason(row["excluded"], path, line),
    )


def _fold(text: str | None, path: Path, line: int, column: str) -> int | None:
    if text == NONE:
        return None
    if text is None or not text.isdigit():
        raise BadInput(f"{path}, line {line}: expected a fold number or `-` in column {column}, got {text!r}.")
    return int(text)


def _reason(text: str | None, path: Path, line: int) -> str | None:
    if not (text or "").strip():
        raise BadInput(f"{path}, line {line}: expected `-` or a reason in column excluded, but it is empty.")
    return None if text == NONE else text


def _require_unique_names(names: list[str], path: Path) -> None:
    duplicates = sorted(name for name, count in Counter(names).items() if count > 1)
    if duplicates:
        raise BadInput(f"{path}: each case stands once, but {', '.join(duplicates)} stands twice; remove one row.")


def _require_patients_apart(cohort: Cohort, path: Path) -> None:
    roles: dict[str, set[tuple[int | None, int | None]]] = defaultdict(set)
    for case in cohort.cases:
        roles[case.patient].add((case.fold, case.validates))
        if case.fold is not None and case.fold == case.validates:
            raise BadInput(f"{path}: case {case.name} is tested and validated on in fold {case.fold}; choose one.")
    split = sorted(patient for patient, folds in roles.items() if len(folds) > 1)
    if split:
        raise BadInput(
            f"{path}: all cases of a patient belong to one fold, but patient {', '.join(split)} stands in several; "
            "give its rows the same fold and validates."
        )


def draft_cohort(
    names: list[str],
    *,
    study_seed: int,
    patients: Mapping[str, str] | None = None,
    folds: int = 5,
    validation_share: float = 0.2,
) -> Cohort:
    """Propose folds for review: patients are shuffled and spread evenly, and all cases of one share its fold.

    Args:
        names: the cases.
        study_seed: seed of the shuffle.
        patients: case to patient; None, or an absent case, for cases that are a patient each.
        folds: number of folds.
        validation_share: share of validation patients, taken from the next fold.

    Returns:
        The cohort, sorted by name.
    """
    patient_of = {name: (patients or {}).get(name, name) for name in names}
    order = sorted(set(patient_of.values()), key=lambda patient: seed_of(study_seed, "fold", patient))
    validated = round(len(order) * validation_share)
    roles = {}
    for rank, patient in enumerate(order):
        fold, place = rank % folds, rank // folds
        roles[patient] = fold, (fold - 1) % folds if place < validated and folds > 1 else None
    return Cohort(
        tuple(
            Case(name, patient, fold=roles[patient][0], validates=roles[patient][1], site="")
            for name, patient in sorted(patient_of.items())
        )
    )


def write_cohort(cohort: Cohort, path: str | os.PathLike[str]) -> None:
    """Write a cohort sheet."""
    with atomic_path(path) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(COLUMNS)
        for case in sorted([*cohort.cases, *cohort.excluded], key=lambda case: case.name):
            writer.writerow(cells_of(case))


def cells_of(case: Case) -> list[str]:
    """The cells of a case's line in a cohort sheet, in the order of `COLUMNS`."""
    numbers = [NONE if number is None else str(number) for number in (case.fold, case.validates)]
    return [case.name, case.patient, *numbers, case.site, case.excluded or NONE]


def read_patients(paths: Iterable[str | os.PathLike[str]]) -> dict[str, str]:
    """Case to patient, over several cohort sheets, of the included cases."""
    return {case.name: case.patient for path in paths for case in read_cohort(path).cases}


def count_excluded(paths: Iterable[str | os.PathLike[str]]) -> dict[str, int]:
    """Dataset to the number of its cases that are excluded, over several cohort sheets `{dataset}.tsv`."""
    return {Path(path).stem: len(read_cohort(path).excluded) for path in paths}


def evenly_chosen(names: Sequence[str], count: int = 12) -> list[str]:
    """At most `count` of the names, evenly spaced, including the first and the last."""
    if len(names) <= count:
        return list(names)
    return [names[round(i * (len(names) - 1) / max(count - 1, 1))] for i in range(count)]
