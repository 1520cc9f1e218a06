"""The tables, as SQLAlchemy Core sees them in every dialect.

In: nothing. Out: one `MetaData`; the migrations make exactly this (a test compares them).
It does not know full-text indexes, which are each dialect's own, nor what rows mean.
Loading this module loads SQLAlchemy: only what reads or writes through Core imports it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

# SQLite numbers rows by itself only where the key's type is spelled INTEGER.
Number = BigInteger().with_variant(Integer, "sqlite")


def _number() -> Column[int]:
    return Column("number", Number, primary_key=True, autoincrement=True)


def _provenance() -> tuple[Column[Any], ...]:
    """Whose the record is and where its content comes from: on every table of records."""
    return Column("owner", Text, nullable=False), Column("origin", Text, nullable=False)


def _withdrawal() -> tuple[Column[Any], ...]:
    return Column("withdrawn", Double), Column("withdrawn_reason", Text)


journal = Table(
    "journal",
    metadata,
    _number(),
    Column("process", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("format", SmallInteger, nullable=False),
    Column("body", LargeBinary),
    Column("blob", Text),
    Column("at", Double, nullable=False),
    *_provenance(),
    UniqueConstraint("process", "seq", name="journal_process_seq"),
)

processes = Table(
    "processes",
    metadata,
    Column("id", Text, primary_key=True),
    Column("program", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("release", Text, nullable=False),
    Column("parent", Text, nullable=False),
    Column("body", LargeBinary),
    Column("blob", Text),
    Column("created", Double, nullable=False),
    Column("updated", Double, nullable=False),
    *_provenance(),
    Index("processes_created", "created"),
    Index("processes_state", "state", "created"),
)

episodes = Table(
    "episodes",
    metadata,
    _number(),
    Column("id", Text, nullable=False, unique=True),
    Column("process", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("skill", Text, nullable=False),
    Column("task_key", Text, nullable=False),
    Column("split", Text, nullable=False),
    Column("success", Boolean, nullable=False),
    Column("lenient", Boolean, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("release", Text, nullable=False),
    Column("reward", Double, nullable=False),
    Column("created", Double, nullable=False),
    Column("format", SmallInteger, nullable=False),
    Column("body", LargeBinary),
    Column("blob", Text),
    *_provenance(),
    *_withdrawal(),
    Index("episodes_skill", "skill", "split"),
    Index("episodes_environment", "environment", "split"),
    Index("episodes_release", "release"),
)

episode_labels = Table(
    "episode_labels",
    metadata,
    Column("episode", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Index("episode_labels_value", "name", "value"),
)

feedback = Table(
    "feedback",
    metadata,
    _number(),
    Column("id", Text, nullable=False, unique=True),
    Column("episode", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("place", Integer, nullable=False),
    Column("reviewer", Text, nullable=False),
    Column("shown", Text, nullable=False),
    Column("created", Double, nullable=False),
    *_provenance(),
    *_withdrawal(),
    Index("feedback_episode", "episode"),
)

documents = Table(
    "documents",
    metadata,
    _number(),
    Column("id", Text, nullable=False, unique=True),
    Column("source", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("created", Double, nullable=False),
    *_provenance(),
    *_withdrawal(),
    Index("documents_digest", "digest"),
    Index("documents_source", "source"),
)

facts = Table(
    "facts",
    metadata,
    _number(),
    Column("id", Text, nullable=False, unique=True),
    Column("statement", Text, nullable=False),
    Column("normal", Text, nullable=False),
    Column("claim", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("confidence", Double, nullable=False),
    Column("valid_from", Double),
    Column("valid_to", Double),
    Column("recorded", Double, nullable=False),
    Column("closed", Double),
    Column("superseded_by", Text, nullable=False),
    Column("retracted", Double),
    *_provenance(),
    Index("facts_normal", "normal"),
    Index("facts_claim", "claim"),
)

fact_confirmations = Table(
    "fact_confirmations",
    metadata,
    _number(),
    Column("fact", Text, nullable=False, index=True),
    Column("source", Text, nullable=False),
    Column("confidence", Double, nullable=False),
    Column("recorded", Double, nullable=False),
    *_provenance(),
)

releases = Table(
    "releases",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False, unique=True),
    Column("parent", Text, nullable=False),
    Column("candidate", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created", Double, nullable=False),
    Column("withdrawn", Boolean, nullable=False),
    *_provenance(),
)

candidates = Table(
    "candidates",
    metadata,
    _number(),
    Column("id", Text, nullable=False, unique=True),
    Column("skill", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created", Double, nullable=False),
    *_provenance(),
)

verdicts = Table(
    "verdicts",
    metadata,
    _number(),
    Column("candidate", Text, nullable=False, index=True),
    Column("released", Boolean, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created", Double, nullable=False),
    *_provenance(),
)

release_scores = Table(
    "release_scores",
    metadata,
    Column("release", Text, primary_key=True),
    Column("skill", Text, primary_key=True),
    Column("score", Double, nullable=False),
    Column("tasks", Integer, nullable=False),
    *_provenance(),
)

artefact_episodes = Table(
    "artefact_episodes",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("episode", Text, primary_key=True),
    *_provenance(),
    Index("artefact_episodes_episode", "episode"),
)

artefact_parents = Table(
    "artefact_parents",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("parent", Text, primary_key=True),
    *_provenance(),
)

live_moves = Table(
    "live_moves",
    metadata,
    _number(),
    Column("release", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created", Double, nullable=False),
    *_provenance(),
)

withdrawals = Table(
    "withdrawals",
    metadata,
    Column("episode", Text, primary_key=True),
    Column("created", Double, nullable=False),
    *_provenance(),
)

audit = Table(
    "audit",
    metadata,
    _number(),
    Column("kind", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created", Double, nullable=False),
    Column("previous", Text, nullable=False),
    Column("digest", Text, nullable=False),
    *_provenance(),
)

settings = Table(
    "settings",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    Column("updated", Double, nullable=False),
    *_provenance(),
)
