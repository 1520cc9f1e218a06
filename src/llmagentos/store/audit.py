"""The hash-chained log of decisions: who was allowed or refused what.

In: decisions as JSON. Out: the same in order, and whether anyone changed them since.
It does not know permissions.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection, insert, select

from llmagentos.records.identity import JSON, LOCAL_OWNER, Origin, Owner
from llmagentos.store.database import Database
from llmagentos.store.journal import decode_json, encode_json
from llmagentos.store.tables import audit

_FIRST = "0" * 64


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One decision."""

    number: int
    kind: str
    body: JSON
    created: float
    owner: Owner
    origin: Origin
    digest: str
    """SHA-256 over this entry and the digest of the one before it."""


class AuditLog:
    """Append and read; each entry's digest covers all before it. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(
        self, kind: str, body: JSON, *, sync: bool = False, owner: Owner = LOCAL_OWNER, origin: Origin = "own"
    ) -> AuditEntry:
        """Record a decision; with `sync` it survives loss of power, as an approval must before it counts."""
        encoded = encode_json(body)
        with self._database.transaction(sync=sync) as connection:
            previous = _last_digest(connection)
            created = time.time()
            digest = _digest(previous, kind, encoded, created, owner, origin)
            values = {"kind": kind, "body": encoded, "created": created, "owner": owner, "origin": origin}
            result = connection.execute(insert(audit).values(**values, previous=previous, digest=digest))
            key = result.inserted_primary_key
        number = int(key[0]) if key else 0
        return AuditEntry(number, kind, decode_json(encoded), created, owner, origin, digest)

    def entries(self, *, kind: str | None = None, limit: int | None = None) -> list[AuditEntry]:
        """Entries in order, the latest `limit` of them."""
        query = select(audit).order_by(audit.c.number.desc()).limit(limit)
        if kind is not None:
            query = query.where(audit.c.kind == kind)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [
            AuditEntry(row.number, row.kind, decode_json(row.body), row.created, row.owner, row.origin, row.digest)
            for row in reversed(rows)
        ]

    def first_broken(self) -> int | None:
        """Number of the first entry that was changed, or after which one is missing; None when the chain is whole.

        Entries cut off at the end leave a whole chain: who must notice that keeps the last digest elsewhere.
        """
        previous = _FIRST
        with self._database.reading() as connection:
            for row in connection.execute(select(audit).order_by(audit.c.number)):
                expected = _digest(previous, row.kind, row.body, row.created, row.owner, row.origin)
                if row.previous != previous or row.digest != expected:
                    return int(row.number)
                previous = row.digest
        return None


def _last_digest(connection: Connection) -> str:
    query = select(audit.c.digest).order_by(audit.c.number.desc()).limit(1)
    return connection.execute(query).scalar_one_or_none() or _FIRST


def _digest(previous: str, kind: str, body: bytes, created: float, owner: str, origin: str) -> str:
    content = msgspec.json.encode([previous, kind, hashlib.sha256(body).hexdigest(), created, owner, origin])
    return hashlib.sha256(content).hexdigest()
