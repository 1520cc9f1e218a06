"""One server's address: requests out, JSON or a stream of events back.

In: a path and a body. Out: decoded objects, or `ServerFault`s. The key goes into the header of each request and
nowhere else. It does not know what the objects mean, and does not try again.
"""

from __future__ import annotations

import ssl
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpcore
import msgspec

from llmagentos.errors import ConfigError
from llmagentos.models.remote.faults import ServerFault, fault_of
from llmagentos.records.identity import JSON

MOST_BYTES = 2**24
"""Most bytes of one answer; a server that sends more is not answering."""


@dataclass(frozen=True, slots=True)
class Patiences:
    """How long to wait, in seconds."""

    connect: float = 10.0
    silence: float = 120.0
    """Between two pieces of an answer; a long prompt takes its time before the first."""


class Wire:
    """Connections to one server; thread-safe."""

    def __init__(self, url: str, key: str = "", *, connections: int = 8, patience: Patiences | None = None) -> None:
        """`url` is the address that ends in `/v1`. Raises `ConfigError` for one that is none."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{url!r} is not the address of a server. Write it like http://localhost:8000/v1.")
        self.url = url.rstrip("/")
        self._key = key
        self._pool = httpcore.ConnectionPool(max_connections=connections, ssl_context=ssl.create_default_context())
        patience = patience or Patiences()
        self._timeout = {
            "connect": patience.connect,
            "read": patience.silence,
            "write": patience.silence,
            "pool": None,  # a request waits for its turn as long as it takes
        }

    def get(self, path: str) -> JSON:
        """The object at a path."""
        with self._opened("GET", path, None) as response:
            return _json(_body(response))

    def post(self, path: str, body: JSON) -> JSON:
        """The answer to a request, whole. A text where it is no JSON (vLLM answers some commands so)."""
        with self._opened("POST", path, body) as response:
            return _loose(_body(response))

    def events(self, path: str, body: JSON) -> Generator[JSON, None, None]:
        """The objects of an event stream as they come; leaving the loop ends the request at the server.

        A server that answers with one object instead of a stream gives just that.
        """
        with self._opened("POST", path, body) as response:
            if not _header(response, "content-type").startswith("text/event-stream"):
                yield _json(_body(response))
                return
            for line in _lines(response):
                if not line.startswith(b"data:"):
                    continue  # comments that keep the connection alive, names of events
                data = line[5:].strip()
                if data == b"[DONE]":
                    return
                found = _json(data)
                if isinstance(found, dict) and found.get("error"):
                    status = found["error"].get("code") if isinstance(found["error"], dict) else 0
                    raise fault_of(status if isinstance(status, int) else 500, found, {})
                yield found

    def close(self) -> None:
        """End all connections."""
        self._pool.close()

    @contextmanager
    def _opened(self, method: str, path: str, body: JSON) -> Iterator[httpcore.Response]:
        headers: dict[bytes | str, bytes | str] = {"Accept": "text/event-stream, application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        content = None
        if body is not None:
            content, headers["Content-Type"] = msgspec.json.encode(body), "application/json"
        try:
            with self._pool.stream(
                method, self.url + path, headers=headers, content=content, extensions={"timeout": self._timeout}
            ) as response:
                if response.status != 200:
                    said = _body(response)
                    if self._key:  # some servers repeat it
                        said = said.replace(self._key.encode(), b"***")
                    raise fault_of(response.status, _loose(said), _headers(response))
                yield response
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError) as problem:
            raise ServerFault(
                f"The server at {self.url} cannot be reached or broke off ({type(problem).__name__}: {problem}). "
                "Check LLMAGENTOS_REMOTE_URL and that the server runs.",
                again=True,
            ) from problem


def _headers(response: httpcore.Response) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}


def _header(response: httpcore.Response, name: str) -> str:
    return _headers(response).get(name, "")


def _body(response: httpcore.Response) -> bytes:
    return b"".join(_measured(response))


def _measured(response: httpcore.Response) -> Iterator[bytes]:
    total = 0
    for piece in response.iter_stream():
        total += len(piece)
        if total > MOST_BYTES:
            raise ServerFault(f"The server's answer is longer than {MOST_BYTES:,} bytes.", again=False)
        yield piece


def _lines(response: httpcore.Response) -> Iterator[bytes]:
    rest = b""
    for piece in _measured(response):
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
    yield rest


def _json(body: bytes) -> JSON:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as problem:
        shown = body[:80].decode("utf-8", "replace")
        raise ServerFault(f"The server's answer is no JSON ({shown!r}).", again=True) from problem


def _loose(body: bytes) -> JSON:
    """A body as JSON, else as text."""
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return body.decode("utf-8", "replace")
