"""Named JSON values that outlive a run: what a person chose, where long work stands.

In: name and value. Out: the value last put.
It does not know what any name means.
"""

from __future__ import annotations

import time

from sqlalchemy import delete, select, update
from sqlalchemy import insert as insert_into

from llmagentos.records.identity import JSON, LOCAL_OWNER, Origin, Owner
from llmagentos.store.database import Database
from llmagentos.store.journal import decode_json, encode_json
from llmagentos.store.tables import settings


class StoredSettings:
    """A small dictionary in the database. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str, default: JSON = None) -> JSON:
        """The value of `name`, or `default` where nothing was put."""
        with self._database.reading() as connection:
            value = connection.execute(select(settings.c.value).where(settings.c.name == name)).scalar_one_or_none()
        return default if value is None else decode_json(value)

    def put(self, name: str, value: JSON, *, owner: Owner = LOCAL_OWNER, origin: Origin = "own") -> None:
        """Keep `value` under `name` in place of what was there; synced."""
        row = {"value": encode_json(value), "updated": time.time(), "owner": owner, "origin": origin}
        with self._database.transaction(sync=True) as connection:
            changed = connection.execute(update(settings).where(settings.c.name == name).values(**row))
            if changed.rowcount == 0:
                connection.execute(insert_into(settings).values(name=name, **row))

    def delete(self, name: str) -> None:
        """Forget `name`; unknown names are ignored."""
        with self._database.transaction() as connection:
            connection.execute(delete(settings).where(settings.c.name == name))

    def names(self) -> list[str]:
        """Every name that has a value, sorted."""
        with self._database.reading() as connection:
            return list(connection.execute(select(settings.c.name).order_by(settings.c.name)).scalars())
