"""Alembic's door: runs the steps on the connection it is handed, inside that connection's transaction.

In: `config.attributes["connection"]`. Out: migrated tables.
It does not know where the database is.
"""

from __future__ import annotations

from alembic import context

from llmagentos.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite's DDL is transactional; a kill in the middle must leave the old tables.
    transactional_ddl=True,
)
context.run_migrations()
