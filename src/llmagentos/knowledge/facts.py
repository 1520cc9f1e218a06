"""Knowledge as facts: stated, confirmed, superseded, asked for.

In: statements with their source. Out: what stating them changed, and the facts that answer a question.
It does not know models: everything here works by words alone.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace

from llmagentos.errors import ConfigError, NotFoundError
from llmagentos.knowledge.claims import Claim, contradicts, find_claim, normalise
from llmagentos.records.fact import Fact, FactChange, ScoredFact
from llmagentos.records.identity import LOCAL_OWNER, Origin, Owner, new_id
from llmagentos.store.store import Store

_TRUST: dict[Origin, int] = {"outside": 0, "own": 1, "person": 2}
"""What comes from outside never retires what a person said."""

LONGEST_STATEMENT = 20_000
"""Characters; longer texts are documents."""


class Facts:
    """The facts of one home. Thread-safe. Nothing is overwritten: any past state can be asked for."""

    def __init__(self, store: Store) -> None:
        self._table = store.facts

    def add(
        self,
        statement: str,
        *,
        source: str,
        origin: Origin = "person",
        owner: Owner = LOCAL_OWNER,
        confidence: float = 1.0,
        valid_from: float | None = None,
    ) -> FactChange:
        """State a fact that holds from `valid_from` on (seconds since the epoch; None: ever since).

        The same statement again is a confirmation. A statement that answers a single-valued question differently
        ("The price of X is ...", "X lives in ...") closes the older fact at the time the new one begins, provided
        that its origin is trusted no less; every other pair of facts stands side by side.
        """
        text = _checked(statement, confidence)
        now = time.time()
        normal, claim = normalise(text), find_claim(text)
        with self._table.changing():
            known = self._table.open(owner, normal=normal)
            if known:
                self._table.confirm(
                    known[0].id, source=source, owner=owner, origin=origin, confidence=confidence, at=now
                )
                return FactChange("confirmed", known[0])
            fact = Fact(new_id("fact"), text, source, owner, origin, confidence, valid_from, recorded=now)
            rivals = self._contradicted(fact, claim) if claim else []
            begins = now if valid_from is None else valid_from
            later = [rival.valid_from for rival in rivals if rival.valid_from is not None and rival.valid_from > begins]
            if later:
                # News of the past: it held until the fact that we know already began.
                fact, rivals = replace(fact, valid_to=min(later)), []
            elif rivals:
                fact = replace(fact, valid_from=begins)
            self._table.insert(fact, normal=normal, claim=claim.question if claim else "")
            for rival in rivals:
                self._table.close(rival.id, valid_to=begins, closed=now, superseded_by=fact.id)
            if not rivals:
                return FactChange("added", fact)
            return FactChange("superseded", fact, self._table.get(rivals[-1].id))

    def ask(
        self, query: str, limit: int = 5, at: float | None = None, *, valid_at: float | None = None
    ) -> list[ScoredFact]:
        """Facts that share words with `query` and hold now, best first (BM25 weighed with confidence).

        `at` pins the time: what was recorded later is unseen. `valid_at` asks what held at another time than `at`.
        The query is text: quotes and operators in it mean nothing.
        """
        known_at, moment = _times(at)
        holds_at = moment if valid_at is None else valid_at
        return self._table.search(query, limit=limit, known_at=known_at, valid_at=holds_at)

    def get(self, identifier: str) -> Fact:
        """One fact, also one that was superseded or retracted; `NotFoundError` when unknown."""
        fact = self._table.get(identifier)
        if fact is None:
            raise NotFoundError("fact", identifier, hint="Find facts with: llmagentos knowledge ask '...'")
        return fact

    def sources(self, identifier: str) -> list[str]:
        """Everyone who stated or confirmed a fact, in order."""
        return self._table.sources(self.get(identifier).id)

    def retract(self, identifier: str) -> Fact:
        """Say that a fact was never right: it is out of every answer from now on, and stays on record."""
        self._table.retract(identifier, time.time())
        return self.get(identifier)

    def _contradicted(self, fact: Fact, claim: Claim) -> list[Fact]:
        """The open facts that answer the same question otherwise and may be closed by this one, the oldest first."""
        rivals = []
        for other in self._table.open(fact.owner, claim=claim.question):
            older = find_claim(other.statement)
            if older and contradicts(older, claim) and _TRUST[fact.origin] >= _TRUST[other.origin]:
                rivals.append(other)
        return rivals

    def list(self, limit: int | None = 100, at: float | None = None) -> list[Fact]:
        """Facts that hold now, or as known at `at`, the newest first."""
        known_at, moment = _times(at)
        return self._table.list(known_at=known_at, valid_at=moment, limit=limit)


def _times(at: float | None) -> tuple[float, float]:
    """When to have known, and when to hold: without a pinned time all that is recorded, whatever the clock says."""
    return (math.inf, time.time()) if at is None else (at, at)


def _checked(statement: str, confidence: float) -> str:
    text = " ".join(statement.encode("utf-8", "replace").decode().replace("\0", " ").split())
    if not text:
        raise ConfigError(
            "The statement is empty. Give a sentence, as in: llmagentos knowledge add 'Paris is in France.'"
        )
    if len(text) > LONGEST_STATEMENT:
        raise ConfigError(
            f"The statement has {len(text)} characters, more than {LONGEST_STATEMENT}. "
            "Give single facts, or take the text in as a document: llmagentos data add FILE"
        )
    if not 0.0 <= confidence <= 1.0:
        raise ConfigError(f"The confidence is {confidence}. Give a number from 0 to 1.")
    return text
