"""The journal's rows that count: those of a time that has come. Whoever reads what is true now reads these.

A clock that was ahead leaves rows whose time lies in the future. Until that time is confirmed or the rows are set
aside (``setting_aside``), each of them counts as never made. The present time is that of the database's clock, read
once at the beginning of each transaction; a database without a clock believes every row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa

from mm_pipeline.adapters.journal import schema

END_OF_TIME: Final = datetime(9999, 1, 1, tzinfo=UTC)

_LIMIT: Final[ContextVar[datetime]] = ContextVar("journal_limit", default=END_OF_TIME)
LIMIT: Final = sa.bindparam("valid_until", callable_=_LIMIT.get, type_=schema.UtcMillis)
"""In a statement: the newest time that is believed when it is executed."""

TIMES: Final[Mapping[sa.Table, tuple[str, ...]]] = {
    schema.grid_versions: ("seen_at", "valid_from"),
    schema.evaluations: ("evaluated_at", "recorded_at"),
    schema.market_notices: ("tick_at",),
    schema.pages: ("evaluated_at", "decided_at"),
    schema.decisions: ("evaluated_at", "decided_at"),
    schema.responses: ("recorded_at",),
    schema.flat_checks: ("evaluated_at", "recorded_at"),
}
"""Columns that say when a row was made, and of what moment it tells; none of them may lie in the future.

Circuits, claims and attempts to deliver are not among them: their readers know a time that cannot be true.
"""


@contextmanager
def up_to(limit: datetime) -> Iterator[None]:
    """Believe no row of a later time within the block."""
    token = _LIMIT.set(limit)
    try:
        yield
    finally:
        _LIMIT.reset(token)


def limit_now() -> datetime:
    """The newest time that is believed in this transaction."""
    return _LIMIT.get()


def is_future(table: sa.Table) -> sa.ColumnElement[bool]:
    """Whether a row of a table is of a time that has not come."""
    return sa.or_(*(table.c[name] > LIMIT for name in TIMES[table]))


def _valid(table: sa.Table) -> sa.Subquery:
    believed = sa.and_(*(table.c[name] <= LIMIT for name in TIMES[table]))
    return sa.select(table).where(believed).subquery(f"valid_{table.name}")


grid_versions: Final = _valid(schema.grid_versions)
evaluations: Final = _valid(schema.evaluations)
market_notices: Final = _valid(schema.market_notices)
pages: Final = _valid(schema.pages)
decisions: Final = _valid(schema.decisions)
responses: Final = _valid(schema.responses)
flat_checks: Final = _valid(schema.flat_checks)
