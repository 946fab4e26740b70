"""A file is hashed once on a host, and again as soon as it, or what is known of it, is another."""

import os
import shutil
import tempfile
import time

import pytest

from diffufuse.files import verified
from diffufuse.files.digests import sha256_of
from diffufuse.files.verified import has_sha256

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def hashed(monkeypatch, tmp_path):
    """The files that were hashed, in order, on a host of its own on which files settle at once."""
    (tmp_path / "host").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "host"))
    monkeypatch.setattr(verified, "SETTLED_S", 0.02)
    files = []
    monkeypatch.setattr(verified, "sha256_of", lambda path: [files.append(path.name), sha256_of(path)][1])
    return files


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "a.b2nd"
    path.write_bytes(CONTENT)
    return path


def settle():
    time.sleep(0.06)


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def test_a_file_is_hashed_once_however_often_it_is_opened(store, hashed):
    digest = sha256_of(store)
    settle()
    assert [has_sha256(store, digest) for _ in range(5)] == [True] * 5
    assert hashed == ["a.b2nd"]


def test_a_flipped_bit_is_found_though_the_dates_of_the_file_are_put_back(store, hashed):
    digest, dates = sha256_of(store), store.stat()
    settle()
    assert has_sha256(store, digest)
    flipped(store)
    os.utime(store, ns=(dates.st_atime_ns, dates.st_mtime_ns))
    settle()
    assert not has_sha256(store, digest)
    assert not has_sha256(store, digest)
    assert len(hashed) == 3


def test_what_was_found_damaged_is_never_remembered_and_what_was_mended_is_read(store, hashed):
    digest = sha256_of(store)
    flipped(store)
    settle()
    assert [has_sha256(store, digest) for _ in range(2)] == [False, False]
    flipped(store)
    assert has_sha256(store, digest)


def test_another_hash_of_the_same_file_is_compared_anew(store, hashed):
    digest = sha256_of(store)
    settle()
    assert has_sha256(store, digest)
    assert not has_sha256(store, "0" * 64)
    assert len(hashed) == 2


def test_a_copy_in_its_place_is_hashed_anew(store, hashed, tmp_path):
    digest = sha256_of(store)
    settle()
    assert has_sha256(store, digest)
    shutil.copy2(store, tmp_path / "copy")
    (tmp_path / "copy").replace(store)
    settle()
    assert has_sha256(store, digest)
    assert len(hashed) == 2


def test_a_file_that_was_written_just_now_is_not_remembered(store, hashed, monkeypatch):
    """A second write within one step of the clock would leave its dates as they are."""
    monkeypatch.setattr(verified, "SETTLED_S", 100.0)
    assert [has_sha256(store, sha256_of(store)) for _ in range(2)] == [True, True]
    assert len(hashed) == 2


def test_notes_that_others_could_have_written_are_not_believed(store, hashed, tmp_path):
    digest = sha256_of(store)
    settle()
    assert has_sha256(store, digest)
    [notes] = (tmp_path / "host").iterdir()
    notes.chmod(0o777)
    assert has_sha256(store, digest)
    assert len(hashed) == 2


def test_a_host_that_can_keep_no_notes_hashes_each_time(store, hashed, tmp_path):
    digest = sha256_of(store)
    (tmp_path / "host").rmdir()
    settle()
    assert [has_sha256(store, digest) for _ in range(2)] == [True, True]
    assert len(hashed) == 2


def test_a_file_that_is_not_there_has_no_hash(tmp_path, hashed):
    assert not has_sha256(tmp_path / "absent", "0" * 64)
    assert hashed == []
