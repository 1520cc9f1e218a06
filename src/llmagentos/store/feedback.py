"""Rows of feedback.

In: `Feedback`. Out: the same, in the order it was given. It does not know what is learned from it.
"""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Row, insert, select, update

from llmagentos.errors import NotFoundError
from llmagentos.records.feedback import Feedback
from llmagentos.store.database import Database
from llmagentos.store.tables import feedback

_FIELDS = tuple(Feedback.__dataclass_fields__)


class FeedbackTable:
    """Add, list, withdraw. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, given: Feedback) -> None:
        """Store one; synced, for it is a person's word."""
        values = {name: getattr(given, name) for name in _FIELDS}
        with self._database.transaction(sync=True) as connection:
            connection.execute(insert(feedback).values(**values, origin="person"))

    def get(self, identifier: str) -> Feedback:
        """One, withdrawn or not; `NotFoundError` for an unknown one."""
        with self._database.reading() as connection:
            row = connection.execute(select(feedback).where(feedback.c.id == identifier)).one_or_none()
        if row is None:
            raise NotFoundError("feedback", identifier, hint="See what there is: llmagentos feedback list")
        return _feedback(row)

    def list(self, *, episode: str | None = None, withdrawn: bool = False) -> list[Feedback]:
        """All in the order given, those of one episode or of every one; with `withdrawn` those too."""
        query = select(feedback).order_by(feedback.c.number)
        if episode is not None:
            query = query.where(feedback.c.episode == episode)
        if not withdrawn:
            query = query.where(feedback.c.withdrawn.is_(None))
        with self._database.reading() as connection:
            return [_feedback(row) for row in connection.execute(query)]

    def withdraw(self, identifier: str, reason: str) -> None:
        """Exclude one from now on; synced. A second time keeps the first reason."""
        this = (feedback.c.id == identifier, feedback.c.withdrawn.is_(None))
        with self._database.transaction(sync=True) as connection:
            connection.execute(update(feedback).where(*this).values(withdrawn=time.time(), withdrawn_reason=reason))


def _feedback(row: Row[Any]) -> Feedback:
    return Feedback(**{name: getattr(row, name) for name in _FIELDS})
