"""The append-only record of every system call and its result.

In: JSON-able bodies, one at a time, by process. Out: the same bodies in the same order, after any crash.
The events of a process that has ended are packed into one row, which takes an eighth of the room: five minutes of
practice are thousands of processes. Nothing is left out.
It does not know what the kinds mean nor how a process is resumed.
"""

from __future__ import annotations

import json
import time
import zlib
from dataclasses import dataclass
from typing import Any

import msgspec

from llmagentos.errors import StoreError
from llmagentos.records.identity import JSON, LOCAL_OWNER, Origin, Owner
from llmagentos.store.blobs import Blobs
from llmagentos.store.database import Database

FORMAT, PACKED = 1, 2
"""Formats of rows: an event as UTF-8 JSON; all events of a process up to this one, as deflated JSON, each
`[seq, kind, at, blob, body]`."""

_INSERT = """
INSERT INTO journal (process, seq, kind, format, body, blob, at, owner, origin)
SELECT ?1, coalesce(max(seq), 0) + 1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 FROM journal WHERE process = ?1 RETURNING seq
"""

_SELECT_ALL = "SELECT seq, kind, format, body, blob, at, owner, origin FROM journal WHERE process = ? ORDER BY seq"
_SELECT = "SELECT seq, kind, format, body, blob, at FROM journal WHERE process = ? AND seq > ? ORDER BY seq"
_INSERT_PACKED = """
INSERT INTO journal (process, seq, kind, format, body, blob, at, owner, origin)
VALUES (?, ?, 'packed', ?, ?, ?, ?, ?, ?)
"""
_DOCTOR = "Run: llmagentos doctor"


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
        rows = self._database.execute(_SELECT, (process, after))
        return [entry for row in rows for entry in self._entries(process, *row) if entry.seq > after]

    def count(self, process: str | None = None) -> int:
        """How many events a process has, or all processes together."""
        if process is None:
            rows = self._database.execute(
                "SELECT sum(events) FROM (SELECT max(seq) AS events FROM journal GROUP BY process)"
            )
        else:
            rows = self._database.execute("SELECT max(seq) FROM journal WHERE process = ?", (process,))
        return int(rows[0][0] or 0)

    def pack(self, process: str) -> None:
        """Keep the events of a process, one that has ended, in one row; they read back and count as before.

        All or nothing, also when the system dies meanwhile. Where different people own the events they stay apart.
        """
        with self._database.transaction() as connection:
            rows = connection.exec_driver_sql(_SELECT_ALL, (process,)).all()
            if len(rows) < 2 or len({tuple(row[-2:]) for row in rows}) > 1:
                return
            events = b",".join(self._packable(process, *row[:-2]) for row in rows)
            body, blob = self._blobs.spill(zlib.compress(b"[" + events + b"]"))
            connection.exec_driver_sql("DELETE FROM journal WHERE process = ?", (process,))
            seq, at, (owner, origin) = rows[-1][0], rows[-1][5], rows[-1][-2:]
            connection.exec_driver_sql(_INSERT_PACKED, (process, seq, PACKED, body, blob, at, owner, origin))

    def _packable(
        self, process: str, seq: int, kind: str, version: int, body: bytes | None, blob: str | None, at: float
    ) -> bytes:
        """A row's events as JSON, without the brackets around them; what became a blob stays one."""
        self._check(process, seq, version)
        if version == PACKED:
            return self._unpack(body, blob)[1:-1]
        return msgspec.json.encode([seq, kind, at, blob, msgspec.Raw(b"null" if body is None else body)])

    def _entries(
        self, process: str, seq: int, kind: str, version: int, body: bytes | None, blob: str | None, at: float
    ) -> list[JournalEntry]:
        """The events of a row."""
        self._check(process, seq, version)
        if version == FORMAT:
            return [JournalEntry(seq, kind, decode_json(self._blobs.restore(body, blob)), at)]
        return [
            JournalEntry(number, name, decode_json(self._blobs.get(large)) if large else value, when)
            for number, name, when, large, value in decode_json(self._unpack(body, blob))
        ]

    def _unpack(self, body: bytes | None, blob: str | None) -> bytes:
        try:
            return zlib.decompress(self._blobs.restore(body, blob))
        except zlib.error as error:
            raise StoreError(f"Packed events cannot be read ({error}): the database is damaged. {_DOCTOR}") from error

    def _check(self, process: str, seq: int, version: int) -> None:
        if version not in (FORMAT, PACKED):
            raise StoreError(
                f"Event {seq} of process {process} has format {version}; this version reads {FORMAT} and {PACKED}. "
                "Upgrade with: pip install --upgrade llmagentos"
            )


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
            raise StoreError(f"A stored body is not JSON ({error}): the database is damaged. {_DOCTOR}") from error
