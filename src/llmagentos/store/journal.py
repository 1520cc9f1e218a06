"""The append-only record of every system call and its result.

In: JSON-able bodies, one at a time, by process. Out: the same bodies in the same order, after any crash.
It does not know what the kinds mean nor how a process is resumed.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import msgspec

from llmagentos.errors import StoreError
from llmagentos.records.identity import JSON, LOCAL_OWNER, Origin, Owner
from llmagentos.store.blobs import Blobs
from llmagentos.store.database import Database

FORMAT = 1
"""Format of entries written now: UTF-8 JSON."""

_INSERT = """
INSERT INTO journal (process, seq, kind, format, body, blob, at, owner, origin)
SELECT ?1, coalesce(max(seq), 0) + 1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 FROM journal WHERE process = ?1 RETURNING seq
"""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One event of a process."""

    seq: int
    """1, 2, 3, ... within the process."""
    kind: str
    body: JSON
    at: float
    """Seconds since the epoch."""


class Journal:
    """Append and read back. Thread-safe.

    Every appended entry survives the death of the process at once; one appended with `sync` survives loss of
    power as well, and so does everything appended before it.
    """

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database = database
        self._blobs = blobs

    def append(
        self,
        process: str,
        kind: str,
        body: JSON,
        *,
        sync: bool = False,
        owner: Owner = LOCAL_OWNER,
        origin: Origin = "own",
    ) -> int:
        """Record an event and return its number within the process.

        `body` is JSON or a frozen record, which comes back as plain JSON; NaN and infinities become None.
        """
        encoded, blob = self._blobs.spill(encode_json(body))
        parameters = (process, kind, FORMAT, encoded, blob, time.time(), owner, origin)
        rows = self._database.execute(_INSERT, parameters, sync=sync)
        return int(rows[0][0])

    def entries(self, process: str, *, after: int = 0) -> list[JournalEntry]:
        """The process's events in order, those with a number above `after`; empty for an unknown process."""
        rows = self._database.execute(
            "SELECT seq, kind, format, body, blob, at FROM journal WHERE process = ? AND seq > ? ORDER BY seq",
            (process, after),
        )
        return [
            JournalEntry(seq, kind, self._decode(process, seq, version, body, blob), at)
            for seq, kind, version, body, blob, at in rows
        ]

    def count(self, process: str | None = None) -> int:
        """How many events a process has, or all processes together."""
        if process is None:
            rows = self._database.execute("SELECT count(*) FROM journal")
        else:
            rows = self._database.execute("SELECT count(*) FROM journal WHERE process = ?", (process,))
        return int(rows[0][0])

    def _decode(self, process: str, seq: int, version: int, body: bytes | None, blob: str | None) -> JSON:
        if version != FORMAT:
            raise StoreError(
                f"Event {seq} of process {process} has format {version}; this version reads format {FORMAT}. "
                "Upgrade with: pip install --upgrade llmagentos"
            )
        return decode_json(self._blobs.restore(body, blob))


def encode_json(value: Any) -> bytes:
    """JSON of a value or record; text that is no Unicode (half a surrogate pair, as models write) as escapes."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(value), allow_nan=False).encode()


def decode_json(data: bytes) -> JSON:
    """The inverse of `encode_json`."""
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError:
        try:
            return json.loads(data)
        except ValueError as error:
            raise StoreError(
                f"A stored body is not JSON ({error}): the database is damaged. Run: llmagentos doctor"
            ) from error
