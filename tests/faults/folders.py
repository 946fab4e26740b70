"""Folders of users: links, names, things that cannot be read; none of it may vanish from the copy or the draft."""

import os
import socket
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path
from unittest.mock import patch

from diffufuse.fetch.dataset import fetch_dataset
from diffufuse.fetch.manifest import contents_of, read_manifest, require_unchanged, write_manifest
from diffufuse.fetch.sources import copy
from diffufuse.files import tree
from diffufuse.ingest.formats import FORMATS
from diffufuse.ingest.formats.listing import write_names
from diffufuse.study.cohorts import draft_cohort, write_cohort
from faults import Fault
from faults.geometry import save, slice_of

NIFTI = {
    "format": "nifti",
    "reference": "t1",
    "modalities": {"t1": {"file": ["{case}/t1.nii.gz", "{case}.nii.gz"]}, "ct": {"file": ["{case}/ct.nii.gz"]}},
    "annotation": {"file": ["{case}/seg.nii.gz", "{case}.seg.nii.gz", "{case}_seg.nii.gz"]},
}
DICOM = {"format": "dicom", "reference": "t1", "modalities": {}, "annotation": {}}
LATIN_1 = os.fsdecode("Müller".encode("latin-1"))
ODD = ("tab\tkey", "new\nline", "next\x85line", 'quo"te', "right\u202eleft", "back\\slash", "a'b", LATIN_1)
NAMED = ["a-b", "back-slash", "M-ller", "new-line", "next-line", "quo-te", "right-left", "tab-key"]


def files(*paths: str) -> Callable[[Path], None]:
    """Write files, each with its own path as content."""

    def make(folder: Path) -> None:
        for path in paths:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(os.fsencode(path))

    return make


def cases(*names: str) -> Callable[[Path], None]:
    """The user's folder, with an image in a folder of each name."""
    return files(*(f"mirror/our/{name}/t1.nii.gz" for name in names))


def also(make: Callable[[Path], None], more: Callable[[Path], object]) -> Callable[[Path], None]:
    """Make, and then change the user's folder."""

    def both(folder: Path) -> None:
        make(folder)
        more(folder / "mirror/our")

    return both


def link(name: str, target: str) -> Callable[[Path], object]:
    return lambda our: (our / name).symlink_to(target)


def listens(our: Path) -> None:
    """Leave a socket; its path is relative, as it may have 107 bytes at most."""
    before = Path.cwd()
    os.chdir(our)
    try:
        with socket.socket(socket.AF_UNIX) as ear:
            ear.bind("socket")
    finally:
        os.chdir(before)


def drafted(block: dict[str, object] = NIFTI) -> Callable[[Path], object]:
    """Fetch from the user's folder, twice, and list the cases; each is opened, and its files are in the manifest."""

    def read(folder: Path) -> object:
        manifest, raw = folder / "raw.manifest.tsv", folder / "raw"
        for _ in range(2):
            fetch_dataset({"kind": "copy", "mirror": "our"}, manifest, mirror=str(folder / "mirror"), study_seed=1)
        form = FORMATS[str(block["format"])]
        listing = form.list_cases(raw, block)
        write_names(listing, folder / "names.tsv")
        write_cohort(draft_cohort(listing.names, study_seed=1), folder / "cohort.tsv")
        for name in listing.names:
            opened = form.open_case(raw, name, block)
            require_unchanged(manifest, opened.files, owns=opened.owns)
            assert opened.choice or block is DICOM
        return listing.names

    return read


def listed(block: dict[str, object] = NIFTI) -> Callable[[Path], object]:
    """List the cases of a raw folder that was filled by hand."""
    return lambda folder: FORMATS[str(block["format"])].list_cases(folder / "mirror/our", block).names


def opened(case: str, block: dict[str, object] = NIFTI) -> Callable[[Path], object]:
    return lambda folder: [
        path.name for path in FORMATS[str(block["format"])].open_case(folder / "mirror/our", case, block).files
    ]


def forbidden(name: str, read: Callable[[Path], object]) -> Callable[[Path], object]:
    """Read while one name may not be read, whoever runs the test."""

    def refuse(function: Callable[..., object]) -> Callable[..., object]:
        def guarded(path: object, *more: object, **options: object) -> object:
            if os.path.basename(os.fspath(path)) == name:  # type: ignore[call-overload]
                raise PermissionError(13, "Permission denied", path)
            return function(path, *more, **options)

        return guarded

    def guarded_read(folder: Path) -> object:
        with (
            patch.object(tree.os, "scandir", refuse(os.scandir)),
            patch.object(copy.shutil, "copyfile", refuse(copy.shutil.copyfile)),
        ):
            return read(folder)

    return guarded_read


def manifest_with(edit: Callable[[list[str]], Iterable[str]]) -> Callable[[Path], None]:
    """A raw folder with a manifest whose lines were edited."""

    def make(folder: Path) -> None:
        files("raw/A/1", "raw/A/2", "raw/B/1")(folder)
        write_manifest(folder / "raw.manifest.tsv", contents_of(folder / "raw"), address="copy")
        lines = (folder / "raw.manifest.tsv").read_text().splitlines(keepends=True)
        (folder / "raw.manifest.tsv").write_text("".join(edit(lines)))
        (folder / "raw.manifest.tsv").with_name(".raw.manifest.tsv").write_text("".join(edit(lines)))

    return make


def manifest(folder: Path) -> object:
    return sorted(read_manifest(folder / "raw.manifest.tsv")[0])


def again(folder: Path) -> object:
    """Fetch again, after a first fetch whose manifest was edited."""
    fetch_dataset({"kind": "copy", "mirror": "our"}, folder / "raw.manifest.tsv", mirror=None, study_seed=1)
    return manifest(folder)


def dicom(*paths: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        for path in paths:
            (folder / "mirror/our" / path).parent.mkdir(parents=True, exist_ok=True)
            save(slice_of(0), folder / "mirror/our" / path)

    return make


def are(*names: str) -> Callable[[object], bool]:
    return lambda found: found == list(names)


UMLAUT = [unicodedata.normalize(form, "Müller.2") for form in ("NFC", "NFD")]
FAULTS = [
    Fault(
        "mirror: a linked folder of a case",
        also(cases("A", "../away/B"), link("B", "../away/B")),
        drafted(),
        right=are("A", "B"),
    ),
    Fault(
        "mirror: a linked file",
        also(
            cases("A", "../away/B"),
            lambda our: [(our / "B").mkdir(), link("B/t1.nii.gz", "../../away/B/t1.nii.gz")(our)],
        ),
        drafted(),
        right=are("A", "B"),
    ),
    Fault(
        "mirror: a link to nothing", also(cases("A"), link("B", "gone")), drafted(), r"B \(a link to nothing, No such"
    ),
    Fault(
        "mirror: a link to itself", also(cases("A"), link("B", "B")), drafted(), r"1 that cannot: B \(a link to nothing"
    ),
    Fault("mirror: a link around itself", also(cases("A"), link("A/B", "..")), drafted(), r"A/B \(the folder"),
    Fault("mirror: a link to the whole disk", also(cases("A"), link("B", "/")), drafted(), r"B \(the folder around it"),
    Fault(
        "mirror: a link to another case", also(cases("A"), link("B", "A")), drafted(), r"B \(the folder A once more\)"
    ),
    Fault(
        "mirror: a pipe",
        also(cases("A"), lambda our: os.mkfifo(our / "A/pipe")),
        drafted(),
        "neither a file nor a folder",
    ),
    Fault("mirror: a socket", also(cases("A"), listens), drafted(), r"socket \(neither a file nor a folder\)"),
    Fault(
        "mirror: a folder that may not be read", cases("A", "B"), forbidden("B", drafted()), r"B \(Permission denied\)"
    ),
    Fault(
        "mirror: a file that may not be read",
        also(cases("A"), files("A/secret")),
        forbidden("secret", drafted()),
        "secret: expected to copy it .* 'Permission denied'",
    ),
    Fault("mirror: a name that is too long for a case", cases("A", "a" * 120), drafted(), right=are("A")),
    Fault(
        "mirror: a file whose name is too long for a copy",
        also(cases("A"), files(f"A/{'n' * 250}")),
        drafted(),
        "File name too long",
    ),
    *(
        Fault(
            f"mirror: names with {what}, {form}",
            cases(*names) if form == "nifti" else dicom(*paths),
            drafted(block),
            None,
            right,
        )
        for what, names, right in [
            ("a dot, a space and an umlaut", ("Patient 1", UMLAUT[0]), are("Muller-2", "Patient-1")),
            ("an umlaut as macOS writes it", (UMLAUT[1],), are("Muller-2")),
            ("a sign at the start", ("_A", "(B) 2"), are("A", "B--2")),
            ("all that a name may have", ODD, lambda found: sorted(found) == sorted(NAMED)),
        ]
        for form, block in [("nifti", NIFTI), ("dicom", DICOM)]
        for paths in [[f"{name}/1.dcm" for name in names]]
    ),
    Fault("cases: an umlaut in two encodings", cases(*UMLAUT), drafted(), r"stands twice \(Mu.*ller\.2, Müller\.2\)"),
    Fault("cases: names that differ in signs", dicom("A 1/1.dcm", "A_1/1.dcm"), drafted(DICOM), r"twice \(A 1, A_1\)"),
    Fault("cases: names that differ in a sign at the start", cases("A", "_A"), drafted(), r"twice \(A, _A\)"),
    Fault("cases: names that differ in case", cases("A1", "a1"), drafted(), r"stands twice \(A1, a1\)"),
    Fault(
        "cases: two folders of one, opened", dicom("A-1/1.dcm", "A_1/1.dcm"), opened("A-1", DICOM), r"twice \(A-1, A_1"
    ),
    Fault("cases: two folders of one, opened as NIfTI", cases("A-1", "A.1"), opened("A-1"), r"twice \(A-1, A\.1"),
    Fault(
        "cases: none, DICOM", files("mirror/our/LICENSE"), drafted(DICOM), r"got no case but LICENSE \(a file beside"
    ),
    Fault(
        "cases: none, NIfTI", files("mirror/our/A/flair.nii.gz"), drafted(), r"got no case but A \(no file like \{case"
    ),
    Fault(
        "cases: archives in the archive's place", files("mirror/our/A.zip"), drafted(), r"no case but A\.zip \(no file"
    ),
    Fault("cases: no Latin letter", cases("山田"), drafted(), "a name without a Latin letter or a digit"),
    Fault(
        "cases: a folder beside that is empty",
        also(cases("A"), lambda our: (our / "B").mkdir()),
        listed(),
        None,
        are("A"),
    ),
    Fault(
        "cases: a folder that may not be read is named",
        dicom("A/1.dcm", "B/1.dcm"),
        forbidden("B", listed(DICOM)),
        None,
        are("A"),
    ),
    Fault(
        "cases: labels beside the images are no cases",
        files("mirror/our/A.1.nii.gz", "mirror/our/A.1.seg.nii.gz", "mirror/our/B.nii.gz", "mirror/our/B_seg.nii.gz"),
        drafted(),
        right=are("A-1", "B"),
    ),
    Fault(
        "cases: a pattern that ends in any text takes no file of another case",
        files("mirror/our/AB.nii.gz"),
        opened("A", NIFTI | {"modalities": {"t1": {"file": ["{case}*.nii.gz"]}}}),
        "expected the case A, but the folder does not hold it",
    ),
    Fault("manifest: a row is lost", manifest_with(lambda lines: lines[:2] + lines[3:]), manifest, "damaged or edited"),
    Fault(
        "manifest: two rows change places", manifest_with(lambda x: [x[0], x[2], x[1], *x[3:]]), manifest, "damaged or"
    ),
    Fault(
        "manifest: cut between two rows", manifest_with(lambda lines: lines[:3]), manifest, "without a hash of itself"
    ),
    Fault(
        "manifest: of an earlier release, whole", manifest_with(lambda x: x[:-1]), again, right=are("A/1", "A/2", "B/1")
    ),
    Fault("manifest: of the first fetch, cut", manifest_with(lambda x: x[:3]), again, "other files and no hash"),
    Fault(
        "manifest: of the first fetch, edited", manifest_with(lambda x: [*x[:2], *x[3:]]), again, "damaged or edited"
    ),
    Fault(
        "manifest: a folder in its place", lambda folder: (folder / "raw.manifest.tsv").mkdir(), manifest, "can be read"
    ),
]
