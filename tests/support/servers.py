"""A real server's address, and a server that misbehaves as it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class LlamaServer:
    url: str
    model: str
    folder: Path
    """The same weights, for the embedded engine."""


@dataclass
class FaultyServer:
    """Answers `/models` well and every POST with the next of its `answers`."""

    url: str = ""
    owner: str = "llamacpp"
    answers: list[Answer] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        with self._lock:
            self.headers.append(dict(handler.headers))
            self.bodies.append(json.loads(handler.rfile.read(int(handler.headers["content-length"]))))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        answer(handler)


def status(code: int, body: Any, **headers: str) -> Answer:
    """An answer that is refused, or anything that is no stream."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(code)
        for name, value in {"content-type": "application/json", **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("content-length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def stream(events: Sequence[Any], *, whole: bool = True, hold: threading.Event | None = None) -> Answer:
    """A stream of events; cut off after them unless `whole`, and held before the last one until `hold` is set."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        if not whole:
            handler.send_header("content-length", "1000000")
        handler.end_headers()
        for number, event in enumerate(events):
            if hold is not None and number == len(events) - 1:
                hold.wait(30)
            data = event if isinstance(event, bytes) else b"data: " + json.dumps(event).encode() + b"\n\n"
            handler.wfile.write(data)
            handler.wfile.flush()
        if whole:
            handler.wfile.write(b": the end\n\ndata: [DONE]\n\n")

    return answer
