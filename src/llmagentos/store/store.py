"""The store: one home's database and blobs behind one door.

In: the folder of a home. Out: its journal, processes, episodes, documents, facts, releases, audit, settings and blobs.
It does not know what the rooms above make of them, nor who owns the home (see `store.lock`).
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from llmagentos.errors import StoreError
from llmagentos.store import schema
from llmagentos.store.blobs import Blobs
from llmagentos.store.database import Database
from llmagentos.store.journal import Journal
from llmagentos.store.processes import Processes

if TYPE_CHECKING:
    from llmagentos.store.audit import AuditLog
    from llmagentos.store.documents import Documents
    from llmagentos.store.episodes import EpisodeTable
    from llmagentos.store.facts import FactTable
    from llmagentos.store.feedback import FeedbackTable
    from llmagentos.store.releases import ReleaseTable
    from llmagentos.store.settings import StoredSettings

DATABASE_NAME = "llmagentos.db"


class Store:
    """Everything that one home remembers. Thread-safe; `close()` or `with` ends it.

    Journal and processes speak to SQLite directly; the other tables load SQLAlchemy when first touched.
    """

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self.database = database
        self.blobs = blobs
        self.journal = Journal(database, blobs)
        self.processes = Processes(database, blobs)

    @classmethod
    def open(cls, home: Path, *, read_only: bool = False) -> Store:
        """Open the home's store, made or migrated where needed; `read_only` neither makes nor changes anything.

        The writer should hold the home's `HomeLock`; readers need not.
        """
        path = home / DATABASE_NAME
        if read_only and not path.exists():
            raise StoreError(
                f"There is no database in {home}. Check LLMAGENTOS_HOME, or begin one with: llmagentos doctor"
            )
        if not read_only:
            _make_folder(home)
        database = Database(path, read_only=read_only)
        try:
            schema.prepare(database)
            return cls(database, Blobs(home / "blobs", read_only=read_only))
        except BaseException:
            database.close()
            raise

    @cached_property
    def episodes(self) -> EpisodeTable:
        """Rows of episodes; `experience.Episodes` gives them meaning."""
        from llmagentos.store.episodes import EpisodeTable

        return EpisodeTable(self.database, self.blobs)

    @cached_property
    def feedback(self) -> FeedbackTable:
        """Rows of feedback; `experience.People` gives them meaning."""
        from llmagentos.store.feedback import FeedbackTable

        return FeedbackTable(self.database)

    @cached_property
    def documents(self) -> Documents:
        """Texts that were taken in, with full-text search."""
        from llmagentos.store.documents import Documents

        return Documents(self.database)

    @cached_property
    def facts(self) -> FactTable:
        """Rows of facts; `knowledge.Facts` gives them meaning."""
        from llmagentos.store.facts import FactTable

        return FactTable(self.database)

    @cached_property
    def releases(self) -> ReleaseTable:
        """Rows of releases, candidates and verdicts; `releases.Releases` gives them meaning."""
        from llmagentos.store.releases import ReleaseTable

        return ReleaseTable(self.database)

    @cached_property
    def audit(self) -> AuditLog:
        """The hash-chained log of decisions."""
        from llmagentos.store.audit import AuditLog

        return AuditLog(self.database)

    @cached_property
    def settings(self) -> StoredSettings:
        """Named values that outlive a run."""
        from llmagentos.store.settings import StoredSettings

        return StoredSettings(self.database)

    def check(self) -> list[str]:
        """Read the whole database and every blob; one sentence for each thing that is damaged."""
        found = [
            f"The database {self.database.path} is damaged: {row[0]}"
            for row in self.database.execute("PRAGMA integrity_check")
            if row[0] != "ok"
        ]
        for digest in self.blobs.digests():
            try:
                self.blobs.verify(digest)
            except StoreError as error:
                found.append(str(error))
        broken = self.audit.first_broken()
        if broken is not None:
            found.append(f"The audit log was changed at entry {broken}: what follows it cannot be trusted.")
        return found

    def close(self) -> None:
        """Close the database; closing twice does nothing."""
        self.database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _make_folder(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StoreError(
            f"The home {home} cannot be made: {error.strerror}. Choose another by LLMAGENTOS_HOME."
        ) from error
