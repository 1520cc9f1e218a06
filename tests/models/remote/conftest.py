"""Two servers: llama.cpp's own with the tiny model, and one that misbehaves as it is told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from servers import FaultyServer, LlamaServer, status


@pytest.fixture(scope="session")
def llama_server(tiny_model: Path, gguf_writer: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaServer]:
    """llama.cpp's server on a free port, with two slots of 256 tokens."""
    xllamacpp = pytest.importorskip("xllamacpp", reason="xllamacpp has no wheel for this platform")
    file = gguf_writer(tiny_model, tmp_path_factory.mktemp("server") / "tiny.gguf", quantised=False)
    params = xllamacpp.CommonParams()
    params.model.path, params.model_alias = str(file), {"tiny"}
    params.n_ctx, params.n_parallel, params.port, params.use_jinja = 512, 2, 0, True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.embedding = False
    params.verbosity = -1
    server = xllamacpp.Server(params)
    yield LlamaServer(server.listening_address + "/v1", "tiny", tiny_model)
    del server


@pytest.fixture
def faulty() -> Iterator[FaultyServer]:
    known = FaultyServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status(200, {"data": [{"id": "m", "owned_by": known.owner, "meta": {"n_ctx": 100}}]})(self)

        def do_POST(self) -> None:
            known.handle(self)

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    known.url = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield known
    server.shutdown()
    server.server_close()
