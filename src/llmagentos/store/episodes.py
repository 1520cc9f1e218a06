"""Rows of episodes: what can be asked about a run, and its encoded body.

In: `EpisodeRow`s. Out: the same, by condition, without those that were withdrawn.
It does not know what an episode is made of: the body is bytes to it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, exists, func, insert, select, update

from llmagentos.errors import StoreError
from llmagentos.store.blobs import Blobs
from llmagentos.store.database import Database
from llmagentos.store.rows import EpisodeFilter, EpisodeRow
from llmagentos.store.tables import episode_labels, episodes

_CHUNK = 500
"""Identifiers to one IN: well under every dialect's limit of parameters."""


class EpisodeTable:
    """Insert, select, withdraw. Thread-safe."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database = database
        self._blobs = blobs

    def insert(self, rows: Sequence[EpisodeRow]) -> None:
        """Add all or none. A row that is there already, byte for byte, is skipped: a resumed run may add it again."""
        values: list[dict[str, Any]] = []
        labels: list[dict[str, str]] = []
        for row in rows:
            body, blob = self._blobs.spill(row.body)
            value: dict[str, Any] = {name: getattr(row, name) for name in _COLUMNS}
            values.append(value | {"body": body, "blob": blob})
            labels.extend({"episode": row.id, "name": name, "value": text} for name, text in row.labels.items())
        with self._database.transaction() as connection:
            known = _known(connection, values)
            fresh = [value for value in values if value["id"] not in known]
            if fresh:
                connection.execute(insert(episodes), fresh)
            labels = [label for label in labels if label["episode"] not in known]
            if labels:
                connection.execute(insert(episode_labels), labels)

    def get(self, identifier: str) -> EpisodeRow | None:
        """One row, or None when it is unknown or withdrawn."""
        condition = and_(episodes.c.id == identifier, episodes.c.withdrawn.is_(None))
        with self._database.reading() as connection:
            row = connection.execute(select(episodes).where(condition)).one_or_none()
        return self._row(row) if row else None

    def select(self, where: EpisodeFilter, *, limit: int | None = None, newest: bool = True) -> list[EpisodeRow]:
        """Matching rows in the order they were added, from the newest or the oldest on, at most `limit`."""
        order = episodes.c.number.desc() if newest else episodes.c.number.asc()
        query = select(episodes).where(_condition(where)).order_by(order).limit(limit)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [self._row(row) for row in rows]

    def identifiers(self, where: EpisodeFilter) -> list[str]:
        """Identifiers of matching rows, the oldest first."""
        query = select(episodes.c.id).where(_condition(where)).order_by(episodes.c.number)
        with self._database.reading() as connection:
            return list(connection.execute(query).scalars())

    def skills(self) -> list[str]:
        """Every skill that training runs are there of, in the order they first came."""
        query = select(episodes.c.skill).where(episodes.c.withdrawn.is_(None), episodes.c.split == "train")
        with self._database.reading() as connection:
            grouped = query.group_by(episodes.c.skill).order_by(func.min(episodes.c.number))
            return list(connection.execute(grouped).scalars())

    def count(self, where: EpisodeFilter) -> int:
        """How many rows match."""
        query = select(func.count()).select_from(episodes).where(_condition(where))
        with self._database.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def withdraw(self, identifier: str, reason: str) -> bool:
        """Exclude a row from now on; synced, for it is a person's will. False when no such row is there."""
        change = update(episodes).where(episodes.c.id == identifier, episodes.c.withdrawn.is_(None))
        with self._database.transaction(sync=True) as connection:
            return bool(connection.execute(change.values(withdrawn=time.time(), withdrawn_reason=reason)).rowcount)

    def withdrawal(self, identifier: str) -> str | None:
        """Why an episode was withdrawn; None when it was not or is unknown."""
        query = select(episodes.c.withdrawn_reason).where(
            episodes.c.id == identifier, episodes.c.withdrawn.is_not(None)
        )
        with self._database.reading() as connection:
            return connection.execute(query).scalar_one_or_none()

    def withdrawn_among(self, identifiers: Iterable[str]) -> set[str]:
        """Those of `identifiers` that were withdrawn."""
        wanted = sorted(set(identifiers))
        found: set[str] = set()
        with self._database.reading() as connection:
            for start in range(0, len(wanted), _CHUNK):
                part = episodes.c.id.in_(wanted[start : start + _CHUNK])
                found.update(
                    connection.execute(select(episodes.c.id).where(part, episodes.c.withdrawn.is_not(None))).scalars()
                )
        return found

    def _row(self, row: Row[Any]) -> EpisodeRow:
        values = {name: getattr(row, name) for name in _COLUMNS}
        return EpisodeRow(**values, body=self._blobs.restore(row.body, row.blob))


_COLUMNS = tuple(name for name in EpisodeRow.__dataclass_fields__ if name not in ("body", "labels"))


def _condition(where: EpisodeFilter) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = [episodes.c.withdrawn.is_(None)]
    for name in ("skill", "environment", "split", "success", "release", "owner", "origin"):
        wanted = getattr(where, name)
        if wanted is not None:
            conditions.append(episodes.c[name] == wanted)
    if where.but_releases:
        conditions.append(episodes.c.release.not_in(where.but_releases))
    for name, value in (where.labels or {}).items():
        conditions.append(
            exists().where(
                episode_labels.c.episode == episodes.c.id,
                episode_labels.c.name == name,
                episode_labels.c.value == value,
            )
        )
    return and_(*conditions)


def _known(connection: Connection, values: Sequence[Mapping[str, Any]]) -> set[str]:
    """Identifiers among `values` that are stored already with the same body; another body is refused."""
    by_id = {value["id"]: value for value in values}
    if len(by_id) != len(values):
        raise StoreError(
            f"{len(values) - len(by_id)} episodes in one batch share an identifier. Give each its own by new_id."
        )
    identifiers = list(by_id)
    known: set[str] = set()
    for start in range(0, len(identifiers), _CHUNK):
        part = episodes.c.id.in_(identifiers[start : start + _CHUNK])
        for row in connection.execute(select(episodes.c.id, episodes.c.body, episodes.c.blob).where(part)):
            if (row.body, row.blob) != (by_id[row.id]["body"], by_id[row.id]["blob"]):
                raise StoreError(
                    f"Episode {row.id} is stored already with other content; episodes are never overwritten."
                )
            known.add(row.id)
    return known
