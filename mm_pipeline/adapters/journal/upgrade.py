"""Brings a database to the newest migration, in one transaction: a start that is killed has changed nothing."""

from __future__ import annotations

import sqlalchemy as sa

from mm_pipeline.adapters.journal.database import Database
from mm_pipeline.adapters.journal.migrations import MIGRATIONS, Migration
from mm_pipeline.domain.errors import StorageError

# Any constant will do: it names the lock that first starts on one Postgres wait for.
_LOCK_ID = 6_084_117_203


def migrate(database: Database, migrations: tuple[Migration, ...] = MIGRATIONS) -> list[int]:
    """Bring the database to the newest version; any number of processes may do so at once.

    Returns
    -------
    list of int
        Versions applied by this call, in order; empty where there was nothing to do.

    Raises
    ------
    StorageError
        When the database is of a newer version than this program knows.
    """
    newest = migrations[-1].version
    with database.reading() as connection:
        stored = _stored_version(connection)
    if stored < newest:
        with database.writing() as connection:
            return _apply(connection, migrations)
    if stored > newest:
        raise StorageError(
            f"the journal is of version {stored}, this program knows {newest}.",
            "Start the newer mm_pipeline that wrote it; an older one could damage it.",
        )
    return []


def _apply(connection: sa.Connection, migrations: tuple[Migration, ...]) -> list[int]:
    dialect = connection.dialect.name
    if dialect == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:id)"), {"id": _LOCK_ID})
    stored = _stored_version(connection)
    due = [migration for migration in migrations if migration.version > stored]
    if stored == 0:
        connection.exec_driver_sql("CREATE TABLE journal_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL)")
    for migration in due:
        for statement in migration.sqlite if dialect == "sqlite" else migration.postgresql:
            connection.exec_driver_sql(statement)
        connection.execute(
            sa.text("INSERT INTO journal_migrations (version, name) VALUES (:version, :name)"),
            {"version": migration.version, "name": migration.name},
        )
    return [migration.version for migration in due]


def _stored_version(connection: sa.Connection) -> int:
    if not sa.inspect(connection).has_table("journal_migrations"):
        return 0
    return connection.execute(sa.text("SELECT max(version) FROM journal_migrations")).scalar_one() or 0
