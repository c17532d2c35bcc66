"""Numbered steps from an empty database to ``schema``, in plain SQL for both databases; ``upgrade`` applies them.

A step that was released is never edited; a change is a new one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mm_pipeline.adapters.journal.append_only import (
    REFUSE_CHANGE_IN_POSTGRES,
    REFUSE_DELETION_IN_POSTGRES,
    append_only_in_postgres,
    append_only_in_sqlite,
    leaves_when_set_aside_in_postgres,
    leaves_when_set_aside_in_sqlite,
)
from mm_pipeline.adapters.journal.flat_tables import FLAT_KEYS, FLAT_TABLES
from mm_pipeline.adapters.journal.owner_table import OWNER_TABLES
from mm_pipeline.adapters.journal.set_aside_tables import MAY_BE_SET_ASIDE, SET_ASIDE_KEYS, SET_ASIDE_TABLES


@dataclass(frozen=True)
class Migration:
    """SQL statements by dialect."""

    version: int
    name: str
    sqlite: tuple[str, ...]
    postgresql: tuple[str, ...]


_TABLES = (
    """
    CREATE TABLE grid_versions (
        id {identity},
        grid TEXT NOT NULL,
        version_hash TEXT NOT NULL,
        valid_from BIGINT NOT NULL,
        seen_at BIGINT NOT NULL,
        is_removed BOOLEAN NOT NULL,
        definition TEXT,
        CHECK (is_removed = (definition IS NULL))
    )
    """,
    "CREATE INDEX grid_versions_by_grid ON grid_versions (grid, id)",
    """
    CREATE TABLE evaluations (
        id {identity},
        grid TEXT NOT NULL,
        evaluated_at BIGINT NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('exit', 'entry')),
        input_hash TEXT NOT NULL,
        state TEXT NOT NULL,
        price DOUBLE PRECISION,
        fired TEXT NOT NULL,
        triggers TEXT NOT NULL,
        reasons TEXT NOT NULL,
        grid_version TEXT NOT NULL,
        settings_hash TEXT NOT NULL,
        code_version TEXT NOT NULL,
        is_live BOOLEAN NOT NULL,
        recorded_at BIGINT NOT NULL,
        UNIQUE (grid, evaluated_at, kind, input_hash)
    )
    """,
    "CREATE INDEX evaluations_by_time ON evaluations (evaluated_at)",
    """
    CREATE TABLE market_notices (
        id {identity},
        market TEXT NOT NULL,
        tick_at BIGINT NOT NULL,
        code TEXT NOT NULL,
        message TEXT NOT NULL,
        UNIQUE (market, tick_at, code)
    )
    """,
    "CREATE INDEX market_notices_by_time ON market_notices (tick_at)",
    "CREATE TABLE circuits (name TEXT PRIMARY KEY, state TEXT NOT NULL)",
)
_UNIQUE_KEYS = {
    "grid_versions": ("id",),
    "evaluations": ("grid", "evaluated_at", "kind", "input_hash"),
    "market_notices": ("market", "tick_at", "code"),
}


_NOTIFICATION_TABLES = (
    """
    CREATE TABLE pages (
        id {identity},
        page TEXT NOT NULL UNIQUE,
        notice TEXT NOT NULL,
        grids TEXT NOT NULL,
        evaluated_at BIGINT NOT NULL,
        decided_at BIGINT NOT NULL,
        priority INTEGER NOT NULL CHECK (priority BETWEEN -2 AND 2),
        title TEXT NOT NULL,
        text TEXT NOT NULL,
        image {bytes},
        retry_s INTEGER,
        expire_s INTEGER,
        respond_by BIGINT,
        settings_hash TEXT NOT NULL,
        code_version TEXT NOT NULL
    )
    """,
    "CREATE INDEX pages_by_time ON pages (decided_at)",
    """
    CREATE TABLE decisions (
        id {identity},
        grid TEXT NOT NULL,
        evaluated_at BIGINT NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('exit', 'entry')),
        notice TEXT NOT NULL,
        state TEXT NOT NULL,
        cause TEXT NOT NULL,
        episode_at BIGINT NOT NULL,
        number INTEGER NOT NULL CHECK (number >= 1),
        triggers TEXT NOT NULL,
        page TEXT NOT NULL,
        held_back TEXT,
        grid_version TEXT NOT NULL,
        settings_hash TEXT NOT NULL,
        code_version TEXT NOT NULL,
        decided_at BIGINT NOT NULL,
        UNIQUE (grid, evaluated_at, kind)
    )
    """,
    "CREATE INDEX decisions_by_page ON decisions (page)",
    """
    CREATE TABLE delivery_events (
        id {identity},
        page TEXT NOT NULL,
        channel TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        event TEXT NOT NULL,
        at BIGINT NOT NULL,
        detail TEXT NOT NULL,
        receipt TEXT,
        settings_hash TEXT NOT NULL,
        code_version TEXT NOT NULL,
        UNIQUE (page, channel, attempt, event)
    )
    """,
    """
    CREATE TABLE responses (
        id {identity},
        once TEXT NOT NULL UNIQUE,
        grid TEXT NOT NULL,
        at BIGINT NOT NULL,
        kind TEXT NOT NULL,
        page TEXT NOT NULL,
        source TEXT NOT NULL,
        by_whom TEXT NOT NULL,
        settings_hash TEXT NOT NULL,
        code_version TEXT NOT NULL,
        recorded_at BIGINT NOT NULL
    )
    """,
    "CREATE INDEX responses_by_grid ON responses (grid, at)",
    """
    CREATE TABLE outbox (
        page TEXT NOT NULL,
        channel TEXT NOT NULL,
        rank INTEGER NOT NULL,
        is_due BOOLEAN NOT NULL,
        due_at BIGINT NOT NULL,
        attempts INTEGER NOT NULL,
        owner TEXT,
        leased_until BIGINT,
        PRIMARY KEY (page, channel)
    )
    """,
    "CREATE INDEX outbox_due ON outbox (is_due, due_at)",
)
_NOTIFICATION_KEYS = {
    "pages": ("page",),
    "decisions": ("grid", "evaluated_at", "kind"),
    "delivery_events": ("page", "channel", "attempt", "event"),
    "responses": ("once",),
}

_CIRCUIT_TABLES = (
    """
    CREATE TABLE circuit_states (
        id {identity},
        name TEXT NOT NULL,
        at BIGINT NOT NULL,
        failures INTEGER NOT NULL,
        open_until BIGINT,
        problem TEXT NOT NULL,
        settings_hash TEXT NOT NULL,
        code_version TEXT NOT NULL
    )
    """,
    "CREATE INDEX circuit_states_by_name ON circuit_states (name, id)",
    "CREATE INDEX circuit_states_by_time ON circuit_states (at)",
    "DROP TABLE circuits",
)
"""What stood in ``circuits`` is not carried over: it was the present state alone, and an exchange is asked anew."""
_CIRCUIT_KEYS = {"circuit_states": ("id",)}

_SQLITE_TYPES = {"identity": "INTEGER PRIMARY KEY AUTOINCREMENT", "bytes": "BLOB"}
_POSTGRES_TYPES = {"identity": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "bytes": "BYTEA"}


def _tables(statements: Iterable[str], types: dict[str, str]) -> Iterable[str]:
    return (statement.format_map(types) for statement in statements)


MIGRATIONS = (
    Migration(
        version=1,
        name="grid versions, evaluations, market notices, circuits",
        sqlite=(
            *_tables(_TABLES, _SQLITE_TYPES),
            *(sql for table, key in _UNIQUE_KEYS.items() for sql in append_only_in_sqlite(table, key)),
        ),
        postgresql=(
            *_tables(_TABLES, _POSTGRES_TYPES),
            REFUSE_CHANGE_IN_POSTGRES,
            *append_only_in_postgres(_UNIQUE_KEYS),
        ),
    ),
    Migration(
        version=2,
        name="pages, decisions, delivery events, responses, outbox",
        sqlite=(
            *_tables(_NOTIFICATION_TABLES, _SQLITE_TYPES),
            *(sql for table, key in _NOTIFICATION_KEYS.items() for sql in append_only_in_sqlite(table, key)),
        ),
        postgresql=(
            *_tables(_NOTIFICATION_TABLES, _POSTGRES_TYPES),
            *append_only_in_postgres(_NOTIFICATION_KEYS),
        ),
    ),
    Migration(
        version=3,
        name="position and risk of evaluations",
        sqlite=("ALTER TABLE evaluations ADD COLUMN risk TEXT",),
        postgresql=("ALTER TABLE evaluations ADD COLUMN risk TEXT",),
    ),
    Migration(
        version=4,
        name="circuit states as history",
        sqlite=(
            *_tables(_CIRCUIT_TABLES, _SQLITE_TYPES),
            *(sql for table, key in _CIRCUIT_KEYS.items() for sql in append_only_in_sqlite(table, key)),
        ),
        postgresql=(
            *_tables(_CIRCUIT_TABLES, _POSTGRES_TYPES),
            *append_only_in_postgres(_CIRCUIT_KEYS),
        ),
    ),
    Migration(
        version=5,
        name="who retired a grid",
        sqlite=("ALTER TABLE grid_versions ADD COLUMN retired_by TEXT",),
        postgresql=("ALTER TABLE grid_versions ADD COLUMN retired_by TEXT",),
    ),
    Migration(
        version=6,
        name="what accounts showed after a report of flat",
        sqlite=(
            *_tables(FLAT_TABLES, _SQLITE_TYPES),
            *(sql for table, key in FLAT_KEYS.items() for sql in append_only_in_sqlite(table, key)),
        ),
        postgresql=(
            *_tables(FLAT_TABLES, _POSTGRES_TYPES),
            *append_only_in_postgres(FLAT_KEYS),
        ),
    ),
    Migration(
        version=7,
        name="newest bar that evaluations used",
        sqlite=("ALTER TABLE evaluations ADD COLUMN as_of BIGINT",),
        postgresql=("ALTER TABLE evaluations ADD COLUMN as_of BIGINT",),
    ),
    Migration(
        version=8,
        name="rows that are set aside",
        sqlite=(
            *_tables(SET_ASIDE_TABLES, _SQLITE_TYPES),
            *(sql for table, key in SET_ASIDE_KEYS.items() for sql in append_only_in_sqlite(table, key)),
            *(sql for table in MAY_BE_SET_ASIDE for sql in leaves_when_set_aside_in_sqlite(table)),
        ),
        postgresql=(
            *_tables(SET_ASIDE_TABLES, _POSTGRES_TYPES),
            *append_only_in_postgres(SET_ASIDE_KEYS),
            REFUSE_DELETION_IN_POSTGRES,
            *(sql for table in MAY_BE_SET_ASIDE for sql in leaves_when_set_aside_in_postgres(table)),
        ),
    ),
    Migration(version=9, name="whose journal it is", sqlite=OWNER_TABLES, postgresql=OWNER_TABLES),
)
