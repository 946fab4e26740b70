"""Cohort sheets: cases, their patients, and their folds."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffufuse.errors import BadInput
from diffufuse.files.sheets import NONE, Row, read_sheet, shown, write_sheet
from diffufuse.files.texts import described
from diffufuse.seeds import seed_of

COLUMNS = ("case", "patient", "fold", "validates", "site", "excluded")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}")
LONGEST_NAME = 100
FOLD = re.compile(r"0|[1-9][0-9]{0,2}")
FEWEST_LETTERS = 2
# Texts that say whether a case is excluded, and not why.
NO_REASONS = frozenset(("no", "none", "na", "n/a", "nan", "null", "nil", "false", "true", "yes", "not", "excluded"))


@dataclass(frozen=True)
class Case:
    """One examination of one patient.

    Attributes:
        name: pseudonymous; letters, digits and hyphens, of which it begins with no hyphen.
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
        path: see `files.sheets`; with the columns case, patient, fold, validates, site, excluded; `-` or another dash
            means none. A case with a reason in `excluded` is only counted.

    Raises:
        BadInput: the sheet is empty or excludes all, a column or name is malformed, a case is duplicated, two names
            differ in case alone, the examinations of one patient are spread over test, validation and training, a
            case validates in a fold that tests nobody, or the rows are not those of the checksum.
    """
    sheet = read_sheet(path, COLUMNS, what="a cohort sheet")
    cohort = _cohort_of(sheet.rows, sheet.path)
    sheet.require_checksum()
    return cohort


def _cohort_of(rows: Sequence[Row], path: Path) -> Cohort:
    if not rows:
        raise BadInput(f"{path}: the cohort is empty; expected one row per case below its header.")
    cases = [_case(row) for row in rows]
    _require_unique_names([case.name for case in cases], path)
    _require_one_spelling("case", [case.name for case in cases], path)
    _require_one_spelling("patient", [case.patient for case in cases], path)
    cohort = Cohort(
        *(tuple(case for case in cases if bool(case.excluded) is is_excluded) for is_excluded in (False, True))
    )
    if not cohort.cases:
        raise BadInput(f"{path}: every case is excluded; expected at least one that takes part.")
    _require_patients_apart(cohort, path)
    _require_folds_validated_in(cohort, path)
    return cohort


def _case(row: Row) -> Case:
    for column in ("case", "patient"):
        if not NAME.fullmatch(row.cells[column]):
            raise BadInput(
                f"{row.where}: expected a pseudonym of letters, digits and hyphens in column {column}, got "
                f"{_wrong_in_name(row.cells[column])}; correct it."
            )
    return Case(
        name=row.cells["case"],
        patient=row.cells["patient"],
        fold=_fold(row, "fold"),
        validates=_fold(row, "validates"),
        site="" if row.cells["site"] == NONE else row.cells["site"],
        excluded=_reason(row),
    )


def _wrong_in_name(text: str) -> str:
    """What keeps a text from being a pseudonym; not the text itself, which may be a name."""
    wrong = next((character for character in text if not re.match("[A-Za-z0-9-]", character)), None)
    if wrong is not None:
        return described(wrong)
    if len(text) > LONGEST_NAME:
        return f"{len(text)} characters, more than {LONGEST_NAME}"
    return "a hyphen at its start" if text else "none"


def _fold(row: Row, column: str) -> int | None:
    text = row.cells[column]
    if text == NONE:
        return None
    if not FOLD.fullmatch(text):
        raise BadInput(
            f"{row.where}: expected a fold number or `-` in column {column}, such as 0 or 12, got {shown(text)}; "
            "correct it."
        )
    return int(text)


def _reason(row: Row) -> str | None:
    text = row.cells["excluded"]
    if text == NONE:
        return None
    letters = sum(character.isalpha() for character in text)
    if letters < FEWEST_LETTERS or text.casefold() in NO_REASONS:
        got = "it is empty" if not text else "it has no word that says why"
        raise BadInput(
            f"{row.where}: expected `-` or a reason in column excluded, but {got}; write `-` for a case that takes "
            "part, or why it does not."
        )
    return text


def _require_unique_names(names: list[str], path: Path) -> None:
    duplicates = sorted(name for name, count in Counter(names).items() if count > 1)
    if duplicates:
        raise BadInput(f"{path}: each case stands once, but {', '.join(duplicates)} stands twice; remove one row.")


def _require_one_spelling(column: str, names: Iterable[str], path: Path) -> None:
    """Names that differ in case alone are one to a person, and one folder on some disks."""
    spellings: dict[str, set[str]] = defaultdict(set)
    for name in names:
        spellings[name.casefold()].add(name)
    double = sorted(name for same in spellings.values() if len(same) > 1 for name in same)
    if double:
        raise BadInput(
            f"{path}: expected one spelling of each {column}, got {' and '.join(double[:2])}; write both in the same "
            "way if they are one, or give them names that differ in more than upper and lower case."
        )


def _require_folds_validated_in(cohort: Cohort, path: Path) -> None:
    """Require that a fold tests a case, though it may be excluded by now; otherwise the fold is mistyped."""
    folds = sorted({case.fold for case in (*cohort.cases, *cohort.excluded) if case.fold is not None})
    for case in cohort.cases:
        if case.validates is not None and case.validates not in folds:
            raise BadInput(
                f"{path}: case {case.name} validates in fold {case.validates}, in which no case is tested; write `-` "
                f"or another fold; known are: {', '.join(map(str, folds)) or 'none'}."
            )


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
        folds: number of folds; fewer patients have as many folds as they are.
        validation_share: share of validation patients, taken from the next fold.

    Returns:
        The cohort, sorted by name.
    """
    patient_of = {name: (patients or {}).get(name, name) for name in names}
    order = sorted(set(patient_of.values()), key=lambda patient: seed_of(study_seed, "fold", patient))
    folds, validated, roles = min(folds, len(order)), round(len(order) * validation_share), {}
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
    """Write a cohort sheet with its checksum, sorted by case.

    Raises:
        BadInput: `read_cohort` would not read it back.
    """
    cases = sorted([*cohort.cases, *cohort.excluded], key=lambda case: case.name)
    cells = [cells_of(case) for case in cases]
    rows = [Row(f"{path}, case {number}", dict(zip(COLUMNS, row, strict=True))) for number, row in enumerate(cells, 1)]
    _cohort_of(rows, Path(path))
    write_sheet(path, COLUMNS, cells)


def cells_of(case: Case) -> list[str]:
    """The cells of a case's line in a cohort sheet, in the order of `COLUMNS`."""
    numbers = [NONE if number is None else str(number) for number in (case.fold, case.validates)]
    return [case.name, case.patient, *numbers, case.site, case.excluded or NONE]


def read_patients(paths: Iterable[str | os.PathLike[str]]) -> dict[str, str]:
    """Case to patient, over several cohort sheets, of the included cases.

    Raises:
        BadInput: a sheet is invalid, or a case is of another patient in another sheet.
    """
    return patients_of({Path(path).stem: read_cohort(path) for path in paths})


def patients_of(cohorts: Mapping[str, Cohort]) -> dict[str, str]:
    """Case to patient, over the included cases of several datasets.

    Raises:
        BadInput: a case has one name and two patients, which tables over all datasets would mix.
    """
    patients: dict[str, str] = {}
    for dataset, cohort in cohorts.items():
        for case in cohort.cases:
            if patients.setdefault(case.name, case.patient) != case.patient:
                raise BadInput(
                    f"{dataset}: expected case {case.name} to be of one patient in all datasets of a study, got "
                    f"{patients[case.name]} and {case.patient}; rename one of the two cases."
                )
    return patients


def count_excluded(paths: Iterable[str | os.PathLike[str]]) -> dict[str, int]:
    """Dataset to the number of its cases that are excluded, over several cohort sheets `{dataset}.tsv`."""
    return {Path(path).stem: len(read_cohort(path).excluded) for path in paths}


def evenly_chosen(names: Sequence[str], count: int = 12) -> list[str]:
    """At most `count` of the names, evenly spaced, including the first and the last."""
    if len(names) <= count:
        return list(names)
    return [names[round(i * (len(names) - 1) / max(count - 1, 1))] for i in range(count)]
