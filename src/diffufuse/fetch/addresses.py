"""Web addresses: open public ones over https, check redirects, and remove secrets from messages."""

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
from urllib.parse import SplitResult, parse_qsl, urlsplit, urlunsplit

from diffufuse.errors import BadInput

MOST_HOPS = 5
ELSEWHERE = "a redirect that is not followed"
# Set only by tests: also allows plain http and hosts on this machine.
LOOPBACK = "DIFFUFUSE_FETCH_LOOPBACK"
SECRET = re.compile("token|key|sig|secret|pass|auth|cred", re.IGNORECASE)
OWN_COPY = "or name a copy of your own with --config mirror=FOLDER"
# RFC 6052: IPv6 addresses with an IPv4 address in their last 32 bits.
TRANSLATED = IPv6Network("64:ff9b::/96")
OF_A_REPOSITORY = re.compile(
    r"/(?:repos/)?[^/]+/[^/]+/(?:archive|zipball|tarball|(?:legacy\.)?(?:zip|tar\.gz))/(.+?)(?:\.zip|\.tar\.gz)?"
)


def opened(asked: web.Request, *, timeout: float) -> Any:
    """Open an https address on a public host, following redirects to other such addresses.

    A host's name is resolved once per connection; the addresses that are checked are those connected to. With a proxy
    (HTTPS_PROXY), only the proxy is connected to, and host names that it alone can resolve are not checked.

    Args:
        asked: the request; its credentials are sent to its own host only.
        timeout: in seconds, per response.

    Returns:
        The response, as from `urllib.request.urlopen`.

    Raises:
        BadInput: an address or redirect is not https, not public or has a password, or there are too many redirects.
        OSError: the connection fails, or the response is an error.
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
    except BadInput:
        raise
    except ValueError:
        raise _not_followed(asked.full_url, "a redirect to what is no address, or an address of odd letters") from None


def _parts(url: str) -> SplitResult:
    """The parts of an address; of one that cannot be read nothing is shown, as a secret may be in it."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - read only when it is asked for
    except ValueError:
        raise BadInput(
            f"The source's url: expected an https address, got one that cannot be read; correct it in "
            f"config/datasets.yaml, {OWN_COPY}."
        ) from None
    return parts


def redacted(url: str) -> str:
    """An address without the parts that may be secret: user, password, query and fragment.

    Args:
        url: any address.
    """
    parts = _parts(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def require_web(url: str) -> None:
    """Refuse an address that is not https, such as a local file.

    Args:
        url: any address.

    Raises:
        BadInput: it has another scheme or no host.
    """
    parts = _parts(url)
    if (parts.scheme != "https" and not (parts.scheme == "http" and LOOPBACK in os.environ)) or not parts.hostname:
        raise BadInput(
            f"{redacted(url)}: expected an https address; correct the source's url in config/datasets.yaml, {OWN_COPY}."
        )


def require_no_secret(url: str) -> None:
    """Refuse an address that contains a password or token, as the configuration is kept in Git.

    Args:
        url: any address.

    Raises:
        BadInput: it has a user, or a query parameter named like a secret; the message omits the secret.
    """
    parts = _parts(url)
    names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    if "@" in parts.netloc or any(SECRET.search(name) for name in names):
        raise BadInput(
            f"{redacted(url)}: expected an address without a password or token, for the configuration is shared; take "
            f"it out and fetch the file by hand, {OWN_COPY}."
        )


def require_commit(url: str) -> None:
    """Refuse the archive of a branch, as its content changes.

    Args:
        url: any address; branches are recognized in addresses of GitHub archives.

    Raises:
        BadInput: it names a branch, or a revision that is not marked as a tag or a full commit hash.
    """
    parts = _parts(url)
    match = OF_A_REPOSITORY.fullmatch(parts.path) if f".{parts.hostname}".endswith(".github.com") else None
    pinned = match is None or re.fullmatch("[0-9a-f]{40}|refs/tags/.+", match[1])
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
    """Follows redirects to web addresses, never from https to http; drops credentials when the host changes."""

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
    """A socket to a host after checking that it is public; proxies are not checked."""
    tunnel_host = getattr(connection, "_tunnel_host", None)
    if tunnel_host is not None:
        with suppress(socket.gaierror):
            _resolved(tunnel_host, 443)
        return socket.create_connection(address, *rest)
    failure: OSError = ConnectionError(f"{address[0]} has no address")
    for entry in _resolved(*address):
        try:
            return _connected(entry, *rest)
        except OSError as error:
            failure = error
    raise failure


def _resolved(name: str, port: int) -> Sequence[Any]:
    """All addresses of a host, from `socket.getaddrinfo`; raises BadInput unless all are public."""
    entries = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    private = sorted({str(entry[4][0]) for entry in entries if not _may_be_opened(str(entry[4][0]))})
    if private:
        raise BadInput(
            f"{name}: expected a public host, but {name} is {private[0]} inside a network; correct the source's url in "
            f"config/datasets.yaml, {OWN_COPY}."
        )
    return entries


def _connected(entry: Any, timeout: Any = None, source: Any = None) -> socket.socket:
    return socket.create_connection(entry[4][:2], timeout, source)


def _may_be_opened(address: str) -> bool:
    return _is_public(address) or (LOOPBACK in os.environ and ip_address(address.partition("%")[0]).is_loopback)


def _is_public(address: str) -> bool:
    ip = _embedded_ipv4(ip_address(address.partition("%")[0]))
    return ip.is_global and not ip.is_multicast


def _embedded_ipv4(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address embedded in an IPv6 address, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in TRANSLATED:
        return IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour or address
