"""The first tables: journal, experience, knowledge, releases.

Revision ID: 0001
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    UniqueConstraint,
)

revision = "0001"
down_revision = None

Number = BigInteger().with_variant(Integer, "sqlite")


def upgrade() -> None:
    """From nothing to version 1."""
    _create_running()
    _create_knowledge()
    _create_releases()
    _create_lineage()
    _create_indexes()
    _create_full_text()


def _create_running() -> None:
    op.create_table(
        "journal",
        Column("number", Number, primary_key=True, autoincrement=True),
        Column("process", Text, nullable=False),
        Column("seq", BigInteger, nullable=False),
        Column("kind", Text, nullable=False),
        Column("format", SmallInteger, nullable=False),
        Column("body", LargeBinary),
        Column("blob", Text),
        Column("at", Double, nullable=False),
        Column("owner", Text, nullable=False),
        Column("origin", Text, nullable=False),
        UniqueConstraint("process", "seq", name="journal_process_seq"),
    )
    op.create_table(
        "processes",
        Column("id", Text, primary_key=True),
        Column("program", Text, nullable=False),
        Column("state", Text, nullable=False),
        Column("release", Text, nullable=False),
        Column("parent", Text, nullable=False),
        Column("body", LargeBinary),
        Column("blob", Text),
        Column("created", Double, nullable=False),
        Column("updated", Double, nullable=False),
        Column("owner", Text, nullable=False),
        Column("origin", Text, nullable=False),
    )
    op.create_table(
        "episodes",
        Column("number", Number, primary_key=True, autoincrement=True),
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
        Column("owner", Text, nullable=False),
        Column("origin", Text, nullable=False),
        Column("withdrawn", Double),
        Column("withdrawn_reason", Text),
    )
    op.create_table(
        "episode_labels",
        Column("episode", Text, primary_key=True),
        Column("name", Text, primary_key=True),
        Column("value", Text, nullable=False),
    )
    op.create_table(
        "audit",
        Column("number", Number, primary_key=True, autoincrement=True),
        Column("kind", Text, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("created", Double, nullable=False),
        Column("previous", Text, nullable=False),
        Column("digest", Text, nullable=False),
        Column("owner", Text, nullable=False),
        Column("origin", Text, nullable=False),
    )
    op.create_table(
        "settings",
        Column("name", Text, primary_key=True),
        Column("value", LargeBinary, nullable=False),
        Column("updated", Double, nullable=False),
        Column("owner", Text, nullable=False),
        Column("origin", Text, nullable=False),
    )


def _create_knowledge() -> None:
    op.create_table(
        "documents",
        Column("number", Number, primary_key=True, autoincrement=True),
        Column("id", Text, nullable=False, unique=True),
        Column("source", Text, nullable=False),
        Column("title", Text, nullable=False),
        Column("text", Text, nullable=False),
        Column("digest", Text, nullable=False),
        Column("created", Double, nullable=False),
        Column("owner", Text, nullable=False),
        Column("origin", Text, nullable=False),
        Column("withdrawn", Double),
        Column("withdrawn_reason", Text),
    )
    op.create_table(
        "facts",
        Column("number", Number, primary_key=True, autoincrement=True),
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
        Column("owner", Text, nullable=False),
        Column("origin", Text, nullable=False),
    )
    op.create_table(
        "fact_confirmations",
        Column("number", Number, primary_key=True, autoincrement=True),
        Column("fact", Text, nullable=False),
        Column("source", Text, nullable=False),
        Column("confidence", Double, nullable=False),
        Column("recorded", Double, nullable=False),
        Column("owner", Text, nullable=False),
        Column("origin", Text, nullable=False),
    )


def _create_releases() -> None:
    op.create_table(
        "releases",
        Column("number", BigInteger, primary_key=True, autoincrement=False),
        Column("id", Text, nullable=False, unique=True),
        Column("parent", Text, nullable=False),
        Column("candidate", Text, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("created", Double, nullable=False),
        Column("withdrawn", Boolean, nullable=False),
        Column("owner", Text, nullable=False),
        Column("origin", Text, nullable=False),
    )
    op.create_table(
        "candidates",
        Column("number", Number, primary_key=True, autoincrement=True),
        Column("id", Text, nullable=False, unique=True),
        Column("skill", Text, nullable=False),
        Column("state", Text, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("created", Double, nullable=False),
        Column("owner", Text, nullable=False),
        Column("origin", Text, nullable=False),
    )
    op.create_table(
        "verdicts",
        Column("number", Number, primary_key=True, autoincrement=True),
        Column("candidate", Text, nullable=False),
        Column("released", Boolean, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("created", Double, nullable=False),
        Column("owner", Text, nullable=False),
        Column("origin", Text, nullable=False),
    )
    op.create_table(
        "release_scores",
        Column("release", Text, primary_key=True),
        Column("skill", Text, primary_key=True),
        Column("score", Double, nullable=False),
        Column("tasks", Integer, nullable=False),
        Column("owner", Text, nullable=False),
        Column("origin", Text, nullable=False),
    )


def _create_lineage() -> None:
    op.create_table(
        "artefact_episodes",
        Column("digest", Text, primary_key=True),
        Column("episode", Text, primary_key=True),
        Column("owner", Text, nullable=False),
        Column("origin", Text, nullable=False),
    )
    op.create_table(
        "artefact_parents",
        Column("digest", Text, primary_key=True),
        Column("parent", Text, primary_key=True),
        Column("owner", Text, nullable=False),
        Column("origin", Text, nullable=False),
    )
    op.create_table(
        "live_moves",
        Column("number", Number, primary_key=True, autoincrement=True),
        Column("release", Text, nullable=False),
        Column("reason", Text, nullable=False),
        Column("created", Double, nullable=False),
        Column("owner", Text, nullable=False),
        Column("origin", Text, nullable=False),
    )
    op.create_table(
        "withdrawals",
        Column("episode", Text, primary_key=True),
        Column("created", Double, nullable=False),
        Column("owner", Text, nullable=False),
        Column("origin", Text, nullable=False),
    )


def _create_indexes() -> None:
    op.create_index("processes_created", "processes", ["created"])
    op.create_index("processes_state", "processes", ["state", "created"])
    op.create_index("episodes_skill", "episodes", ["skill", "split"])
    op.create_index("episodes_environment", "episodes", ["environment", "split"])
    op.create_index("episodes_release", "episodes", ["release"])
    op.create_index("episode_labels_value", "episode_labels", ["name", "value"])
    op.create_index("documents_digest", "documents", ["digest"])
    op.create_index("documents_source", "documents", ["source"])
    op.create_index("facts_normal", "facts", ["normal"])
    op.create_index("facts_claim", "facts", ["claim"])
    op.create_index("ix_fact_confirmations_fact", "fact_confirmations", ["fact"])
    op.create_index("ix_verdicts_candidate", "verdicts", ["candidate"])
    op.create_index("artefact_episodes_episode", "artefact_episodes", ["episode"])


def _create_full_text() -> None:
    """Full text is each dialect's own: FTS5 here, a `tsvector` column with a GIN index on PostgreSQL."""
    if op.get_bind().dialect.name != "sqlite":
        return
    for table in ("facts", "documents"):
        op.execute(
            f"CREATE VIRTUAL TABLE {table}_text USING fts5(words, tokenize = 'porter unicode61 remove_diacritics 2')"
        )
