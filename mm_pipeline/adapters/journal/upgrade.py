"""Brings a database to the newest migration, in one transaction: a start that is killed has changed nothing."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from mm_pipeline.adapters.journal.database import Database
from mm_pipeline.adapters.journal.migrations import MIGRATIONS, Migration
from mm_pipeline.adapters.journal.schema import metadata
from mm_pipeline.domain.errors import StorageError

# Any constant will do: it names the lock that first starts on one Postgres wait for.
_LOCK_ID = 6_084_117_203

_REPAIRS: Final = {
    (
        "delivery_events",
        "settings_hash",
    ): "ALTER TABLE delivery_events ADD COLUMN settings_hash TEXT NOT NULL DEFAULT ''",
    ("delivery_events", "code_version"): "ALTER TABLE delivery_events ADD COLUMN code_version TEXT NOT NULL DEFAULT ''",
}
"""Columns that step 2 makes since it was edited; journals of the two days before lack them, and could send nothing."""


def migrate(database: Database, migrations: tuple[Migration, ...] = MIGRATIONS) -> list[int]:
    """Bring the database to the newest version; any number of processes may do so at once.

    Returns
    -------
    list of int
        Versions applied by this call, in order; empty where there was nothing to do.

    Raises
    ------
    StorageError
        When the database is of a newer version than this program knows, or its tables are not those of its version.
    """
    newest = migrations[-1].version
    is_present = newest >= MIGRATIONS[-1].version
    with database.reading() as connection:
        stored = _stored_version(connection)
        is_whole = stored == newest and not (is_present and _missing_columns(connection))
    if stored <= newest and not is_whole:
        with database.writing() as connection:
            applied = _apply(connection, migrations)
            if is_present:
                _repair(connection)
            return applied
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


def _repair(connection: sa.Connection) -> None:
    """Add what an edited step left out; any other difference is an error, or writes would fail in silence."""
    for column in _missing_columns(connection):
        if column not in _REPAIRS:
            table, name = column
            raise StorageError(
                f"the journal's table {table} has no column {name}: it is not of the version that it says.",
                "Put a backup of it back, or set it aside to begin a new one.",
            )
        connection.exec_driver_sql(_REPAIRS[column])


def _missing_columns(connection: sa.Connection) -> list[tuple[str, str]]:
    """Table and column of everything that this program writes and the database does not have."""
    found = sa.inspect(connection).get_multi_columns(filter_names=list(metadata.tables))
    there = {(table, column["name"]) for (_, table), columns in found.items() for column in columns}
    wanted = [(table.name, column.name) for table in metadata.sorted_tables for column in table.columns]
    return [column for column in wanted if column not in there]
