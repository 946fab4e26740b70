"""Which addresses are opened, and where a host may send us on."""

import subprocess
from urllib.request import Request

import pytest
from hosts import Page, host

from diffufuse.errors import BadInput
from diffufuse.fetch import addresses
from diffufuse.fetch import http as fetching_http
from diffufuse.fetch.addresses import opened, redacted, require_commit, require_no_secret, require_web
from diffufuse.fetch.http import content_length, download


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(fetching_http, "WAIT_S", 0.0)


@pytest.fixture
def server():
    with host() as running:
        running.pages["/a"] = Page(b"content")
        yield running


def fetch(url, tmp_path):
    download(url, tmp_path / "a")
    return (tmp_path / "a").read_bytes()


@pytest.mark.parametrize(
    "url", ["file://{}/secret", "ftp://127.0.0.1/a", "data:text/plain,secret", "/etc/passwd", "https:///a", "https:a"]
)
def test_what_is_no_https_address_is_refused(tmp_path, url):
    (tmp_path / "secret").write_text("secret")
    with pytest.raises(BadInput, match="expected an https address"):
        fetch(url.format(tmp_path), tmp_path)
    assert not (tmp_path / "a").exists()
    assert content_length(url.format(tmp_path)) is None


def test_plain_http_and_this_machine_are_for_tests_alone(server, tmp_path, monkeypatch):
    assert fetch(f"{server.url}/a", tmp_path) == b"content"
    (tmp_path / "a").unlink()
    monkeypatch.delenv(addresses.LOOPBACK)
    asked = len(server.asked)
    with pytest.raises(BadInput, match=r"http://127\.0\.0\.1:\d+/a: expected an https address"):
        fetch(f"{server.url}/a", tmp_path)
    with pytest.raises(BadInput, match=r"expected a public host, but 127\.0\.0\.1 is 127\.0\.0\.1"):
        fetch(f"{server.url}/a".replace("http:", "https:"), tmp_path)
    assert len(server.asked) == asked


INTERNAL = [
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "2130706434",
    "0x0a000001",
    "[::1]",
    "[::]",
    "[fe80::1]",
    "[fd00::1]",
    "[::ffff:10.0.0.1]",
    "[64:ff9b::10.0.0.1]",
    "[2002:a00:1::]",
    "localhost",
]


@pytest.mark.parametrize("inside", INTERNAL)
def test_an_internal_address_is_not_asked(tmp_path, monkeypatch, inside):
    monkeypatch.delenv(addresses.LOOPBACK)
    with pytest.raises(BadInput, match="expected a public host, but"):
        fetch(f"https://{inside}/a", tmp_path)


@pytest.mark.parametrize("inside", ["10.1.2.3", "169.254.169.254", "[fd00::1]"])
def test_a_redirect_to_an_internal_address_is_not_followed(server, tmp_path, inside):
    server.pages["/go"] = Page(status=302, location=f"http://{inside}/latest/meta-data?token=s3cr3t")
    with pytest.raises(BadInput, match="expected a public host, but") as refusal:
        fetch(f"{server.url}/go", tmp_path)
    assert "s3cr3t" not in str(refusal.value)
    assert not list(tmp_path.iterdir())


def test_a_name_that_leads_inside_is_not_asked_even_if_it_led_elsewhere_before(tmp_path, monkeypatch):
    """The address that was looked at is the one that is connected to; nothing is looked up twice."""
    asked = []

    def look_up(name, port, *arguments, **more):
        asked.append(name)
        inside = len(asked) > 1
        return [(2, 1, 6, "", ("10.0.0.1" if inside else "203.0.113.9", port))]

    connected = []
    monkeypatch.setattr(addresses.socket, "getaddrinfo", look_up)
    monkeypatch.setattr(addresses, "_is_public", lambda address: address == "203.0.113.9")
    monkeypatch.setattr(addresses, "_connected", lambda found, *more: connected.append(found) or _refuse())
    with pytest.raises(BadInput, match=r"public host, but rebound\.example is 10\.0\.0\.1"):
        fetch("https://rebound.example/a", tmp_path)
    assert [found[4][0] for found in connected] == ["203.0.113.9"]


def _refuse():
    raise ConnectionRefusedError("refused")


def test_a_proxy_may_be_inside_and_knows_names_that_we_do_not_but_leads_nowhere_inside(server, tmp_path, monkeypatch):
    monkeypatch.delenv(addresses.LOOPBACK)
    monkeypatch.setenv("https_proxy", server.url)
    with pytest.raises(BadInput, match="expected a public host, but"):
        fetch("https://10.1.2.3/a", tmp_path)
    with pytest.raises(BadInput, match="Tunnel connection failed: 501"):  # the proxy was asked, and is none
        fetch("https://known-to-the-proxy.invalid/a", tmp_path)


@pytest.fixture
def secure(tmp_path_factory, monkeypatch):
    """A host on this machine with a certificate that is trusted here."""
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs openssl for a certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "cert.pem"))
    with host(certificate=folder / "cert.pem", key=folder / "key.pem") as running:
        running.pages["/a"] = Page(b"content")
        yield running


def test_https_is_fetched_and_leads_on_to_https(secure, tmp_path):
    secure.pages["/go"] = Page(status=302, location="/a")
    assert fetch(f"{secure.url}/go", tmp_path) == b"content"


def test_a_certificate_that_nobody_signed_is_refused(secure, tmp_path, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(BadInput, match="certificate"):
        fetch(f"{secure.url}/a", tmp_path)


def test_a_redirect_from_https_to_http_is_not_followed(secure, server, tmp_path):
    secure.pages["/go"] = Page(status=302, location=f"{server.url}/a?token=s3cr3t")
    with pytest.raises(BadInput, match="from https to an address without it") as refusal:
        fetch(f"{secure.url}/go", tmp_path)
    assert server.asked == []
    assert "s3cr3t" not in str(refusal.value)


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/a", "gopher://127.0.0.1/a"])
def test_a_redirect_to_something_else_than_the_web_is_not_followed(server, tmp_path, location):
    server.pages["/go"] = Page(status=302, location=location)
    with pytest.raises(BadInput, match="expected the file, got a redirect that is not followed"):
        fetch(f"{server.url}/go", tmp_path)


def test_a_redirect_to_what_is_no_address_is_not_followed(server, tmp_path):
    server.pages["/go"] = Page(status=302, location="http://[::1/s3cr3t")
    with pytest.raises(BadInput, match="got a redirect to what is no address") as refusal:
        fetch(f"{server.url}/go", tmp_path)
    assert "s3cr3t" not in str(refusal.value)


@pytest.mark.parametrize("url", ["https://[::1/s3cr3t", "https://a:s3cr3t/b"])
def test_what_is_no_address_is_refused_and_not_repeated(url):
    for ask in (require_web, redacted, require_no_secret, require_commit):
        with pytest.raises(BadInput, match="expected an https address, got one that cannot be read") as refusal:
            ask(url)
        assert "s3cr3t" not in str(refusal.value)


def test_a_redirect_with_a_password_is_not_followed_and_not_repeated(server, tmp_path):
    server.pages["/go"] = Page(status=302, location=server.url.replace("http://", "http://me:s3cr3t@") + "/a")
    with pytest.raises(BadInput, match="without a password or token") as refusal:
        fetch(f"{server.url}/go", tmp_path)
    assert "s3cr3t" not in str(refusal.value)


def test_a_few_hops_are_followed_and_not_more(server, tmp_path):
    for hop in range(7):
        server.pages[f"/{hop}"] = Page(status=302, location=f"/{hop + 1}" if hop < 6 else "/a")
    assert fetch(f"{server.url}/2", tmp_path) == b"content"
    (tmp_path / "a").unlink()
    with pytest.raises(BadInput, match="expected the file, got more than 5 redirects"):
        fetch(f"{server.url}/1", tmp_path)


def test_hosts_that_send_us_in_circles_are_left(server, tmp_path):
    server.pages["/go"] = Page(status=302, location="/go")
    with pytest.raises(BadInput, match="redirects"):
        fetch(f"{server.url}/go", tmp_path)


def test_credentials_go_to_their_own_host_alone(server):
    with host() as other:
        other.pages["/a"] = Page(b"content")
        server.pages["/away"] = Page(status=302, location=f"{other.url}/a")
        server.pages["/here"] = Page(status=302, location=f"{server.url}/a")
        secrets = {"Authorization": "Bearer s3cr3t", "Cookie": "s3cr3t", "Range": "bytes=0-"}
        for path in ("/away", "/here"):
            with opened(Request(f"{server.url}{path}", headers=secrets), timeout=10) as answer:
                answer.read()
        assert [headers.get("Authorization") for headers in other.headers] == [None]
        assert [headers.get("Cookie") for headers in other.headers] == [None]
        assert other.headers[0].get("Range") == "bytes=0-"
        assert all(headers.get("Authorization") for headers in server.headers)


def test_a_length_is_asked_for_without_the_file_across_a_redirect(server):
    server.pages["/go"] = Page(status=302, location="/a")
    assert content_length(f"{server.url}/go") == len(b"content")
    assert server.asked == []


COMMIT = "6da96021bc91faf4c0cb7fd7fa56a4225d2064a8"


@pytest.mark.parametrize(
    "path",
    ["o/r/archive/refs/heads/main.zip", "o/r/archive/master.zip", "o/r/archive/main.tar.gz", "o/r/zipball/main"],
)
def test_a_branch_is_refused_for_it_moves(path):
    with pytest.raises(BadInput, match="expected a commit, not a branch"):
        require_commit(f"https://github.com/{path}")


@pytest.mark.parametrize(
    "url",
    [
        f"https://github.com/o/r/archive/{COMMIT}.zip",
        f"https://github.com/o/r/archive/{COMMIT}.tar.gz",
        "https://github.com/o/r/archive/refs/tags/v1.0.zip",
        "https://github.com/o/r/releases/download/v1/archive.zip",
        "https://zenodo.org/archive/main.zip",
    ],
)
def test_a_commit_a_tag_and_a_release_are_taken(url):
    require_commit(url)


def test_a_branch_of_any_host_is_refused(tmp_path):
    with pytest.raises(BadInput, match="expected a commit, not a branch"):
        require_commit("https://codeload.github.com/o/r/zip/refs/heads/main")
