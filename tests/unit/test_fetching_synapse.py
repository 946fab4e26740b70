"""Synapse: its real client against a small server on loopback that answers as the public one does."""

import hashlib
import io
import json
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from diffufuse.errors import BadInput
from diffufuse.fetch.dataset import fetch_dataset
from diffufuse.fetch.sources import synapse

TOKEN = "planted-personal-access-token-5f3a"
TOLD = {"study_seed": 1}


def zipped(members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return content.getvalue()


class SynapseServer(ThreadingHTTPServer):
    """Holds one file entity; `told` overrides what is said of it, `failure` refuses its download."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = zipped(
            {"RawData/Training/img/img0001.nii.gz": b"image", "RawData/Testing/img/img0061.nii.gz": b"x"}
        )
        self.name, self.told, self.failure, self.tokens, self.downloads = "RawData.zip", {}, None, set(), 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def handle(self):
        return {
            "id": "7",
            "concreteType": "org.sagebionetworks.repo.model.file.S3FileHandle",
            "fileName": self.name,
            "contentSize": len(self.body),
            "contentMd5": hashlib.md5(self.body).hexdigest(),
        } | self.told


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/blob"):
            self.server.downloads += 1
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.server.body)))
            self.end_headers()
            self.wfile.write(self.server.body)
        elif self.headers.get("Authorization") == f"Bearer {TOKEN}":
            self.server.tokens.add(self.headers.get("Authorization"))
            self.answer({"userName": "tester", "ownerId": "1"})
        else:
            self.answer({"reason": f"invalid token {self.headers.get('Authorization')}"}, status=401)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "bundle2" in self.path:
            entity = {"concreteType": "org.sagebionetworks.repo.model.FileEntity", "dataFileHandleId": "7", "etag": "e"}
            entity |= {"id": "syn1", "name": self.server.name, "parentId": "syn0", "versionNumber": 1}
            notes = {"id": "syn1", "etag": "e", "annotations": {}}
            self.answer(
                {"entity": entity, "entityType": "file", "annotations": notes, "fileHandles": [self.server.handle]}
            )
        elif self.server.failure:
            self.answer({"requestedFiles": [{"fileHandleId": "7", "failureCode": self.server.failure}]})
        else:
            url = f"{self.server.url}/blob?Expires=9999999999&Signature=x"
            handle = {"fileHandleId": "7", "fileHandle": self.server.handle, "preSignedURL": url}
            self.answer({"requestedFiles": [handle]})

    def answer(self, content, status=200):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The client finds the server by its own configuration in the home folder."""
    running = SynapseServer()
    threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    home = tmp_path / "home"
    home.mkdir()
    endpoints = {"repo": "/repo/v1", "auth": "/auth/v1", "fileHandle": "/file/v1", "portal": "/"}
    lines = [f"{name}Endpoint={running.url}{path}" for name, path in endpoints.items()]
    (home / ".synapseConfig").write_text("\n".join(["[endpoints]", *lines]))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SYNAPSE_AUTH_TOKEN", TOKEN)
    (tmp_path / "data").mkdir()
    yield running
    running.shutdown()
    running.server_close()


def fetch(tmp_path, **more):
    block = {"kind": "synapse", "entities": ["syn1"]} | more
    fetch_dataset(block, tmp_path / "data/btcv.manifest.tsv", mirror=None, **TOLD)
    return tmp_path / "data/btcv"


def found(raw):
    return {path.relative_to(raw).as_posix(): path.read_bytes() for path in raw.rglob("*") if path.is_file()}


def test_an_archive_is_downloaded_and_the_wanted_folder_unpacked(server, tmp_path):
    raw = fetch(tmp_path, folder="RawData/Training")
    assert found(raw) == {"img/img0001.nii.gz": b"image"}
    names = sorted(path.name for path in raw.parent.iterdir())
    assert names == [".btcv.manifest.tsv", "btcv", "btcv.manifest.tsv"]
    assert "\tsynapse:syn1\n" in (raw.parent / "btcv.manifest.tsv").read_text()


def test_several_archives_have_a_folder_each(server, tmp_path):
    raw = fetch(tmp_path, entities=["syn1", "syn2"], folder="RawData/Training")
    assert found(raw) == {"syn1/img/img0001.nii.gz": b"image", "syn2/img/img0001.nii.gz": b"image"}


@pytest.mark.parametrize("failure", [None, "UNAUTHORIZED"])
def test_the_token_reaches_the_server_and_no_file_no_log_and_no_screen(server, tmp_path, failure):
    server.failure = failure
    block = {"kind": "synapse", "entities": ["syn1"]}
    code = (
        "from diffufuse.fetch.dataset import fetch_dataset\nfrom diffufuse.logs import job_log\n"
        f"with job_log({str(tmp_path / 'job.log')!r}):\n"
        f"    fetch_dataset({block!r}, {str(tmp_path / 'data/btcv.manifest.tsv')!r}, mirror=None, **{TOLD!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == (1 if failure else 0), done.stderr
    assert server.tokens == {f"Bearer {TOKEN}"}
    assert "job.log" in found(tmp_path)
    assert not [name for name, content in found(tmp_path).items() if TOKEN.encode() in content]
    assert TOKEN not in done.stdout + done.stderr


def test_a_token_in_the_clients_own_configuration_serves_too(server, tmp_path, monkeypatch):
    monkeypatch.delenv("SYNAPSE_AUTH_TOKEN")
    config = tmp_path / "home/.synapseConfig"
    config.write_text(config.read_text() + f"\n[default]\nusername = tester\nauthtoken = {TOKEN}\n")
    assert found(fetch(tmp_path))


@pytest.mark.parametrize("token", [None, "wrong-token-77"])
def test_without_a_valid_token_it_is_told_what_to_do(server, tmp_path, monkeypatch, token, capfd):
    monkeypatch.delenv("SYNAPSE_AUTH_TOKEN")
    if token:
        monkeypatch.setenv("SYNAPSE_AUTH_TOKEN", token)
    with pytest.raises(BadInput, match=r"set SYNAPSE_AUTH_TOKEN .* accept the dataset's terms") as refusal:
        fetch(tmp_path)
    assert "\n" not in str(refusal.value)
    assert "wrong-token" not in str(refusal.value) + "".join(capfd.readouterr())
    assert not found(tmp_path / "data")


def test_terms_that_are_not_accepted_are_told(server, tmp_path):
    server.failure = "UNAUTHORIZED"
    with pytest.raises(BadInput, match="accept the dataset's terms"):
        fetch(tmp_path)
    assert not (tmp_path / "data/btcv.manifest.tsv").exists()


def test_a_wrong_hash_is_told_and_leaves_no_raw_file(server, tmp_path):
    server.told = {"contentMd5": "0" * 32}
    with pytest.raises(BadInput, match="SynapseMd5MismatchError"):
        fetch(tmp_path)
    assert not found(tmp_path / "data/btcv")


def test_a_file_that_is_no_archive_is_told(server, tmp_path):
    server.name = "notes.txt"
    with pytest.raises(BadInput, match=r"expected an archive .* got notes\.txt"):
        fetch(tmp_path)


def test_a_download_that_is_whole_is_not_repeated(server, tmp_path):
    fetch_folder = tmp_path / "data/.btcv.download"
    synapse._downloaded(["syn1"], fetch_folder)
    fetch(tmp_path)
    assert server.downloads == 1


def test_an_archive_for_which_there_is_no_room_is_not_downloaded(server, tmp_path):
    server.told = {"contentSize": 10**15}
    with pytest.raises(BadInput, match=r"expected .* TB of free disk"):
        fetch(tmp_path)
    assert server.downloads == 0
