"""Whether a database has the tables of this version, and how it gets them.

In: an open database. Out: the same with tables of `VERSION`, or `StoreError`.
It does not know the tables themselves, and loads Alembic only for a database that is new or behind.
"""

from __future__ import annotations

from pathlib import Path

from llmagentos.errors import StoreError
from llmagentos.store.database import Database

VERSION = 2
"""Number of the last migration; the database carries the number of its own as SQLite's `user_version`."""

APPLICATION_ID = 0x4C4C4D41
"""Marks a SQLite file as ours (the letters LLMA)."""


def prepare(database: Database) -> None:
    """Check the version, and migrate in one synced transaction where the database is new or behind."""
    found = _version(database)
    if found == VERSION:
        return
    if found > VERSION:
        raise StoreError(
            f"The database {database.path} has version {found}; this LLMAgentOS knows {VERSION}. "
            "Upgrade with: pip install --upgrade llmagentos"
        )
    if database.read_only:
        raise StoreError(
            f"The database {database.path} has version {found} and needs {VERSION}, and it is open read-only. "
            "Let it be brought up to date by a command that owns the home: llmagentos doctor"
        )
    _migrate(database)


def _version(database: Database) -> int:
    version = int(database.execute("PRAGMA user_version")[0][0])
    mark = int(database.execute("PRAGMA application_id")[0][0])
    if mark == APPLICATION_ID:
        return version
    if mark or version or database.execute("SELECT count(*) FROM sqlite_master")[0][0]:
        raise StoreError(
            f"{database.path} belongs to another program. Move it away, or choose another home by LLMAGENTOS_HOME."
        )
    return 0


def _migrate(database: Database) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    with database.transaction(sync=True) as connection:
        # Another process may have migrated while this one waited for the lock.
        if _version(database) == VERSION:
            return
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")
        connection.exec_driver_sql(f"PRAGMA user_version={VERSION}")
