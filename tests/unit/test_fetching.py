"""Fetching from a real HTTP server on loopback, from a mirror, and by making a phantom."""

import csv
import io
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from diffufuse.errors import BadInput
from diffufuse.fetching import fetch_dataset, write_manifest
from diffufuse.files import sha256_of

FILES = {"STS_001/CT_image.nii.gz": b"image", "STS_001/CT_mask.nii.gz": b"mask" * 1000}


def zipped(members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return content.getvalue()


@pytest.fixture
def server():
    """Answers every path with (status, length told, body) of `answers`."""
    answers = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, length, body = answers[self.path]
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield answers, f"http://127.0.0.1:{running.server_address[1]}"
    running.shutdown()


def source(url, **more):
    return {"kind": "archive", "url": url, "folder": "validation/nifti"} | more


def fetch(block, raw, mirror=None):
    fetch_dataset(block, raw, mirror=mirror, study_seed=1)


def test_a_folder_of_an_archive_becomes_the_raw_folder(server, tmp_path):
    answers, url = server
    body = zipped({f"repo-master/validation/nifti/{name}": data for name, data in FILES.items()} | {"repo/other": b"x"})
    answers["/a.zip"] = (200, len(body), body)
    fetch(source(f"{url}/a.zip"), tmp_path / "raw")
    found = {p.relative_to(tmp_path / "raw").as_posix(): p.read_bytes() for p in (tmp_path / "raw").rglob("*.gz")}
    assert found == FILES
    assert sorted(p.name for p in tmp_path.iterdir()) == ["raw"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((404, 2, b"no"), "404"),
        ((200, 30, b"<html>not an archive</html>..."), "expected a zip archive"),
        ((200, 1000, zipped({"a": b"b"})), "expected 1000 bytes|download failed"),
        ((200, None, zipped({"a/b": b"b"})), "expected the folder validation/nifti"),
        ((200, None, zipped({"r/validation/nifti/../../../evil": b"b"})), "points outside"),
        ((200, None, zipped({"r/validation/nifti/bomb": b"0" * 50_000_000})), "expands beyond reason"),
    ],
)
def test_a_bad_answer_is_one_sentence_and_leaves_nothing(server, tmp_path, answer, told):
    answers, url = server
    status, length, body = answer
    answers["/a.zip"] = (status, len(body) if length is None else length, body)
    with pytest.raises(BadInput, match=told):
        fetch(source(f"{url}/a.zip"), tmp_path / "raw")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_host_that_does_not_answer_is_told_with_what_to_do(tmp_path):
    with pytest.raises(BadInput, match=r"the download failed .* mirror=FOLDER"):
        fetch(source("http://127.0.0.1:9/a.zip"), tmp_path / "raw")


def test_a_mirror_takes_the_place_of_the_download_and_gives_the_same_manifest(server, tmp_path):
    answers, url = server
    body = zipped({f"repo/validation/nifti/{name}": data for name, data in FILES.items()})
    answers["/a.zip"] = (200, len(body), body)
    for name, data in FILES.items():
        path = tmp_path / "mirror" / "sts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    block = source(f"{url}/a.zip", mirror="sts")
    fetch(block, tmp_path / "downloaded")
    fetch(block, tmp_path / "copied", mirror=str(tmp_path / "mirror"))
    manifests = []
    for name in ("downloaded", "copied"):
        write_manifest(tmp_path / name, tmp_path / f"{name}.tsv", source=block, license="CC BY 3.0", citation="V 2015")
        manifests.append((tmp_path / f"{name}.tsv").read_text())
    assert manifests[0] == manifests[1]
    rows = list(csv.DictReader(io.StringIO(manifests[0]), delimiter="\t"))
    assert {row["path"] for row in rows} == set(FILES)
    assert all(row["sha256"] == sha256_of(tmp_path / "copied" / row["path"]) for row in rows)
    assert all(row["license"] == "CC BY 3.0" for row in rows)


def test_a_damaged_copy_of_equal_size_is_copied_anew(tmp_path):
    (tmp_path / "mirror" / "sts").mkdir(parents=True)
    (tmp_path / "mirror" / "sts" / "a.nii.gz").write_bytes(b"whole")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.nii.gz").write_bytes(b"broke")
    fetch(source("http://127.0.0.1:9/a.zip", mirror="sts"), tmp_path / "raw", mirror=str(tmp_path / "mirror"))
    assert (tmp_path / "raw" / "a.nii.gz").read_bytes() == b"whole"


def test_a_mirror_without_the_dataset_is_refused(tmp_path):
    with pytest.raises(BadInput, match="no such folder"):
        fetch(source("http://127.0.0.1:9/a.zip", mirror="sts"), tmp_path / "raw", mirror=str(tmp_path))


def test_an_empty_raw_folder_has_no_manifest(tmp_path):
    (tmp_path / "raw").mkdir()
    with pytest.raises(BadInput, match="the folder is empty"):
        write_manifest(tmp_path / "raw", tmp_path / "m.tsv", source=source(""), license="", citation="")
    assert not (tmp_path / "m.tsv").exists()
