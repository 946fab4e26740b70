"""Addresses on the web: which ones are opened, where a host may send us on, and what of them is told."""

import http.client
import os
import re
import socket
import urllib.error
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import IO, Any
from urllib import request as web
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from diffufuse.errors import BadInput

MOST_HOPS = 5
ELSEWHERE = "a redirect that is not followed"
# Tests alone set this: plain http, and hosts on this machine, which are then opened as well as public ones by https.
LOOPBACK = "DIFFUFUSE_FETCH_LOOPBACK"
SECRET = re.compile("token|key|sig|secret|pass|auth|cred", re.IGNORECASE)
OWN_COPY = "or name a copy of your own with --config mirror=FOLDER"
# RFC 6052: an IPv4 address in the last 32 bits, for hosts that have only IPv6.
TRANSLATED = IPv6Network("64:ff9b::/96")
OF_A_REPOSITORY = re.compile(
    r"/(?:repos/)?[^/]+/[^/]+/(?:archive|zipball|tarball|(?:legacy\.)?(?:zip|tar\.gz))/(.+?)(?:\.zip|\.tar\.gz)?"
)


def opened(asked: web.Request, *, timeout: float) -> Any:
    """Open an address by https on a public host, and go where it leads as long as that is one too.

    A host's name is looked up once for each connection, and what was found is both looked at and connected to. Where a
    proxy stands in between, as HTTPS_PROXY says, it alone is connected to, and a name that only it knows is its affair.

    Args:
        asked: the request; what is secret in its headers goes to its own host alone.
        timeout: in seconds, for every answer.

    Returns:
        The answer, as `urllib.request.urlopen` gives it.

    Raises:
        BadInput: an address on the way is not by https or not public, has a password, or the way is too long.
        OSError: no answer, or one with an error.
    """
    require_web(asked.full_url)
    opener = web.OpenerDirector()
    handlers = (web.ProxyHandler, _Http, _Https, _Redirects, web.HTTPDefaultErrorHandler, web.HTTPErrorProcessor)
    for handler in handlers:
        opener.add_handler(handler())
    try:
        return opener.open(asked, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code not in (301, 302, 303, 307, 308):
            raise
        many = error.msg.startswith(web.HTTPRedirectHandler.inf_msg)
        raise _not_followed(asked.full_url, f"more than {MOST_HOPS} redirects" if many else ELSEWHERE) from None


def redacted(url: str) -> str:
    """An address without what could be a secret: user, password, query and fragment.

    Args:
        url: any address.
    """
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def require_web(url: str) -> None:
    """Stop at an address that is not by https; at a file of this machine, for one.

    Args:
        url: any address.

    Raises:
        BadInput: it has another scheme or no host.
    """
    parts = urlsplit(url)
    if (parts.scheme != "https" and not (parts.scheme == "http" and LOOPBACK in os.environ)) or not parts.hostname:
        raise BadInput(
            f"{redacted(url)}: expected an https address; correct the source's url in config/datasets.yaml, {OWN_COPY}."
        )


def require_no_secret(url: str) -> None:
    """Stop at an address with a password or a token in it, for it would stand in a file in Git.

    Args:
        url: any address.

    Raises:
        BadInput: it has a user, or a query whose name says that it is a secret; the sentence does not repeat it.
    """
    parts = urlsplit(url)
    names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    if "@" in parts.netloc or any(SECRET.search(name) for name in names):
        raise BadInput(
            f"{redacted(url)}: expected an address without a password or token, for the configuration is shared; take "
            f"it out and fetch the file by hand, {OWN_COPY}."
        )


def require_commit(url: str) -> None:
    """Stop at the archive of a branch, for that is another one tomorrow.

    Args:
        url: any address; of GitHub it is known how an archive names a branch, a tag or a commit.

    Raises:
        BadInput: it names a branch, or does not say that what it names is a tag or a commit.
    """
    parts = urlsplit(url)
    found = OF_A_REPOSITORY.fullmatch(parts.path) if f".{parts.hostname}".endswith(".github.com") else None
    pinned = found is None or re.fullmatch("[0-9a-f]{40}|refs/tags/.+", found[1])
    if "refs/heads/" in parts.path or not pinned:
        raise BadInput(
            f"{redacted(url)}: expected a commit, not a branch, which is another one tomorrow; name the commit by its "
            "40 digits in place of the branch."
        )


def _not_followed(url: str, what: str) -> BadInput:
    return BadInput(
        f"{redacted(url)}: expected the file, got {what}; check the source's url in config/datasets.yaml, {OWN_COPY}."
    )


class _Redirects(web.HTTPRedirectHandler):
    """Follows a host only to the web, never from https to http, and takes no secret along to another host."""

    max_redirections = MOST_HOPS

    def redirect_request(
        self, req: web.Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> web.Request | None:
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if "@" in after.netloc:
            raise _not_followed(req.full_url, "a redirect to one that is not without a password or token")
        if before.scheme == "https" != after.scheme:
            raise _not_followed(req.full_url, "a redirect from https to an address without it")
        if after.scheme not in ("http", "https"):
            raise _not_followed(req.full_url, ELSEWHERE)
        require_web(newurl)
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None:
            following.method = req.get_method()
            following.remove_header("Proxy-authorization")
            if (before.scheme, before.netloc) != (after.scheme, after.netloc):
                following.remove_header("Authorization")
                following.remove_header("Cookie")
        return following


class _PublicHttp(http.client.HTTPConnection):
    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._create_connection = lambda address, *rest: _connected_in_public(self, address, *rest)


class _PublicHttps(_PublicHttp, http.client.HTTPSConnection):
    pass


class _Http(web.HTTPHandler):
    def http_open(self, req: web.Request) -> http.client.HTTPResponse:
        return self.do_open(_PublicHttp, req)


class _Https(web.HTTPSHandler):
    def https_open(self, req: web.Request) -> http.client.HTTPResponse:
        return self.do_open(_PublicHttps, req)


def _connected_in_public(connection: http.client.HTTPConnection, address: tuple[str, int], *rest: Any) -> socket.socket:
    """A socket to a host that was found to be public; to a proxy as it is, if one stands in between."""
    behind = getattr(connection, "_tunnel_host", None)
    if behind is not None:
        with suppress(socket.gaierror):
            _looked_up(behind, 443)
        return socket.create_connection(address, *rest)
    failure: OSError = ConnectionError(f"{address[0]} has no address")
    for found in _looked_up(*address):
        try:
            return _connected(found, *rest)
        except OSError as error:
            failure = error
    raise failure


def _looked_up(name: str, port: int) -> Sequence[Any]:
    """All addresses of a host, as `socket.getaddrinfo` gives them, all of them public."""
    every = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    inside = sorted({str(found[4][0]) for found in every if not _may_be_opened(str(found[4][0]))})
    if inside:
        raise BadInput(
            f"{name}: expected a public host, but {name} is {inside[0]} inside a network; correct the source's url in "
            f"config/datasets.yaml, {OWN_COPY}."
        )
    return every


def _connected(found: Any, timeout: Any = None, source: Any = None) -> socket.socket:
    return socket.create_connection(found[4][:2], timeout, source)


def _may_be_opened(address: str) -> bool:
    return _is_public(address) or (LOOPBACK in os.environ and ip_address(address.partition("%")[0]).is_loopback)


def _is_public(address: str) -> bool:
    found = _carried(ip_address(address.partition("%")[0]))
    return found.is_global and not found.is_multicast


def _carried(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 one stands for, where it does."""
    if isinstance(address, IPv4Address):
        return address
    if address in TRANSLATED:
        return IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour or address
