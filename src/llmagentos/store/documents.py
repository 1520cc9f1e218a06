"""Documents that were taken in, found again by their words.

In: clean texts with their sources. Out: `Document`s, by identifier, source or full-text search.
It does not know how a source is read or cleaned.
"""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Row, func, insert, select, update

from llmagentos.errors import ConfigError, NotFoundError
from llmagentos.records.document import Document, ScoredDocument
from llmagentos.store.database import Database
from llmagentos.store.fulltext import TextIndex
from llmagentos.store.tables import documents

_FIELDS = tuple(Document.__dataclass_fields__)


class Documents:
    """Add, read, withdraw, search. Thread-safe; a withdrawn document is out of every answer."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._index = TextIndex("documents")

    def add(self, document: Document) -> Document:
        """Store a document; one of the same digest, source and owner is stored once, and the stored one returned."""
        if not document.text.strip():
            raise ConfigError(f"The document from {document.source!r} is empty. Give a source with text in it.")
        same = select(documents).where(
            documents.c.digest == document.digest,
            documents.c.source == document.source,
            documents.c.owner == document.owner,
            documents.c.withdrawn.is_(None),
        )
        values = {name: getattr(document, name) for name in _FIELDS}
        with self._database.transaction() as connection:
            known = connection.execute(same).first()
            if known:
                return _document(known)
            key = connection.execute(insert(documents).values(**values)).inserted_primary_key
            if key:
                self._index.add(connection, int(key[0]), f"{document.title}\n{document.text}")
        return document

    def get(self, identifier: str) -> Document:
        """One document, or `NotFoundError` for an unknown or withdrawn one."""
        query = select(documents).where(documents.c.id == identifier, documents.c.withdrawn.is_(None))
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFoundError("document", identifier)
        return _document(row)

    def count(self) -> int:
        """How many documents count."""
        query = select(func.count()).select_from(documents).where(documents.c.withdrawn.is_(None))
        with self._database.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def withdraw(self, identifier: str, reason: str) -> None:
        """Take a document out of every later answer; synced. `NotFoundError` for an unknown or withdrawn one."""
        this = (documents.c.id == identifier, documents.c.withdrawn.is_(None))
        with self._database.transaction(sync=True) as connection:
            number = connection.execute(select(documents.c.number).where(*this)).scalar_one_or_none()
            if number is None:
                raise NotFoundError("document", identifier)
            connection.execute(update(documents).where(*this).values(withdrawn=time.time(), withdrawn_reason=reason))
            self._index.remove(connection, number)

    def search(self, query: str, limit: int = 5) -> list[ScoredDocument]:
        """Documents with any of the query's words, best first; the query is text, its punctuation means nothing."""
        found = self._index.ranked(query)
        if found is None:
            return []
        ranked = (
            select(documents, found.c.score)
            .join(found, found.c.number == documents.c.number)
            .where(documents.c.withdrawn.is_(None))
            .order_by(found.c.score.desc(), documents.c.number)
            .limit(limit)
        )
        with self._database.reading() as connection:
            return [ScoredDocument(_document(row), row.score) for row in connection.execute(ranked)]

    def list(self, *, source: str | None = None, limit: int | None = None) -> list[Document]:
        """Documents in the order they came, of one source or all."""
        query = select(documents).where(documents.c.withdrawn.is_(None)).order_by(documents.c.number).limit(limit)
        if source is not None:
            query = query.where(documents.c.source == source)
        with self._database.reading() as connection:
            return [_document(row) for row in connection.execute(query)]


def _document(row: Row[Any]) -> Document:
    return Document(**{name: getattr(row, name) for name in _FIELDS})
