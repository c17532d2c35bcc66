"""The one way rows enter an append-only table."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


def insert_new(connection: sa.Connection, table: sa.Table, key: tuple[str, ...], rows: list[dict[str, Any]]) -> int:
    """Insert the rows whose unique key is not there yet; others, also twins within ``rows``, are ignored.

    They are inserted in the order of the key: two writers of the same rows then wait and cannot deadlock.

    Returns
    -------
    int
        Number of rows that were new.
    """
    if not rows:
        return 0
    ordered = sorted(rows, key=lambda row: tuple(row[column] for column in key))
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    insertion = dialect.insert(table).on_conflict_do_nothing(index_elements=list(key))
    return len(connection.execute(insertion.returning(table.c.id), ordered).all())
