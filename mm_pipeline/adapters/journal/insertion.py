"""The one way rows enter an append-only table."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from mm_pipeline.adapters.journal import schema
from mm_pipeline.adapters.journal.setting_aside import CLOCK_AHEAD, set_aside, set_aside_pages
from mm_pipeline.adapters.journal.valid import END_OF_TIME, TIMES, is_future, limit_now

_AT_ONCE: Final = 200
"""Rows asked about in one statement; SQLite bounds how deep an expression may be."""


def insert_new(connection: sa.Connection, table: sa.Table, key: tuple[str, ...], rows: list[dict[str, Any]]) -> int:
    """Insert the rows whose unique key is not there yet; others, also twins within ``rows``, are ignored.

    They are inserted in the order of the key: two writers of the same rows then wait and cannot deadlock. A row of a
    time that has not come counts as never made: it is set aside, and the true one takes its place.

    Returns
    -------
    int
        Number of rows that were new.
    """
    if not rows:
        return 0
    ordered = sorted(rows, key=lambda row: tuple(row[column] for column in key))
    made = _inserted(connection, table, key, ordered)
    if made == len(ordered) or table not in TIMES or limit_now() == END_OF_TIME:
        return made
    gone = sum(
        _make_way(connection, table, key, ordered[first : first + _AT_ONCE])
        for first in range(0, len(ordered), _AT_ONCE)
    )
    return made + _inserted(connection, table, key, ordered) if gone else made


def _make_way(connection: sa.Connection, table: sa.Table, key: tuple[str, ...], rows: list[dict[str, Any]]) -> int:
    """Set aside what is in the way of these rows and of a time that has not come; how many."""
    in_the_way = sa.or_(*(sa.and_(*(table.c[column] == row[column] for column in key)) for row in rows))
    where, at = in_the_way & is_future(table), limit_now()
    if table is schema.pages:
        return set_aside_pages(connection, where, reason=CLOCK_AHEAD, at=at)
    return set_aside(connection, table, where, reason=CLOCK_AHEAD, at=at)


def _inserted(connection: sa.Connection, table: sa.Table, key: tuple[str, ...], rows: list[dict[str, Any]]) -> int:
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    insertion = dialect.insert(table).on_conflict_do_nothing(index_elements=list(key))
    return len(connection.execute(insertion.returning(table.c.id), rows).all())
