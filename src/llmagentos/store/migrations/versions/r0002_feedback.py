"""What people said about replies.

Revision ID: 0002
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Double, Integer, Text

revision = "0002"
down_revision = "0001"

Number = BigInteger().with_variant(Integer, "sqlite")


def upgrade() -> None:
    """From version 1 to 2."""
    op.create_table(
        "feedback",
        Column("number", Number, primary_key=True, autoincrement=True),
        Column("id", Text, nullable=False, unique=True),
        Column("episode", Text, nullable=False),
        Column("kind", Text, nullable=False),
        Column("text", Text, nullable=False),
        Column("place", Integer, nullable=False),
        Column("reviewer", Text, nullable=False),
        Column("shown", Text, nullable=False),
        Column("created", Double, nullable=False),
        Column("owner", Text, nullable=False),
        Column("origin", Text, nullable=False),
        Column("withdrawn", Double),
        Column("withdrawn_reason", Text),
    )
    op.create_index("feedback_episode", "feedback", ["episode"])
