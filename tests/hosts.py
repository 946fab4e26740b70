"""A real HTTP server on loopback that serves ranges and misbehaves on demand.

Fetching opens https and public hosts alone; here it is told that this machine will do, for all tests that import this.
"""

import os
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

os.environ["DIFFUFUSE_FETCH_LOOPBACK"] = "yes"


@dataclass
class Page:
    """What one address answers.

    Attributes:
        body: the whole content.
        status: of the answer; a range answers 206.
        tag: ETag; none if empty.
        ranges: whether ranges are served.
        kind: Content-Type.
        length: told instead of the true one; `chunked` tells none.
        breaks: bytes after which each next request is cut off, in order.
        refusals: status of each next request, before any normal answer.
        location: where a redirect leads.
        shift: by how much a range begins elsewhere than was asked for.
    """

    body: bytes = b""
    status: int = 200
    tag: str = '"v1"'
    ranges: bool = True
    kind: str = "application/octet-stream"
    length: int | str | None = None
    breaks: list[int] = field(default_factory=list)
    refusals: list[int] = field(default_factory=list)
    location: str = ""
    shift: int = 0


class Host(ThreadingHTTPServer):
    """Answers with `pages`; notes what was asked, of GET with which range and of all with which headers."""

    daemon_threads = True

    def __init__(self, certificate: Path | None = None, key: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            self.socket, self.scheme = context.wrap_socket(self.socket, server_side=True), "https"
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.headers: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}"


@contextmanager
def host(certificate: Path | None = None, key: Path | None = None) -> Iterator[Host]:
    """A running server, with TLS if it has a certificate."""
    running = Host(certificate, key)
    threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield running
    finally:
        running.shutdown()
        running.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_HEAD(self):
        page = self.server.pages[self.path.partition("?")[0]]
        self.server.headers.append(dict(self.headers))
        self.send_response(page.status)
        if page.location:
            self.send_header("Location", page.location)
        self.send_header("Content-Length", str(page.length or len(page.body)))
        self.end_headers()

    def do_GET(self):
        page = self.server.pages.get(self.path.partition("?")[0], Page(b"no such page", status=404))
        asked = self.headers.get("Range")
        self.server.asked.append((self.path, asked))
        self.server.headers.append(dict(self.headers))
        if page.refusals:
            self.send_error(page.refusals.pop(0))
            return
        begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked and page.ranges else 0
        if begin and self.headers.get("If-Range") not in (None, page.tag):
            begin = 0
        if begin >= len(page.body) > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(page.body)}")
            self.end_headers()
            return
        self._answer(page, begin)

    def _answer(self, page, begin):
        begin += page.shift if begin else 0
        body = page.body[begin:]
        self.send_response(206 if begin else page.status)
        self.send_header("Content-Type", page.kind)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(page.body) - 1}/{len(page.body)}")
        if page.tag:
            self.send_header("ETag", page.tag)
        if page.location:
            self.send_header("Location", page.location)
        if page.length != "chunked":
            self.send_header("Content-Length", str(len(body) if page.length is None else page.length))
        self.end_headers()
        self.wfile.write(body[: page.breaks.pop(0)] if page.breaks else body)

    def log_message(self, *arguments):
        pass
