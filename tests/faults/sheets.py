"""Tables and configurations as people, spreadsheets and editors leave them."""

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

from diffufuse.files.records import read_record
from diffufuse.report.reported import COLUMNS as VALUE_COLUMNS
from diffufuse.report.reported import read_reported
from diffufuse.study.cohorts import Case, Cohort, read_cohort, write_cohort
from diffufuse.study.yaml_files import read_yaml
from faults import Fault

HEADER = "case\tpatient\tfold\tvalidates\tsite\texcluded\n"
ROWS = "A\tA\t0\t-\tZürich\t-\nB\tB\t1\t0\t\t-\nC\tC\t1\t-\t\tT1 ends within the tumor\n"
SHEET = HEADER + ROWS
COHORT = Cohort(
    (Case("A", "A", 0, None, "Zürich"), Case("B", "B", 1, 0, "")),
    (Case("C", "C", 1, None, "", "T1 ends within the tumor"),),
)
SHEET_NAME, VALUES_NAME, YAML_NAME, RECORD_NAME = "x.tsv", "reported.tsv", "x.yaml", "x.json"


def text(content: str | bytes, name: str = SHEET_NAME) -> Callable[[Path], None]:
    """Writes the bytes, or the text in UTF-8, as they are."""
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data) and None


def row(*cells: str) -> str:
    """A sheet of a sound row and the one given."""
    return HEADER + "A\tA\t0\t-\t\t-\n" + "\t".join(cells) + "\n"


def with_checksum(change: Callable[[str], str]) -> Callable[[Path], None]:
    """A sheet as the library writes it, changed by hand."""

    def make(folder: Path) -> None:
        write_cohort(COHORT, folder / SHEET_NAME)
        whole = (folder / SHEET_NAME).read_text(encoding="utf-8")
        (folder / SHEET_NAME).write_text(change(whole), encoding="utf-8")

    return make


def values(*cells: str) -> Callable[[Path], None]:
    """The values of a paper with one row."""
    return text("\t".join(VALUE_COLUMNS) + "\n" + "\t".join(cells) + "\n", VALUES_NAME)


def is_cohort(cohort: object) -> bool:
    return cohort == COHORT


def sheet(name: str, content: str | bytes | Callable[[Path], None], refused: str | None = None) -> Fault:
    """A cohort sheet that is refused, or read as the sound one."""
    make = content if callable(content) else text(content)
    return Fault(
        f"cohort sheet: {name}",
        make,
        lambda folder: read_cohort(folder / SHEET_NAME),
        refused=refused,
        right=None if refused else is_cohort,
    )


def excluded(dash: str) -> Fault:
    """A case whose column excluded has something that looks like a hyphen."""
    name = unicodedata.name(dash.strip()[0]).lower() + (" and a space" if " " in dash else "")
    return sheet(f"excluded is a {name}", SHEET.replace("Zürich\t-\n", f"Zürich\t{dash}\n"))


def fold(name: str, cell: str, told: str) -> Fault:
    return sheet(
        f"fold is {name}", row("B", "B", cell, "-", "", "-"), rf"line 3: expected a fold number .* got {told}; correct"
    )


def yaml_text(name: str, content: str | bytes, refused: str) -> Fault:
    return Fault(
        f"YAML: {name}", text(content, YAML_NAME), lambda folder: read_yaml(folder / YAML_NAME), refused=refused
    )


def value(name: str, make: Callable[[Path], None], refused: str) -> Fault:
    return Fault(f"values of the paper: {name}", make, lambda folder: read_reported(folder / VALUES_NAME), refused)


def record(
    name: str, content: str | bytes, refused: str = "it has no checksum: it is damaged, or of an earlier release"
) -> Fault:
    return Fault(
        f"record: {name}", text(content, RECORD_NAME), lambda folder: read_record(folder / RECORD_NAME), refused
    )


NFD = unicodedata.normalize("NFD", SHEET)
FAULTS = [
    # encodings and line ends
    sheet("UTF-8 with a byte order mark", SHEET.encode("utf-8-sig")),
    sheet("UTF-16 with a byte order mark", SHEET.encode("utf-16")),
    sheet("UTF-16, big endian, with a byte order mark", b"\xfe\xff" + SHEET.encode("utf-16-be")),
    sheet("UTF-16 without a byte order mark", SHEET.encode("utf-16-le"), "in UTF-8, got UTF-16 or UTF-32; save"),
    sheet("UTF-16 that is cut within a letter", SHEET.encode("utf-16")[:-1], "damaged UTF-16 at byte"),
    sheet("Latin-1", SHEET.encode("latin-1"), r"line 2: .* in UTF-8, got the byte 0xfc, as Latin-1"),
    sheet(
        "Windows-1252", row("B", "B", "0", "-", "", "a \u2013 b").encode("cp1252"), "line 3: .* the byte 0x96, as Lat"
    ),
    sheet("Mac Roman", SHEET.encode("mac-roman"), "line 2: .* in UTF-8, got the byte 0x9f"),
    sheet("Windows line ends", SHEET.replace("\n", "\r\n")),
    sheet("line ends of an old Macintosh", SHEET.replace("\n", "\r")),
    sheet("no line end at the end", SHEET.rstrip("\n")),
    sheet("empty lines at the end", SHEET + "\n\t\t\t\t\t\n  \n"),
    sheet("an empty line between rows", HEADER + "\n" + ROWS, "line 2: expected a row, but the line is empty"),
    sheet("a line of tabs between rows", HEADER + "\t" * 5 + "\n" + ROWS, "line 2: expected a row, but the line is"),
    sheet("letters and accents apart", NFD),
    sheet("empty file", b"", "x.tsv: expected a cohort sheet, but the file is empty"),
    sheet("header alone", HEADER, "the cohort is empty"),
    sheet("a spreadsheet's own file", b"PK\x03\x04" + bytes(99), "as plain text, got a spreadsheet or an archive"),
    sheet("an old spreadsheet's own file", b"\xd0\xcf\x11\xe0" + bytes(99), "as plain text, got an old spreadsheet"),
    sheet("a folder", lambda folder: (folder / SHEET_NAME).mkdir(), r"cannot be read \(Is a directory\)"),
    # header
    sheet("a misspelled column", SHEET.replace("validates", "validate"), "'validate', did you mean 'validates'.; kn"),
    sheet("a column in capitals", SHEET.replace("fold", "Fold"), "got 'Fold', did you mean 'fold'"),
    sheet(
        "an invisible letter in a column's name", SHEET.replace("fold", "fo\u200bld"), r"a name with U\+200B \(zero "
    ),
    sheet("a column twice", SHEET.replace("validates", "fold"), "line 1: expected the columns .*, got fold twice"),
    sheet("a column missing", "case\tpatient\tfold\tvalidates\tsite\n", "got excluded not at all"),
    sheet("a column too many", SHEET.replace("excluded", "excluded\tage", 1), "got 'age'.* known are: case, patient"),
    sheet("a column without a name", SHEET.replace("excluded", "excluded\t", 1), "got one without a name"),
    sheet("columns in another order", "patient\tcase\tfold\tvalidates\tsite\texcluded\n" + ROWS),
    sheet("spaces around columns' names", SHEET.replace("fold", " fold ", 1)),
    sheet("no header", ROWS, "line 1: expected the columns case, .*, got none of them; write them as the first line"),
    sheet("separated by semicolons", SHEET.replace("\t", ";"), "got them between semicolons, as a spreadsheet writes"),
    sheet("separated by commas", SHEET.replace("\t", ","), "got them between commas, as a spreadsheet writes CSV"),
    sheet("tabs that became spaces", SHEET.replace("\t", "    "), "got them without tabs between them; an editor may"),
    # cells
    sheet(
        "an opening quote in a reason", row("B", "B", "0", "-", "", '"T1 ends'), "line 3: .* a quote at its start, as"
    ),
    sheet(
        "a cell in quotes", row('"B"', "B", "0", "-", "", "-"), "line 3: expected plain text in column case, got a q"
    ),
    Fault(
        "cohort sheet: quotes within a reason",
        text(SHEET.replace("T1 ends", 'so-called "T1" ends')),
        lambda folder: read_cohort(folder / SHEET_NAME),
        right=lambda cohort: cohort.excluded[0].excluded == 'so-called "T1" ends within the tumor',
    ),
    sheet("a cell too many", row("B", "B", "0", "-", "", "a", "reason"), "line 3: expected 6 cells .*, got 7"),
    sheet("a cell too few", row("B", "B", "0", "-", "-"), "line 3: expected 6 cells separated by tabs, got 5"),
    sheet("spaces around cells", SHEET.replace("\t", " \t ")),
    sheet("a no-break space around a cell", SHEET.replace("B\t1", "B\u00a0\t1")),
    sheet("a space within a case's name", row("B 1", "B", "0", "-", "", "-"), r"column case, got U\+0020 \(space\)"),
    sheet("a zero-width space in a patient", row("B", "B\u200b", "0", "-", "", "-"), r"column patient, got U\+200B"),
    sheet("a zero-width space in a reason", row("B", "B", "0", "-", "", "a\u200bb"), r"column excluded, got U\+200B"),
    sheet("a control character", row("B", "B", "0", "-", "\x0b", "-"), r"column site, got U\+000B \(control"),
    sheet("a next-line character", row("B", "B", "0", "-", "a\x85b", "-"), r"column site, got U\+0085 \(control"),
    sheet(
        "a look-alike letter in a name",
        row("\u0412", "B", "0", "-", "", "-"),
        r"got U\+0412 \(cyrillic capital letter ve",
    ),
    sheet("a real name as patient", row("B", "Hans Müller", "0", "-", "", "-"), r"^(?!.*Hans).*patient, got U\+0020"),
    sheet("a name that is a hyphen", row("-", "B", "0", "-", "", "-"), "column case, got a hyphen at its start"),
    sheet("no name", row("", "B", "0", "-", "", "-"), "column case, got none"),
    sheet("a name of 200 letters", row("B" * 200, "B", "0", "-", "", "-"), "got 200 characters, more than 100"),
    sheet(
        "the error of a spreadsheet", row("B", "B", "0", "-", "", "#NAME?"), "got #NAME., the error of a spreadsheet"
    ),
    # dashes and reasons
    *(excluded(dash) for dash in ("- ", "\u2010", "\u2011", "\u2013", "\u2014", "\u2212", "\uff0d", "\u2013 ")),
    sheet("fold and validates are en dashes", SHEET.replace("0\t-", "0\t\u2013")),
    sheet("no word that says why", row("B", "B", "0", "-", "", "x"), "but it has no word that says why; write `-`"),
    sheet("the word none as a reason", row("B", "B", "0", "-", "", "None"), "but it has no word that says why"),
    sheet("the word yes as a reason", row("B", "B", "0", "-", "", "yes"), "but it has no word that says why"),
    sheet("an empty reason", row("B", "B", "0", "-", "", ""), "column excluded, but it is empty"),
    # numbers
    fold("a fraction", "0.0", r"'0\.0'"),
    fold("an Arabic digit", "٣", r"U\+0663 \(arabic-indic digit three\)"),
    fold("a wide digit", "\uff11", r"U\+FF11 \(fullwidth digit one\)"),
    fold("a raised digit", "²", r"U\+00B2 \(superscript two\)"),
    fold("a number with a sign", "+1", r"'\+1'"),
    fold("two zeros", "00", "'00'"),
    fold("negative", "-1", "'-1'"),
    fold("of 5,000 digits", "1" * 5000, "'1{30}'"),
    fold("a word", "zero", "letters"),
    fold("empty", "", "nothing"),
    sheet("validates a fold that tests nobody", row("B", "B", "0", "7", "", "-"), "B validates in fold 7, in which no"),
    # who is who
    sheet("a case twice", row("A", "A", "0", "-", "", "-"), "A stands twice; remove one row"),
    sheet(
        "two cases that differ in capitals", row("a", "B", "0", "-", "", "-"), "one spelling of each case, got A and a"
    ),
    sheet("a patient in two spellings", row("B", "a ", "0", "-", "", "-"), "one spelling of each patient, got A and a"),
    # the checksum
    sheet("a checksum, and nothing changed", with_checksum(lambda whole: whole)),
    sheet(
        "a checksum, with other line ends and a byte order mark",
        with_checksum(lambda t: "\ufeff" + t.replace("\n", "\r\n")),
    ),
    sheet(
        "a checksum, and a row is lost",
        with_checksum(lambda t: t[: t.index("C\tC")]),
        "got 2 rows of which .* write `# 2 rows, sha",
    ),
    sheet(
        "a checksum, and a letter differs",
        with_checksum(lambda t: t.replace("Zür", "Zur")),
        "line 1: expected the rows of this",
    ),
    sheet(
        "a checksum, and a fold differs",
        with_checksum(lambda t: t.replace("B\t1", "B\t0").replace("0\t0", "0\t-")),
        "one or more",
    ),
    sheet(
        "a checksum, itself in quotes by a spreadsheet", with_checksum(lambda t: '"' + t.replace("\n", '"\t\t\n', 1))
    ),
    sheet(
        "a damaged checksum",
        with_checksum(lambda t: t.replace("rows,", "row,")),
        "line 1: expected `# ROWS rows, sha256 DIGITS`",
    ),
    # the other hand-edited table
    value("a value in Arabic digits", values("t", "1", "r", "dice", "٣", "%", "sts", ""), r"value, got U\+0663"),
    value("a minus sign", values("t", "1", "r", "dice", "\u22121", "%", "sts", ""), r"value, got U\+2212 \(minus sign"),
    value("a decimal comma", values("t", "1", "r", "dice", "78,4", "%", "sts", ""), "value, got '78,4'"),
    value("not a number", values("t", "1", "r", "dice", "nan", "%", "sts", ""), "value, got letters"),
    value(
        "an unknown unit",
        values("t", "1", "r", "dice", "1", "cm", "sts", ""),
        "'cm' is not known as unit; known are: %, points, mm",
    ),
    value("an unknown cohort", values("t", "1", "r", "dice", "1", "%", "stss", ""), "as cohort, did you mean 'sts'"),
    value(
        "an empty cell", values("t", "1", "", "dice", "1", "%", "sts", ""), "every column but remark, got none in row"
    ),
    value(
        "a cell too few", values("t", "1", "r", "dice", "1", "%", "sts"), "expected 8 cells separated by tabs, got 7"
    ),
    value("Latin-1", text("\t".join(VALUE_COLUMNS).encode() + b"\n\xe9", VALUES_NAME), "line 2: .* got the byte 0xe9"),
    # YAML
    yaml_text("a key twice", "a: 1\nb: 2\na: 3\n", "line 3: expected each key once, got `a` also in line 1"),
    yaml_text("a key twice, deep in braces", "a: {b: [{c: 1, c: 2}]}\n", "line 1: expected each key once, got `c`"),
    yaml_text("a number and a text as one key", "1: a\n'1': b\n", "line 2: expected each key once, got `1`"),
    yaml_text("two merge keys", "x: &x {a: 1}\ny:\n  <<: *x\n  <<: *x\n", "line 4: expected each key once, got `<<`"),
    yaml_text("no as a text", "country: no\n", "line 1: YAML reads `no` as false; write false, or 'no' in quotes"),
    yaml_text("on as a text", "switch: On\n", "line 1: YAML reads `On` as true"),
    yaml_text("no as a name", "no: 1\n", "line 1: expected a name before the colon, got `no`; write it in quotes"),
    yaml_text("a number with a leading zero", "a: 012\n", "line 1: .* got `012`, which YAML reads as another"),
    yaml_text("a number with an underscore", "a: 1_000\n", "line 1: .* got `1_000`, which YAML reads as another"),
    yaml_text("a number with a colon", "a: 1:30\n", "line 1: .* got `1:30`, which YAML reads as another"),
    yaml_text("a number with a sign", "1: a\n+1: b\n", r"line 2: .* got `\+1`, which YAML reads as another"),
    yaml_text("nested too deeply", "a: " + "[" * 20_000, "expected YAML"),
    yaml_text("nested too deeply, in braces", "{a: " * 20_000, "expected YAML"),
    yaml_text("a hexadecimal number", "a: 0x10\n", "line 1: .* got `0x10`, which YAML reads as another"),
    yaml_text(
        "an exponent without a point", "a: 1e-3\n", "line 1: YAML reads `1e-3` as a text; write the number as 1.0e"
    ),
    yaml_text("not a number", "a: .nan\n", "line 1: expected a number in plain digits, got `.nan`"),
    yaml_text(
        "a number of 5,000 digits", "a: " + "9" * 5000, "line 1: expected a whole number in plain digits, got `9{40} "
    ),
    yaml_text("a date", "a: 2026-11-29\n", "line 1: YAML reads `2026-11-29` as a date"),
    yaml_text("a tab", "a:\n\tb: 1\n", "line 2: expected YAML, got a fault"),
    yaml_text("Latin-1", "a: é\n".encode("latin-1"), "line 1: expected YAML in UTF-8, got the byte 0xe9"),
    yaml_text("UTF-16", "a: 1\n".encode("utf-16"), "expected YAML in UTF-8, got UTF-16"),
    yaml_text("an empty file", "", "expected names and their values at the top level, got an empty file"),
    yaml_text("a list", "[a, b]\n", "at the top level, got a list"),
    yaml_text("a text alone", "datasets\n", "at the top level, got one text"),
    yaml_text("two documents", "a: 1\n---\nb: 2\n", "line 2: expected YAML, got a fault"),
    yaml_text("an alias of itself", "a: &a [*a]\n", "line 1: expected a value, got an alias of what it lies in"),
    yaml_text("an unknown alias", "a: *b\n", "line 1: expected YAML, got a fault"),
    yaml_text("a merge of a number", "<<: 3\n", "line 1: expected YAML, got a fault"),
    yaml_text("an object of Python", "a: !!python/object:os.path 1\n", "line 1: expected plain texts, .* got the tag"),
    yaml_text("an invisible letter in a key", "fo\u200bld: 1\n", r"line 1: .* before the colon, got U\+200B"),
    yaml_text("a control character in a text", 'a: "x\\x07"\n', r"line 1: expected text, got U\+0007 \(control"),
    Fault(
        "YAML: a byte order mark, merge keys and quotes are read",
        text("\ufeffx: &x {a: 1}\ny: {<<: *x, a: 2}\nz: 'no'\n", YAML_NAME),
        lambda folder: read_yaml(folder / YAML_NAME),
        right=lambda content: content == {"x": {"a": 1}, "y": {"a": 2}, "z": "no"},
    ),
    # records that jobs read back
    record("a file that was cut", '{"a": 1'),
    record("a key twice", '{"a": 1, "a": 2}'),
    record("not a number", '{"a": NaN}'),
    record("a list", json.dumps([1])),
    record("of an earlier release", json.dumps({"a": 1})),
    record("no text", b"\xff\xfe\x00"),
    record("nested too deeply", "[" * 100_000),
]
