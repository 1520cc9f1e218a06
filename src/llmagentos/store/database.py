"""One SQLite file in WAL mode, shared by all threads of its owner.

In: statements, from `sqlite3` directly where every microsecond counts and from SQLAlchemy Core elsewhere.
Out: rows, and `StoreError` with a remedy where the file or the disk refuses.
It does not know any table.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llmagentos.errors import StoreError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

BUSY_SECONDS = 30.0
"""How long a statement waits for another process that is writing."""

_SYNCHRONOUS = {False: "PRAGMA synchronous=NORMAL", True: "PRAGMA synchronous=FULL"}


class Database:
    """The connections of one process to one file. Thread-safe.

    One connection writes, under one lock, so that threads of a process never meet SQLite's own busy handler;
    long reads through SQLAlchemy have connections of their own and do not hold a writer up.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.read_only = read_only
        self._lock = threading.RLock()
        self._active: Connection | None = None
        self._active_sync = False
        self._owner = 0
        self._closed = False
        self._engines: dict[str, Engine] = {}
        self._engines_lock = threading.Lock()
        try:
            self._connection = self._connect()
            if not read_only:
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute(_SYNCHRONOUS[False])
        except sqlite3.Error as error:
            raise self._explain(error) from error

    def execute(self, sql: str, parameters: Sequence[Any] = (), *, sync: bool = False) -> list[Any]:
        """Run one statement on the writing connection and commit it, unless the thread is in a transaction.

        With `sync` the commit survives loss of power, without it only the death of the process.
        """
        with self._lock:
            try:
                if not sync:
                    return self._connection.execute(sql, parameters).fetchall()
                with self._durability(sync):
                    return self._connection.execute(sql, parameters).fetchall()
            except sqlite3.Error as error:
                raise self._explain(error) from error

    @contextmanager
    def transaction(self, *, sync: bool = False) -> Iterator[Connection]:
        """All or nothing, through SQLAlchemy; nested calls in one thread join the outermost."""
        with self._lock, self._explained():
            if self._active is not None:
                if sync and not self._active_sync:
                    raise StoreError(
                        "A synced transaction was begun inside one that is not. Open the outer one with sync=True."
                    )
                yield self._active
                return
            with self._durability(sync), self._engine("writer").begin() as connection:
                self._active, self._active_sync, self._owner = connection, sync, threading.get_ident()
                try:
                    yield connection
                finally:
                    self._active, self._active_sync, self._owner = None, False, 0

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read from: one consistent state; inside a transaction, that transaction's."""
        active = self._active
        if active is not None and self._owner == threading.get_ident():
            yield active
            return
        with self._explained(), self._engine("reader").begin() as connection:
            yield connection

    def close(self) -> None:
        """Close every connection; later statements raise `StoreError`."""
        with self._lock:
            with self._engines_lock:
                if "reader" in self._engines:
                    self._engines["reader"].dispose()
            self._closed = True
            self._connection.close()

    def _engine(self, kind: Literal["writer", "reader"]) -> Engine:
        """SQLAlchemy over our connections, loaded at the first statement that needs it."""
        with self._engines_lock:
            if kind not in self._engines:
                from sqlalchemy import create_engine, event
                from sqlalchemy.pool import QueuePool, StaticPool

                if kind == "writer":
                    begin = "BEGIN IMMEDIATE"
                    engine = create_engine("sqlite://", creator=lambda: self._connection, poolclass=StaticPool)
                else:
                    begin = "BEGIN"
                    engine = create_engine("sqlite://", creator=self._connect, poolclass=QueuePool, max_overflow=-1)
                event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
                self._engines[kind] = engine
            return self._engines[kind]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn errors of SQLAlchemy and the driver into `StoreError`; broken constraints are the caller's and pass."""
        from sqlalchemy.exc import DBAPIError, IntegrityError

        try:
            yield
        except IntegrityError:
            raise
        except DBAPIError as error:
            if isinstance(error.orig, sqlite3.Error):
                raise self._explain(error.orig) from error
            raise
        except sqlite3.Error as error:
            raise self._explain(error) from error

    def _connect(self) -> sqlite3.Connection:
        if self._closed:
            raise self._closed_error()
        mode = "ro" if self.read_only else "rwc"
        return sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )

    @contextmanager
    def _durability(self, sync: bool) -> Iterator[None]:
        """In WAL mode FULL syncs the log at commit, and with it everything that was committed before."""
        if not sync or self._active is not None:
            if sync and not self._active_sync:
                raise StoreError(
                    "A synced write was asked for inside a transaction that is not. Open it with sync=True."
                )
            yield
            return
        self._connection.execute(_SYNCHRONOUS[True])
        try:
            yield
        finally:
            self._connection.execute(_SYNCHRONOUS[False])

    def _closed_error(self) -> StoreError:
        return StoreError(
            f"The store over {self.path} is closed. Open it again with Store.open({str(self.path.parent)!r})."
        )

    def _explain(self, error: sqlite3.Error) -> StoreError:
        if self._closed:
            return self._closed_error()
        code = getattr(error, "sqlite_errorname", None) or ""
        what = f"The database {self.path}"
        if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            return StoreError(
                f"{what} is damaged ({error}). Restore it from a backup, or move it aside with "
                f"`mv {self.path} {self.path}.damaged` to begin anew (models and blobs stay); "
                f"`sqlite3 {self.path}.damaged .recover` saves what can be read."
            )
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return StoreError(
                f"{what} is being written by another process for over {BUSY_SECONDS:.0f} s. Try again when it is done."
            )
        if code.startswith("SQLITE_FULL"):
            return StoreError(f"{what} cannot grow: the disk is full. Free some space and run the command again.")
        if code.startswith("SQLITE_READONLY"):
            return StoreError(f"{what} is open read-only, so nothing can be written. Open the home for writing.")
        if code.startswith(("SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_IOERR", "SQLITE_AUTH")):
            return StoreError(
                f"{what} cannot be opened or read ({error}). Look at its permissions and the disk: llmagentos doctor"
            )
        return StoreError(f"{what} refused a statement ({error}). Run: llmagentos doctor")
