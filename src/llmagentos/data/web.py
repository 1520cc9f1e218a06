"""Fetches one web page, and only from the public web.

In: an http or https URL. Out: the bytes, their media type and encoding, the address after redirects.
Every address is resolved here, checked and then connected to by number, so that a name cannot change its meaning
between the check and the connection; each redirect is checked again. It does not know documents or cleaning.
"""

from __future__ import annotations

import ipaddress
import socket
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

import httpcore

from llmagentos.errors import SourceError

MAX_REDIRECTS = 5
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
USER_AGENT = "llmagentos/0.1 (+one page on request)"


@dataclass(frozen=True, slots=True)
class WebLimits:
    """What fetching one page may take."""

    bytes: int = 10_000_000
    """Size after decompression."""
    connect_seconds: float = 10.0
    seconds: float = 60.0
    """For the page in all, redirects included: a server that drips bytes is cut off."""
    allow_private: bool = False
    """True lets addresses of this machine and its network through, for a wiki on your own network."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a server answered."""

    url: str
    """Where the page was in the end."""
    data: bytes
    media_type: str
    charset: str
    """Encoding that the server declared, or empty."""


def check_url(url: str) -> SplitResult:
    """The parts of `url`, or `SourceError` for one that is not a plain http or https address."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as problem:
        raise SourceError(f"{url!r} is not a web address: {problem}") from problem
    if parts.scheme not in {"http", "https"}:
        raise SourceError(f"{url!r}: only http and https addresses are read, not {parts.scheme or 'none'!r}")
    if not host:
        raise SourceError(f"{url!r} names no host")
    if parts.username or parts.password:
        raise SourceError(f"An address of {host} carries a user name or password; put secrets into no address")
    return parts


def check_address(address: str, host: str) -> None:
    """Raise `SourceError` unless `address` belongs to the public internet."""
    ip = ipaddress.ip_address(address.split("%")[0])
    meant: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = [ip]
    if isinstance(ip, ipaddress.IPv6Address):  # an IPv4 address can hide in three kinds of IPv6 address
        nat64 = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None
        meant = [hidden for hidden in (ip.ipv4_mapped, ip.sixtofour, nat64) if hidden is not None] or [ip]
    if any(not one.is_global or one.is_multicast for one in meant):
        raise SourceError(
            f"{host} leads to {address}, which is not on the public internet; "
            "allow it with --allow-private (allow_private=True) if you mean your own network"
        )


class GuardedBackend(httpcore.SyncBackend):
    """Connects only to addresses that `check_address` lets through."""

    def __init__(self, allow_private: bool = False) -> None:
        self._allow_private = allow_private

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Resolve `host`, check every address it has, and connect to the first that answers."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as problem:
            raise SourceError(f"{host} is not known to the name service: {problem}") from problem
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not self._allow_private:
            for address in addresses:
                check_address(address, host)
        failure: Exception | None = None
        for address in addresses:
            try:
                return super().connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as problem:
                failure = problem
        raise failure or SourceError(f"{host} has no address")

    def connect_unix_socket(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        """Never: a web address does not lead to a socket of this machine."""
        raise SourceError("A web address leads to no local socket")


def fetch(url: str, limits: WebLimits | None = None) -> Page:
    """Read one page, following redirects to checked addresses; raises `SourceError` with the address and the reason."""
    limits = limits or WebLimits()
    deadline = time.monotonic() + limits.seconds
    with httpcore.ConnectionPool(network_backend=GuardedBackend(limits.allow_private)) as pool:
        for _ in range(MAX_REDIRECTS + 1):
            parts = check_url(url)
            target = urlunsplit(parts._replace(fragment=""))
            try:
                answer = _get(pool, target, limits, deadline)
            except SourceError as problem:
                raise SourceError(f"{target}: {problem}") from problem
            except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, zlib.error) as problem:
                said = str(problem) or type(problem).__name__
                raise SourceError(
                    f"{target} could not be read: {said}. Check the address and the network."
                ) from problem
            if isinstance(answer, Page):
                return answer
            url = urljoin(target, answer)
    raise SourceError(f"{url} is more than {MAX_REDIRECTS} redirects away")


def _get(pool: httpcore.ConnectionPool, url: str, limits: WebLimits, deadline: float) -> Page | str:
    """The page at `url`, or the location that it redirects to."""
    left = max(0.1, deadline - time.monotonic())
    waits = {"connect": min(left, limits.connect_seconds), "read": min(left, 30.0), "write": left, "pool": left}
    headers: dict[bytes | str, bytes | str] = {
        "User-Agent": USER_AGENT,
        "Accept": "text/html, text/plain;q=0.9, text/*;q=0.8",
        "Accept-Encoding": "gzip",
    }
    with pool.stream("GET", _ascii(url), headers=headers, extensions={"timeout": waits}) as response:
        said = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        if response.status in {301, 302, 303, 307, 308} and said.get("location"):
            return said["location"]
        if response.status != 200:
            raise SourceError(f"the server answered {response.status}")
        about = Message()
        about["content-type"] = said.get("content-type", "text/html")
        media_type = about.get_content_type()
        if not (media_type.startswith("text/") or media_type in {"application/xhtml+xml", "application/json"}):
            raise SourceError(f"is {media_type}, not text")
        stream = _read(response.iter_stream(), said.get("content-encoding", "").strip().lower(), limits, deadline)
        return Page(url, stream, media_type, about.get_content_charset() or "")


def _read(chunks: Iterator[bytes], encoding: str, limits: WebLimits, deadline: float) -> bytes:
    """All bytes, decompressed piece by piece so that a small answer cannot unfold beyond the limit."""
    if encoding not in {"", "identity", "gzip", "x-gzip"}:
        raise SourceError(f"is compressed as {encoding!r}, which was not asked for")
    unpack = zlib.decompressobj(wbits=31) if "gzip" in encoding else None
    data = bytearray()
    for chunk in chunks:
        data += unpack.decompress(chunk, limits.bytes + 1 - len(data)) if unpack else chunk
        if len(data) > limits.bytes or (unpack and unpack.unconsumed_tail):
            raise SourceError(f"is larger than {limits.bytes:,} bytes")
        if time.monotonic() > deadline:
            raise SourceError(f"took longer than {limits.seconds:g} seconds")
    return bytes(data)


def _ascii(url: str) -> str:
    """`url` with its host in IDNA and everything else percent-encoded, as a request line needs it."""
    from urllib.parse import quote

    parts = urlsplit(url)
    host = (parts.hostname or "").encode("idna").decode("ascii")
    host = f"[{host}]" if ":" in host else host
    place = host if parts.port is None else f"{host}:{parts.port}"
    safe = "/%:=&?~+!$,;'@()*[]"
    return urlunsplit((parts.scheme, place, quote(parts.path or "/", safe), quote(parts.query, safe), ""))
