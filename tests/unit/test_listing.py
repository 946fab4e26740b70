"""What a copy and a draft say of names that are no data, and the texts of names on disk and in messages."""

import logging
import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffufuse.errors import BadInput, printable
from diffufuse.fetch.dataset import fetch_dataset
from diffufuse.fetch.manifest import Content, read_manifest, require_unchanged, write_manifest
from diffufuse.files.tree import tree_of
from diffufuse.ingest.formats import dicom, nifti
from diffufuse.ingest.formats.listing import PLAIN, case_name, write_names
from diffufuse.logs import PROGRESS, screen_line
from diffufuse.study.cohorts import NAME

BLOCK = {
    "reference": "t1",
    "modalities": {"t1": {"file": ["{case}/t1.nii.gz"]}, "ct": {"file": ["{case}/ct.nii.gz"]}},
    "annotation": {"file": ["{case}/seg.nii.gz"]},
}
PARTS = st.text(st.characters(exclude_characters="/\0", exclude_categories=()), min_size=1).filter(
    lambda text: text not in (".", "..")
)
CONTENT = Content(3, "0" * 64)


@pytest.fixture
def told(caplog):
    caplog.set_level(logging.INFO, PROGRESS.name)
    return lambda: [record.getMessage() for record in caplog.records]


def touch(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)


def test_a_copy_tells_what_it_does_not_take(tmp_path, told):
    touch(tmp_path / "our", "A/t1.nii.gz", ".git/x", "A/._t1.nii.gz")
    (tmp_path / "our/B/C").mkdir(parents=True)
    fetch_dataset({"kind": "copy", "mirror": "our"}, tmp_path / "raw.manifest.tsv", mirror=str(tmp_path), study_seed=1)
    assert "our: 2 folders hold no file and are not taken: B, B/C" in told()
    assert "our: 2 hidden names are passed over" in told()


def test_a_draft_tells_what_is_no_case_and_what_is_named_anew(tmp_path, told):
    touch(tmp_path / "raw", "A/t1.nii.gz", "Patient 1/t1.nii.gz", "B/ct.nii.gz", "README", "A/notes.txt")
    listing = nifti.list_cases(tmp_path / "raw", BLOCK)
    write_names(listing, tmp_path / "names.tsv")
    reason = "no file like {case}/t1.nii.gz"
    assert told() == [
        "raw: 2 cases",
        "raw: 1 are named anew: Patient 1 is Patient-1",
        f"raw: 2 are left out: B ({reason}), README ({reason})",
    ]
    assert (tmp_path / "names.tsv").read_text().splitlines() == [
        "case\tname\tleft_out",
        "A\tA\t-",
        "Patient-1\tPatient 1\t-",
        f"-\tB\t{reason}",
        f"-\tREADME\t{reason}",
    ]


def test_a_folder_of_cases_tells_of_files_and_empty_folders_beside_them(tmp_path, told):
    touch(tmp_path / "raw", "A/1.dcm", "list.csv")
    (tmp_path / "raw/B").mkdir()
    (tmp_path / "raw/C").symlink_to("gone")
    assert dicom.list_cases(tmp_path / "raw", {}).names == ["A"]
    assert told()[1] == (
        "raw: 3 are left out: B (a folder without a file), C (a link to nothing), list.csv (a file beside the folders "
        "of cases)"
    )


def test_everything_that_cannot_be_read_is_counted_and_the_first_are_named(tmp_path):
    for number in range(7):
        (tmp_path / f"{number}").symlink_to("gone")
    with pytest.raises(BadInput, match=r"got 7 that cannot: 0 \(a link to nothing, .*\), .* 4 \(.*\), \.\.\.; mend"):
        tree_of(tmp_path)


@given(st.lists(st.lists(PARTS, min_size=1, max_size=3).map("/".join), unique=True), PARTS)
def test_a_manifest_holds_every_name_that_a_disk_may_hold(tmp_path_factory, names, address):
    path = tmp_path_factory.mktemp("m") / "raw.manifest.tsv"
    contents = dict.fromkeys(names, CONTENT)
    write_manifest(path, contents, address=address)
    assert path.read_text().isascii() or path.read_text().replace("\n", "").replace("\t", "").isprintable()
    assert read_manifest(path) == (contents, address if names else "")
    for name in names:
        folder = os.path.dirname(name)
        beside = {other: CONTENT for other in names if not folder or other.startswith(f"{folder}/")}
        assert read_manifest(path, [folder])[0] == beside


def test_a_case_with_files_at_two_depths_is_found_in_the_manifest(tmp_path):
    touch(tmp_path / "raw", "A/1", "A/CT/1", "A B/1", "A B/CT/1", "A.1/1")
    files = [path for path in (tmp_path / "raw").rglob("*") if path.is_file()]
    names = [path.relative_to(tmp_path / "raw").as_posix() for path in files]
    write_manifest(tmp_path / "raw.manifest.tsv", dict.fromkeys(names, CONTENT), address="copy")
    with pytest.raises(BadInput, match="got 5 changed"):
        require_unchanged(tmp_path / "raw.manifest.tsv", files)


@given(PARTS)
def test_a_case_is_named_in_letters_digits_and_hyphens_however_its_accents_are_encoded(text):
    name = case_name(text)
    assert not name or NAME.fullmatch(name)
    assert name == case_name(unicodedata.normalize("NFC", text)) == case_name(unicodedata.normalize("NFD", text))
    assert not PLAIN.fullmatch(text) or name == text.replace("_", "-").lstrip("-")


@given(PARTS)
def test_a_refusal_is_printable_whatever_a_file_is_called(text):
    assert str(BadInput(f"{text}: expected")).isprintable()
    assert printable(text) == text or not text.isprintable()


def test_a_name_that_is_no_utf8_comes_through_to_the_terminal(tmp_path):
    with (tmp_path / "screen").open("wb") as screen:
        screen_line(screen.fileno(), os.fsdecode(b"M\xfcller\n"))
    assert (tmp_path / "screen").read_bytes() == b"M\\udcfcller\n"
    assert printable(os.fsdecode(b"M\xfcller\n")) == r"M\xfcller\n"
