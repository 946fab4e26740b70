"""One file from a real HTTP server on loopback that breaks off, lies and changes its mind."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from hosts import Page, host

from diffufuse.errors import BadInput
from diffufuse.fetch import http as fetching_http
from diffufuse.fetch.addresses import redacted
from diffufuse.fetch.http import download

BODY = b"<" + random.Random(1).randbytes(299_999)  # an archive may begin with any byte


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(fetching_http, "WAIT_S", 0.0)
    monkeypatch.setattr(fetching_http, "CHUNK_BYTES", 1 << 14)


@pytest.fixture
def server():
    with host() as running:
        yield running


def fetch(server, tmp_path, page=None, **more):
    server.pages.setdefault("/a", page)
    download(f"{server.url}/a", tmp_path / "a", **more)
    return (tmp_path / "a").read_bytes()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_dropped_connection_goes_on_where_it_broke_off(server, tmp_path):
    assert fetch(server, tmp_path, Page(BODY, breaks=[100_000, 50_000])) == BODY
    assert [asked for _, asked in server.asked] == [None, "bytes=100000-", "bytes=150000-"]
    assert names(tmp_path) == ["a"]


def test_a_later_call_goes_on_from_what_an_earlier_one_left(server, tmp_path):
    server.pages["/a"] = Page(BODY, breaks=[200_000, *[0] * 5])
    with pytest.raises(BadInput, match=r"failed 5 times without progress .* goes on from 200000 bytes"):
        fetch(server, tmp_path)
    assert names(tmp_path) == ["a.part", "a.part.version"]
    assert fetch(server, tmp_path) == BODY
    assert server.asked[-1][1] == "bytes=200000-"


def test_a_killed_download_goes_on_in_the_next_process(server, tmp_path):
    server.pages["/a"] = Page(BODY, length=len(BODY) + 1)
    code = (
        "from pathlib import Path; from diffufuse.fetch import http; http.WAIT_S = 60; "
        f"http.download({server.url + '/a'!r}, Path({str(tmp_path / 'a')!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if (tmp_path / "a.part").exists() and (tmp_path / "a.part").stat().st_size == len(BODY):
            break
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    os.truncate(tmp_path / "a.part", 123_456)
    server.pages["/a"] = Page(BODY)
    assert fetch(server, tmp_path) == BODY
    assert server.asked[-1][1] == "bytes=123456-"


def test_parts_of_two_versions_of_a_file_are_never_joined(server, tmp_path):
    newer = random.Random(2).randbytes(300_000)
    server.pages["/a"] = Page(BODY, breaks=[200_000, *[0] * 5])
    with pytest.raises(BadInput):
        fetch(server, tmp_path)
    server.pages["/a"] = Page(newer, tag='"v2"')
    assert fetch(server, tmp_path) == newer


@pytest.mark.parametrize("tag", ["", 'W/"weak"'])
def test_without_a_strong_version_a_download_begins_anew(server, tmp_path, tag):
    assert fetch(server, tmp_path, Page(BODY, tag=tag, breaks=[100_000])) == BODY
    assert [asked for _, asked in server.asked] == [None, None]


def test_a_host_without_ranges_is_asked_for_the_whole_again(server, tmp_path):
    assert fetch(server, tmp_path, Page(BODY, ranges=False, breaks=[100_000])) == BODY


def test_a_host_that_sends_another_range_is_asked_for_the_whole_again(server, tmp_path):
    assert fetch(server, tmp_path, Page(BODY, shift=7, breaks=[100_000])) == BODY
    assert [asked for _, asked in server.asked] == [None, "bytes=100000-", None]


def test_a_download_that_was_whole_but_not_yet_named_is_taken(server, tmp_path):
    (tmp_path / "a.part").write_bytes(BODY)
    (tmp_path / "a.part.version").write_text('"v1"')
    assert fetch(server, tmp_path, Page(BODY)) == BODY
    assert len(server.asked) == 1


def test_a_part_that_is_longer_than_the_file_is_thrown_away(server, tmp_path):
    (tmp_path / "a.part").write_bytes(BODY + b"more")
    (tmp_path / "a.part.version").write_text('"v1"')
    assert fetch(server, tmp_path, Page(BODY)) == BODY


def test_a_busy_host_is_asked_again(server, tmp_path):
    assert fetch(server, tmp_path, Page(BODY, refusals=[503, 429, 500])) == BODY


def test_a_body_of_untold_length_is_taken_to_its_end(server, tmp_path):
    assert fetch(server, tmp_path, Page(BODY, length="chunked")) == BODY


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_told_at_once(server, tmp_path, status):
    with pytest.raises(BadInput, match=f"expected the file, got HTTP {status}"):
        fetch(server, tmp_path, Page(b"no", status=status))
    assert len(server.asked) == 1
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "page", [Page(b"Log in first", kind="text/html"), Page(b" \n<!doctype html><html>"), Page(b"<?xml version='1.0'?>")]
)
def test_a_web_page_is_no_archive(server, tmp_path, page):
    with pytest.raises(BadInput, match="expected an archive, got a web page"):
        fetch(server, tmp_path, page)
    assert names(tmp_path) == []


def test_a_web_page_in_place_of_the_rest_does_not_harm_what_has_come(server, tmp_path):
    server.pages["/a"] = Page(BODY, breaks=[200_000, *[0] * 5])
    with pytest.raises(BadInput):
        fetch(server, tmp_path)
    server.pages["/a"] = Page(b"<html>please log in</html>", ranges=False)
    with pytest.raises(BadInput, match="web page"):
        fetch(server, tmp_path)
    server.pages["/a"] = Page(BODY)
    assert fetch(server, tmp_path) == BODY
    assert server.asked[-1][1] == "bytes=200000-"


def test_a_short_body_is_told_with_what_was_expected(server, tmp_path):
    with pytest.raises(BadInput, match=r"expected 300010 bytes, got 300000"):
        fetch(server, tmp_path, Page(BODY, length=300_010, ranges=False))
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("name", ["sha256", "md5"])
def test_a_published_hash_is_checked_and_a_wrong_download_discarded(server, tmp_path, name):
    right = hashlib.new(name, BODY).hexdigest()
    assert fetch(server, tmp_path, Page(BODY), published={name: right.upper()}) == BODY
    (tmp_path / "a").unlink()
    with pytest.raises(BadInput, match=rf"expected the {name} 00ff as published, got {right}"):
        fetch(server, tmp_path, published={name: "00ff"})
    assert names(tmp_path) == []


def test_a_published_length_is_checked(server, tmp_path):
    with pytest.raises(BadInput, match="expected 5 bytes as published, got 300000"):
        fetch(server, tmp_path, Page(BODY), length=5)
    assert names(tmp_path) == []


def test_a_host_that_does_not_answer_is_told_with_what_to_do(tmp_path):
    with pytest.raises(BadInput, match=r"the download failed 5 times .*refused.* mirror=FOLDER"):
        download("http://127.0.0.1:9/a.zip", tmp_path / "a")


def test_a_file_for_which_there_is_no_room_is_refused_before_it_is_fetched(server, tmp_path):
    with pytest.raises(BadInput, match=r"expected .*TB of free disk .*, got"):
        fetch(server, tmp_path, Page(b"", length=10**15))
    assert names(tmp_path) == []


def test_an_address_is_told_without_its_secrets():
    assert redacted("https://me:pw@host.org:8/a/b.zip?token=x#y") == "https://host.org:8/a/b.zip"


def test_progress_tells_bytes_rate_and_what_is_left(server, tmp_path, caplog):
    caplog.set_level("INFO", logger="diffufuse.progress")
    fetch(server, tmp_path, Page(BODY))
    assert any("300 kB of 300 kB" in line and "B/s" in line for line in caplog.messages)
