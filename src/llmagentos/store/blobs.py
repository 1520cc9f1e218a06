"""Large payloads as files named by their content.

In: bytes. Out: their SHA-256, and later exactly these bytes or a `StoreError`.
It does not know what refers to a blob.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from llmagentos.errors import StoreError

INLINE_LIMIT = 64 * 1024
"""Bodies longer than this many bytes are kept as blobs, so that a table's pages stay quick to walk."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_STALE_SECONDS = 24 * 3600.0


class Blobs:
    """Content-addressed files in one folder: written beside, synced, renamed; verified at each read. Thread-safe."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self._folder = folder
        self._partial = folder / ".partial"
        self._read_only = read_only
        if not read_only:
            self._partial.mkdir(parents=True, exist_ok=True)
            self._sweep()

    def put(self, data: bytes) -> str:
        """Keep `data` and return its SHA-256; survives loss of power once returned. Mends a damaged copy."""
        digest = hashlib.sha256(data).hexdigest()
        path = self.path(digest)
        if self._read_only:
            raise StoreError(f"Cannot write blob {digest[:12]}: the store is open read-only. Open it for writing.")
        if path.exists() and path.read_bytes() == data:
            return digest
        try:
            self._write(path, data)
        except OSError as error:
            raise StoreError(
                f"Cannot write a blob of {len(data)} bytes to {self._folder}: {error.strerror}. "
                "Free disk space or mend the folder's permissions, then run the command again."
            ) from error
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes of a blob; `StoreError` when it is missing or its content no longer matches its name."""
        path = self.path(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise StoreError(f"Blob {digest} is missing. {_remedy(path)}") from error
        except OSError as error:
            raise StoreError(f"Blob {digest} cannot be read: {error.strerror}. {_remedy(path)}") from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise StoreError(
                f"Blob {digest} is damaged ({len(data)} bytes that hash to something else). {_remedy(path)}"
            )
        return data

    def verify(self, digest: str) -> None:
        """Raise `StoreError` unless the blob is there and whole; reads in pieces, whatever its size."""
        path = self.path(digest)
        if not path.exists():
            raise StoreError(f"Blob {digest} is missing. {_remedy(path)}")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != digest:
            raise StoreError(f"Blob {digest} is damaged. {_remedy(path)}")

    def path(self, digest: str) -> Path:
        """Where a blob is or would be; only 64 lower-case hexadecimal characters are accepted."""
        if not _DIGEST.fullmatch(digest):
            raise StoreError(
                f"{digest[:80]!r} is no blob's name. Expected 64 lower-case hexadecimal characters (SHA-256)."
            )
        return self._folder / digest[:2] / digest[2:]

    def exists(self, digest: str) -> bool:
        """Whether a blob of that name is there, unverified."""
        return self.path(digest).exists()

    def digests(self) -> Iterator[str]:
        """Names of all blobs, in no particular order."""
        for folder in self._folder.glob("[0-9a-f][0-9a-f]"):
            for path in folder.iterdir():
                yield folder.name + path.name

    def spill(self, body: bytes) -> tuple[bytes | None, str | None]:
        """`(body, None)` for a body to keep in its row, `(None, digest)` for one that became a blob."""
        return (body, None) if len(body) <= INLINE_LIMIT else (None, self.put(body))

    def restore(self, body: bytes | None, digest: str | None) -> bytes:
        """The inverse of `spill`."""
        if digest:
            return self.get(digest)
        if body is None:
            raise StoreError(
                "A row has neither a body nor a blob: it was not written by LLMAgentOS. Run: llmagentos doctor"
            )
        return body

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self._partial)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
        _sync_folder(self._folder)

    def _sweep(self) -> None:
        """Remove what killed writers left behind."""
        for path in self._partial.iterdir():
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remedy(path: Path) -> str:
    return (
        f"Restore {path} from a backup, or roll back to a release that does not need it "
        "(`llmagentos releases list`); what else is damaged tells: llmagentos doctor"
    )
