"""Fetching: public pages only, whatever a name, a redirect or a server tries."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from llmagentos.data import web
from llmagentos.data.sources import SourceLimits, open_source
from llmagentos.data.web import WebLimits, fetch
from llmagentos.errors import SourceError

PRIVATE = WebLimits(allow_private=True, seconds=5)
BODY = (
    "<html><head><title>Refunds</title></head><body><p>" + "Money comes back within a week. " * 8 + "</p></body></html>"
)


class Handler(BaseHTTPRequestHandler):
    """Answers by path."""

    def do_GET(self) -> None:
        status, headers, body = 200, {"Content-Type": "text/html; charset=utf-8"}, BODY.encode()
        if self.path.startswith("/redirect?"):
            status, headers["Location"] = 302, self.path.partition("?")[2]
        elif self.path == "/loop":
            status, headers["Location"] = 302, "/loop"
        elif self.path == "/image":
            headers["Content-Type"] = "image/png"
        elif self.path == "/missing":
            status = 404
        elif self.path == "/gzip":
            headers["Content-Encoding"], body = "gzip", gzip.compress(body)
        elif self.path == "/bomb":
            headers["Content-Encoding"], body = "gzip", gzip.compress(bytes(50_000_000))
        elif self.path == "/latin":
            headers["Content-Type"], body = (
                "text/plain; charset=iso-8859-1",
                "Où est passée la crème brûlée du chef ?".encode("latin-1"),
            )
        elif self.path == "/slow":
            self.send_response(200)
            self.end_headers()
            for _ in range(100):
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.05)
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        return


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    found = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.handle_error = lambda *args: None  # type: ignore[method-assign]  # clients hang up on purpose here
    threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{found.server_port}"
    found.shutdown()
    found.server_close()


def test_page_is_read_when_its_network_is_allowed(server: str) -> None:
    (document,) = open_source(f"{server}/", limits=SourceLimits(web=PRIVATE))
    assert document.title == "Refunds"
    assert document.text.count("Money comes back") == 8
    assert document.origin == "outside"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "[::1]", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "224.0.0.1", "2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]",
        "[2002:7f00:1::]", "[64:ff9b::7f00:1]", "[fe80::1]", "[fd00::1]", "[::]", "255.255.255.255",
    ],
)  # fmt: skip
def test_private_address_is_refused(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "create_connection", lambda *args, **options: pytest.fail("a connection was made"))
    with pytest.raises(SourceError, match=r"public internet|not known"):
        fetch(f"http://{host}/")


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
)
def test_public_address_passes(address: str) -> None:
    web.check_address(address, "example.com")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.com/",
        "gopher://example.com",
        "https://",
        "http://user:hunter2@example.com/",
    ],
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(SourceError) as caught:
        fetch(url)
    assert "hunter2" not in str(caught.value)


def test_redirect_is_followed(server: str) -> None:
    assert fetch(f"{server}/redirect?/", PRIVATE).url == f"{server}/"


def test_redirect_to_a_file_is_refused(server: str) -> None:
    with pytest.raises(SourceError, match="only http"):
        fetch(f"{server}/redirect?file:///etc/passwd", PRIVATE)


def test_redirect_loop_ends(server: str) -> None:
    with pytest.raises(SourceError, match="redirects"):
        fetch(f"{server}/loop", PRIVATE)


def test_redirect_from_a_public_to_a_private_host_is_refused(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    port = int(server.rpartition(":")[2])
    real_lookup, real_check = socket.getaddrinfo, web.check_address

    def lookup(host: Any, *args: Any, **options: Any) -> Any:
        return real_lookup("127.0.0.1" if host == "public.example" else host, *args, **options)

    def check(address: str, host: str) -> None:
        if host != "public.example":
            real_check(address, host)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.setattr(web, "check_address", check)
    assert fetch(f"http://public.example:{port}/", WebLimits(seconds=5)).media_type == "text/html"
    with pytest.raises(SourceError, match="public internet"):
        fetch(f"http://public.example:{port}/redirect?http://127.0.0.1:{port}/", WebLimits(seconds=5))


def test_name_that_changes_its_address_is_connected_to_the_checked_one(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["93.184.216.34", "127.0.0.1", "127.0.0.1"])
    connected: list[str] = []

    def lookup(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    def connect(address: tuple[str, int], *args: Any, **options: Any) -> Any:
        connected.append(address[0])
        raise OSError("unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(SourceError, match="could not be read"):
        fetch("http://rebind.example/")
    assert connected == ["93.184.216.34"]


def test_name_with_one_private_address_among_public_ones_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = lambda ip: (socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 80))  # noqa: E731
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: [entry("93.184.216.34"), entry("10.0.0.1")])
    with pytest.raises(SourceError, match=r"10\.0\.0\.1"):
        fetch("http://two.example/")


@pytest.mark.parametrize(("path", "reason"), [("/image", "image/png"), ("/missing", "404")])
def test_answer_that_is_no_text_is_refused(server: str, path: str, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        fetch(server + path, PRIVATE)


def test_compressed_page_is_read(server: str) -> None:
    assert fetch(f"{server}/gzip", PRIVATE).data == BODY.encode()


@pytest.mark.parametrize("path", ["/", "/bomb"])
def test_page_over_the_limit_is_refused(server: str, path: str) -> None:
    with pytest.raises(SourceError, match="larger than 100 bytes"):
        fetch(server + path, WebLimits(bytes=100, allow_private=True))


def test_dripping_server_is_cut_off(server: str) -> None:
    started = time.monotonic()
    with pytest.raises(SourceError, match="longer than"):
        fetch(f"{server}/slow", WebLimits(seconds=0.3, allow_private=True))
    assert time.monotonic() - started < 3


def test_encoding_that_the_server_declares_is_used(server: str) -> None:
    (document,) = open_source(f"{server}/latin", limits=SourceLimits(web=PRIVATE))
    assert document.text == "Où est passée la crème brûlée du chef ?"


def test_proxies_of_the_environment_do_not_bypass_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with pytest.raises(SourceError, match="public internet"):
        fetch("http://127.0.0.1/")
