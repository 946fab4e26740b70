"""Sheets that people edit: tab-separated text without quoting, of which every cell of every row is checked.

The first line may be a seal, `# 27 rows, sha256 0123456789abcdef`. A sheet that the library writes has one, so that a
row that was lost or a letter that was changed by accident is noticed; a sheet without it is read all the same.
"""

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffufuse.errors import BadInput
from diffufuse.files.atomic import atomic_path
from diffufuse.files.names import instead
from diffufuse.files.texts import described, odd_character, read_lines

NONE = "-"
# Editors turn hyphens into these; alone in a cell all mean none.
DASHES = frozenset("-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d")
SEAL = re.compile(r"# [0-9]+ rows, sha256 [0-9a-f]{16}")
DIGITS = 16
SPREADSHEET_ERROR = re.compile(r"#(NAME\?|REF!|VALUE!|N/A|DIV/0!|NUM!|NULL!)")
LONGEST_SHOWN = 30


@dataclass(frozen=True)
class Row:
    """A row of a sheet.

    Attributes:
        where: file and line, for messages.
        cells: column to text, without spaces around it; `-` for any dash.
    """

    where: str
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Sheet:
    """A sheet as it was read.

    Attributes:
        path: the file.
        columns: in the order of the reader, not of the file.
        rows: without empty lines at the end.
        seal: first line of a sealed sheet; None of one without a seal.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    seal: str | None

    def require_seal_kept(self) -> None:
        """Check that the rows are those that were sealed; checked last, as the fault of a row says more.

        Raises:
            BadInput: a row or a cell differs; the message gives the seal of the rows as they are.
        """
        seal = seal_of(self.columns, [[row.cells[column] for column in self.columns] for row in self.rows])
        if self.seal not in (None, seal):
            raise BadInput(
                f"{self.path}, line 1: expected the rows that this line seals, got {len(self.rows)} rows of which one "
                f"or more were changed, added or lost; if all are meant as they are, write `{seal}` there, or remove "
                "the line."
            )


def seal_of(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The line that seals rows: their number, and the start of the SHA-256 of header and cells in order."""
    lines = ["\t".join(cells) for cells in (columns, *rows)]
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return f"# {len(lines) - 1} rows, sha256 {digest[:DIGITS]}"


def read_sheet(path: str | os.PathLike[str], columns: Sequence[str], *, what: str) -> Sheet:
    """Read a sheet and check its form.

    Args:
        path: tab-separated text without quoting, in UTF-8, or UTF-16 with a byte order mark; the header may name the
            columns in any order.
        columns: all must be there, and no others.
        what: kind of sheet with its article, for messages.

    Returns:
        The rows. Letters are composed (NFC), and spaces of any kind are plain ones.

    Raises:
        BadInput: the file cannot be read, has another encoding or other columns, a row has too few or too many cells,
            or a cell has invisible characters or the quotes of a spreadsheet.
    """
    path = Path(path)
    lines = [_plain(line) for line in read_lines(path, what=what)]
    while lines and not lines[-1].strip(" \t"):
        lines.pop()
    seal = lines[0].strip() if lines and lines[0].startswith("#") else None
    if seal is not None and not SEAL.fullmatch(seal):
        raise BadInput(f"{path}, line 1: expected `# ROWS rows, sha256 DIGITS` or the header; remove the line.")
    first = int(seal is not None)
    if len(lines) <= first:
        raise BadInput(f"{path}: expected {what}, but the file is empty; write a header and one row per line.")
    header = _header(lines[first], columns, f"{path}, line {first + 1}")
    rows = tuple(
        _row(line, header, f"{path}, line {number}") for number, line in enumerate(lines[first + 1 :], start=first + 2)
    )
    return Sheet(path, tuple(columns), rows, seal)


def write_sheet(path: str | os.PathLike[str], columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a sheet with its seal, atomically.

    Raises:
        BadInput: a cell would not be read back as it is.
    """
    texts = [list(row) for row in rows]
    for number, cells in enumerate(texts, start=3):
        where = f"{path}, line {number}"
        read = _row("\t".join(cells), columns, where).cells
        if [read.get(column) for column in columns] != cells:
            raise BadInput(f"{where}: expected cells without spaces around them and with composed letters; mend them.")
    lines = [seal_of(columns, texts), *("\t".join(cells) for cells in (columns, *texts))]
    with atomic_path(path) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def shown(text: str) -> str:
    """What may be repeated of a cell that should hold a number: never letters, which could be a name."""
    if any(character.isalpha() for character in text):
        return "letters"
    odd = next((character for character in text if not " " <= character <= "~"), None)
    return described(odd) if odd else repr(text[:LONGEST_SHOWN]) if text else "nothing"


def _plain(line: str) -> str:
    """A line with composed letters and plain spaces, as both look alike."""
    composed = unicodedata.normalize("NFC", line)
    return "".join(" " if unicodedata.category(character) == "Zs" else character for character in composed)


def _header(line: str, columns: Sequence[str], where: str) -> list[str]:
    names = [name.strip(" ") for name in line.split("\t")]
    if not set(names) & set(columns):
        raise BadInput(f"{where}: expected the columns {', '.join(columns)}, got {_other_form(line, columns)}.")
    for name in names:
        if name not in columns:
            odd = odd_character(name)
            got = f"a name with {odd}" if odd else repr(name[:LONGEST_SHOWN]) if name else "one without a name"
            raise BadInput(f"{where}: expected columns of known names, got {got}{instead(name, columns)}")
    double = [name for name, count in Counter(names).items() if count > 1]
    missing = [name for name in columns if name not in names]
    for how, wrong in (("twice", double), ("not at all", missing)):
        if wrong:
            raise BadInput(f"{where}: expected the columns {', '.join(columns)}, got {', '.join(wrong)} {how}.")
    return names


def _other_form(line: str, columns: Sequence[str]) -> str:
    """What a first line is that names none of the columns as cells of their own; its text may be a patient's."""
    if sum(column in line for column in columns) < len(columns) / 2:
        return "none of them; write them as the first line, separated by tabs"
    marks = {";": "semicolons", ",": "commas", '"': "quotes", "|": "bars"}
    mark = next((name for mark, name in marks.items() if mark in line), None)
    if mark is None:
        return "them without tabs between them; an editor may have turned tabs into spaces, so put tabs there"
    return f"them between {mark}, as a spreadsheet writes CSV; export it as tab-separated text without quotes"


def _row(line: str, header: Sequence[str], where: str) -> Row:
    cells = [cell.strip(" ") for cell in line.split("\t")]
    if not any(cells):
        raise BadInput(f"{where}: expected a row, but the line is empty; remove it, or put its row back.")
    if len(cells) != len(header):
        raise BadInput(f"{where}: expected {len(header)} cells separated by tabs, got {len(cells)}; correct the row.")
    for column, cell in zip(header, cells, strict=True):
        odd = odd_character(cell)
        if odd:
            raise BadInput(f"{where}: expected text in column {column}, got {odd}, which cannot be seen; remove it.")
        if cell.startswith('"'):
            raise BadInput(
                f"{where}: expected plain text in column {column}, got a quote at its start, as a spreadsheet writes "
                "it; remove the quotes around the cell."
            )
        if SPREADSHEET_ERROR.fullmatch(cell):
            raise BadInput(
                f"{where}: expected text in column {column}, got {cell}, the error of a spreadsheet; write what was "
                "meant."
            )
    texts = (NONE if cell and set(cell) <= DASHES else cell for cell in cells)
    return Row(where, dict(zip(header, texts, strict=True)))
