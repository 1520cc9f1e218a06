"""Rows of facts and of what confirmed them.

In: `Fact`s with the keys by which they are compared. Out: facts that held and were known at a time.
It does not know when two statements contradict each other: `knowledge` decides that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, insert, not_, or_, select, update

from llmagentos.records.fact import Fact, ScoredFact
from llmagentos.records.identity import Origin, Owner
from llmagentos.store.database import Database
from llmagentos.store.fulltext import TextIndex
from llmagentos.store.tables import fact_confirmations, facts

_FIELDS = tuple(Fact.__dataclass_fields__)


class FactTable:
    """Insert, close, retract, search; nothing is overwritten. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._index = TextIndex("facts")

    @contextmanager
    def changing(self) -> Iterator[None]:
        """What is done inside happens entirely or not at all, with no other writer between."""
        with self._database.transaction():
            yield

    def insert(self, fact: Fact, *, normal: str, claim: str) -> None:
        """Add a fact under its normalised statement and, where it makes one, the claim it answers."""
        values = {name: getattr(fact, name) for name in _FIELDS} | {"normal": normal, "claim": claim}
        with self._database.transaction() as connection:
            key = connection.execute(insert(facts).values(**values)).inserted_primary_key
            if key:
                self._index.add(connection, int(key[0]), fact.statement)

    def confirm(
        self, identifier: str, *, source: str, owner: Owner, origin: Origin, confidence: float, at: float
    ) -> None:
        """Record that another source says the same."""
        values = {"fact": identifier, "source": source, "owner": owner, "origin": origin}
        with self._database.transaction() as connection:
            connection.execute(insert(fact_confirmations).values(**values, confidence=confidence, recorded=at))

    def sources(self, identifier: str) -> list[str]:
        """Who stated a fact and who confirmed it, in order."""
        stated = select(facts.c.source).where(facts.c.id == identifier)
        later = select(fact_confirmations.c.source).where(fact_confirmations.c.fact == identifier)
        with self._database.reading() as connection:
            confirmed = connection.execute(later.order_by(fact_confirmations.c.number)).scalars()
            return [*connection.execute(stated).scalars(), *confirmed]

    def close(self, identifier: str, *, valid_to: float, closed: float, superseded_by: str) -> None:
        """Record when a fact ceased to hold, and which one took its place; a closed fact stays as it is."""
        change = update(facts).where(facts.c.id == identifier, facts.c.closed.is_(None))
        with self._database.transaction() as connection:
            connection.execute(change.values(valid_to=valid_to, closed=closed, superseded_by=superseded_by))

    def retract(self, identifier: str, at: float) -> bool:
        """Record that a fact was never right; synced. False when it is unknown or retracted already."""
        change = update(facts).where(facts.c.id == identifier, facts.c.retracted.is_(None))
        with self._database.transaction(sync=True) as connection:
            return bool(connection.execute(change.values(retracted=at)).rowcount)

    def get(self, identifier: str) -> Fact | None:
        """One fact, whatever became of it; None when unknown."""
        with self._database.reading() as connection:
            row = connection.execute(select(facts).where(facts.c.id == identifier)).one_or_none()
        return _fact(row) if row else None

    def open(self, owner: Owner, *, normal: str | None = None, claim: str | None = None) -> list[Fact]:
        """The owner's facts with no end and not retracted, by statement or claim, the oldest first."""
        query = select(facts).where(facts.c.owner == owner, facts.c.valid_to.is_(None), facts.c.retracted.is_(None))
        if normal is not None:
            query = query.where(facts.c.normal == normal)
        if claim is not None:
            query = query.where(facts.c.claim == claim)
        with self._database.reading() as connection:
            return [_fact(row) for row in connection.execute(query.order_by(facts.c.number))]

    def search(self, question: str, *, limit: int, known_at: float, valid_at: float) -> list[ScoredFact]:
        """Facts known at one time that hold at another and share words with the question, best first."""
        found = self._index.ranked(question)
        if found is None:
            return []
        ranked = (
            select(facts, found.c.score)
            .join(found, found.c.number == facts.c.number)
            .where(_state(known_at, valid_at))
            .order_by((found.c.score * facts.c.confidence).desc(), facts.c.number.desc())
            .limit(limit)
        )
        with self._database.reading() as connection:
            return [ScoredFact(_fact(row), row.score * row.confidence) for row in connection.execute(ranked)]

    def list(self, *, known_at: float, valid_at: float, limit: int | None = None) -> list[Fact]:
        """Facts known at one time that hold at another, the newest first."""
        query = select(facts).where(_state(known_at, valid_at)).order_by(facts.c.number.desc()).limit(limit)
        with self._database.reading() as connection:
            return [_fact(row) for row in connection.execute(query)]


def _state(known_at: float, valid_at: float) -> ColumnElement[bool]:
    """What was known at `known_at` of what holds at `valid_at`: later records, closings and retractions are unseen."""
    ended = and_(facts.c.valid_to <= valid_at, or_(facts.c.closed.is_(None), facts.c.closed <= known_at))
    return and_(
        facts.c.recorded <= known_at,
        or_(facts.c.retracted.is_(None), facts.c.retracted > known_at),
        or_(facts.c.valid_from.is_(None), facts.c.valid_from <= valid_at),
        or_(facts.c.valid_to.is_(None), not_(ended)),
    )


def _fact(row: Row[Any]) -> Fact:
    return Fact(**{name: getattr(row, name) for name in _FIELDS})
