"""Rows as the tables hold them, for rooms that give them meaning.

In: encoded records. Out: the same. Frozen data without SQLAlchemy, so that a room's import stays light.
It does not know how rows are stored.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from llmagentos.records.identity import LOCAL_OWNER, Origin, Owner


@dataclass(frozen=True, slots=True)
class EpisodeRow:
    """One episode as the table holds it."""

    id: str
    process: str
    environment: str
    skill: str
    task_key: str
    split: str
    success: bool
    lenient: bool
    outcome: str
    release: str
    reward: float
    created: float
    format: int
    """Version of the encoding of `body`."""
    body: bytes
    owner: Owner = LOCAL_OWNER
    origin: Origin = "own"
    labels: dict[str, str] = field(default_factory=dict)
    """Written; not read back, for the body holds them too."""


@dataclass(frozen=True, slots=True)
class EpisodeFilter:
    """Conditions on episodes; None asks nothing. Withdrawn ones never match."""

    skill: str | None = None
    environment: str | None = None
    split: str | None = None
    success: bool | None = None
    release: str | None = None
    owner: str | None = None
    origin: Origin | None = None
    labels: Mapping[str, str] | None = None
    """Every one of these labels with this value."""
    but_releases: Collection[str] = ()
    """None of these releases."""
