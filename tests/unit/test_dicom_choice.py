"""Rules choose the one series they mean, and tell of the others without naming anyone."""

import re
from pathlib import Path

import pytest
import yaml
from faults.choice import T1, T2FS, described
from faults.geometry import save, slice_of
from pyarrow import parquet

from diffufuse.dicom.choice import choice_report, choose_series, first_match
from diffufuse.dicom.series import find_series
from diffufuse.dicom.vocabulary import imaging_words, modality_code

ROOT = Path(__file__).parents[2]
COLUMNS = ["PatientID", "Modality", "SeriesDescription"]


@pytest.fixture(scope="module")
def rules():
    """The rules of the catalogue, by modality."""
    block = yaml.safe_load((ROOT / "config" / "datasets.yaml").read_text())["datasets"]["sts"]
    series = {name: modality["series"] for name, modality in block["modalities"].items()}
    return series | {"annotation": block["annotation"]["series"]}


@pytest.fixture(scope="module")
def patients():
    """Every series of the collection by patient, from the index that the client of the Imaging Data Commons ships."""
    index = pytest.importorskip("idc_index_data", reason="the offline index of IDC is not installed")
    path = Path(index.__file__).parent / "idc_index.parquet"
    if not path.is_file():
        pytest.skip("the offline index of IDC holds no parquet file")
    rows = parquet.read_table(path, columns=COLUMNS, filters=[("collection_id", "==", "soft_tissue_sarcoma")])
    found = {}
    for row in rows.to_pylist():
        found.setdefault(row["PatientID"], []).append(row)
    return found


def test_every_sarcoma_patient_of_the_index_has_one_series_of_each_modality(patients, rules):
    assert (len(patients), sum(map(len, patients.values()))) == (51, 612)
    counts = {
        (name, sum(first_match(wanted, row.get) is not None for row in rows))
        for rows in patients.values()
        for name, wanted in rules.items()
    }
    assert counts == {(name, 1) for name in ("pet", "ct", "t1", "t2fs", "annotation")}


def test_the_recorded_sequence_is_the_one_on_which_contours_were_drawn(patients, rules):
    found = []
    for rows in patients.values():
        (sequence,) = (rule["sequence"] for row in rows if (rule := first_match(rules["t2fs"], row.get)))
        assert [row for row in rows if row["SeriesDescription"] == f"RTstruct_{sequence.upper()}"]
        found.append(sequence)
    assert (found.count("stir"), found.count("t2fs")) == (25, 26)


def test_no_index_row_shows_more_than_imaging_words(patients):
    shown = {imaging_words(row["SeriesDescription"]) for rows in patients.values() for row in rows}
    assert {"ax t1 research", "aligned t1topet box", "eSTIR longte sense w pict plus".lower()} <= shown
    assert all(re.fullmatch("[a-z0-9… ]+", words) for words in shown)


def test_the_report_lists_what_matched_what_is_absent_and_what_was_left(tmp_path):
    described("AX T1 Smith", "AX STIR", "3PL LOC Smith")(tmp_path)
    candidates = find_series(tmp_path)
    chosen = {"t1": choose_series(candidates, [T1]), "t2fs": choose_series(candidates, T2FS)}
    chosen["ct"] = choose_series(candidates, [{"Modality": "^CT$"}])
    size = {"files": 1, "rows": 16, "columns": 18}
    assert choice_report(candidates, chosen) == [
        {"modality": "t1", "sequence": "", "kind": "MR", "words": "ax t1 …", **size},
        {"modality": "t2fs", "sequence": "stir", "kind": "MR", "words": "ax stir", **size},
        {"modality": "ct", "sequence": "", "kind": "", "words": "", "files": 0, "rows": 0, "columns": 0},
        {"modality": "", "sequence": "", "kind": "MR", "words": "… loc …", **size},
    ]


def test_no_log_line_shows_a_description(tmp_path, caplog):
    described("AX T1 Smith", "AX STIR")(tmp_path)
    with caplog.at_level("INFO"):
        choice_report(find_series(tmp_path), {})
    assert "ax t1 …" in caplog.text
    assert "Smith" not in caplog.text


def test_series_without_a_matrix_are_listed_without_one(tmp_path):
    structure = slice_of(0, Modality="RTSTRUCT", Rows=None, Columns=None, PixelData=None)
    save(structure, tmp_path / "0.dcm")
    (row,) = choice_report(find_series(tmp_path), {})
    assert (row["kind"], row["rows"], row["columns"]) == ("RTSTRUCT", 0, 0)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("AX T1 FSE", "ax t1 fse"),
        ("O'Brien, T2^FS", "o … t2 fs"),
        ("#STIR AX - RESEARCH", "stir ax research"),
        ("2. AXIAL T1", "2 axial t1"),
        ("T1 12-03-85", "t1 …"),
        ("T1 12345", "t1 …"),
        ("Müller Weiß ax", "… ax"),
        ("", ""),
    ],
)
def test_only_imaging_words_and_one_short_number_are_shown(text, shown):
    assert imaging_words(text) == shown


def test_a_modality_that_dicom_does_not_know_is_not_shown():
    assert [modality_code(code) for code in ("CT", "RTSTRUCT", "SMITH")] == ["CT", "RTSTRUCT", "…"]
