"""Stored descriptions of processes.

In: `ProcessInfo` from the kernel, again at each change of state. Out: the last one, for `ps` and for a resume.
It does not know programs, nor the journal's entries.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from llmagentos.errors import NotFoundError, StoreError
from llmagentos.records.process import ProcessInfo, ProcessState
from llmagentos.store.blobs import Blobs
from llmagentos.store.database import Database
from llmagentos.store.journal import decode_json, encode_json

_PUT = """
INSERT INTO processes (id, program, state, release, parent, body, blob, created, updated, owner, origin)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'own')
ON CONFLICT (id) DO UPDATE SET program = excluded.program, state = excluded.state, release = excluded.release,
  parent = excluded.parent, body = excluded.body, blob = excluded.blob, created = excluded.created,
  updated = excluded.updated, owner = excluded.owner
"""


class Processes:
    """One row a process. Thread-safe."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database = database
        self._blobs = blobs

    def put(self, info: ProcessInfo, *, sync: bool = False) -> None:
        """Store a process, replacing what was stored under its identifier."""
        body, blob = self._blobs.spill(encode_json(info))
        times = (info.created, info.updated)
        self._database.execute(
            _PUT,
            (info.id, info.program, info.state, info.release, info.parent, body, blob, *times, info.owner),
            sync=sync,
        )

    def get(self, identifier: str) -> ProcessInfo:
        """The process of that identifier, or `NotFoundError`."""
        rows = self._database.execute("SELECT body, blob FROM processes WHERE id = ?", (identifier,))
        if not rows:
            raise NotFoundError("process", identifier, hint="List them with: llmagentos ps")
        return self._decode(*rows[0])

    def list(self, states: Collection[ProcessState] | None = None, limit: int | None = 100) -> list[ProcessInfo]:
        """Processes in any of `states` (None: all), the newest first, at most `limit` (None: no limit)."""
        where, parameters = "", list[Any]()
        if states is not None:
            where = f"WHERE state IN ({', '.join('?' * len(states))})"
            parameters.extend(sorted(states))
        rows = self._database.execute(
            f"SELECT body, blob FROM processes {where} ORDER BY created DESC, id DESC LIMIT ?",
            (*parameters, -1 if limit is None else limit),
        )
        return [self._decode(*row) for row in rows]

    def _decode(self, body: bytes | None, blob: str | None) -> ProcessInfo:
        try:
            return msgspec.convert(decode_json(self._blobs.restore(body, blob)), ProcessInfo)
        except msgspec.ValidationError as error:
            raise StoreError(f"A stored process cannot be read ({error}). Run: llmagentos doctor") from error
