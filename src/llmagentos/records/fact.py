"""What is known: statements with the time they hold and the time they were recorded.

In: `knowledge/` makes them. Out: programs recall them, people read what changed.
It does not know how facts are found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from llmagentos.records.identity import LOCAL_OWNER, Origin, Owner

FactChangeKind: TypeAlias = Literal["added", "confirmed", "superseded"]


@dataclass(frozen=True, slots=True)
class Fact:
    """One statement. It is never overwritten: closing and retracting are recorded beside it."""

    id: str
    statement: str
    source: str
    """Who or what says so: a person, a document, a run."""
    owner: Owner = LOCAL_OWNER
    origin: Origin = "person"
    confidence: float = 1.0
    """In [0, 1]."""
    valid_from: float | None = None
    """Seconds since the epoch from which it holds; None is since ever."""
    valid_to: float | None = None
    """Seconds since the epoch until which it holds, exclusive; None is open."""
    recorded: float = 0.0
    """When the system learned of it."""
    closed: float | None = None
    """When the system learned that it ended at `valid_to`; None when it was never superseded."""
    superseded_by: str = ""
    """The fact that took its place."""
    retracted: float | None = None
    """When somebody said that it was never right."""


@dataclass(frozen=True, slots=True)
class FactChange:
    """What stating something did to the knowledge."""

    kind: FactChangeKind
    """added: new. confirmed: known already. superseded: new, and `previous` no longer holds."""
    fact: Fact
    previous: Fact | None = None
    """The fact that was closed, where one was."""


@dataclass(frozen=True, slots=True)
class ScoredFact:
    """A fact that a question found."""

    fact: Fact
    score: float
    """Higher is better; comparable within one question only."""
