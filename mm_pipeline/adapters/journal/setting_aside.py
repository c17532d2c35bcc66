"""Rows that count as never made are taken out of their table and kept in ``set_aside``, with the reason.

Only so may a row leave an append-only table: nothing of it is lost, its unique key is free again, and no reader can
take it for true. Two things set rows aside: a clock that was ahead, and an evaluation that is made again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from mm_pipeline.adapters.journal import schema
from mm_pipeline.adapters.journal.page_records import DeliveryOutcome
from mm_pipeline.adapters.journal.valid import TIMES, is_future, limit_now
from mm_pipeline.domain.instants import to_ms

CLOCK_AHEAD: Final = "of a time later than now: written by a clock that was ahead"
MADE_AGAIN: Final = "the same evaluation was made again, with another result"
_kept = schema.set_aside
_events = schema.delivery_events


@dataclass(frozen=True, kw_only=True)
class FutureRows:
    """Rows of a time that has not come: how many, and the latest time among them."""

    count: int
    latest: datetime | None

    @property
    def problem(self) -> str | None:
        """What is wrong, in words; None where there are none."""
        if self.latest is None:
            return None
        return (
            f"{self.count} rows of the journal are later than now, up to {self.latest:%Y-%m-%d %H:%M} UTC: a clock was "
            "ahead, or this one is behind"
        )


def future_rows(connection: sa.Connection) -> FutureRows:
    """What a clock that was ahead has left and nobody has set aside; pages whose alarm may ring are not counted."""
    count, latest = 0, None
    for table, times in TIMES.items():
        where = is_future(table)
        if table is schema.pages:
            where &= ~_may_ring(table)
        newest = [sa.func.max(table.c[name]) for name in times]
        found, *moments = connection.execute(sa.select(sa.func.count(), *newest).where(where)).one()
        count += found
        latest = max([moment for moment in (latest, *moments) if moment is not None], default=None)
    return FutureRows(count=count, latest=latest)


def set_aside(
    connection: sa.Connection, table: sa.Table, where: sa.ColumnElement[bool], *, reason: str, at: datetime
) -> int:
    """Move the rows of an append-only table into ``set_aside``; how many there were. ``at``: when this is done."""
    rows = connection.execute(sa.select(table).where(where).with_for_update()).all()
    if not rows:
        return 0
    connection.execute(
        _kept.insert(),
        [
            {"of_table": table.name, "row_id": row.id, "content": _content(row), "reason": reason, "at": at}
            for row in rows
        ],
    )
    connection.execute(table.delete().where(table.c.id.in_([row.id for row in rows])))
    return len(rows)


def set_aside_pages(connection: sa.Connection, where: sa.ColumnElement[bool], *, reason: str, at: datetime) -> int:
    """Move pages with everything that was done about them, and take them off the channels; how many pages."""
    names = list(connection.scalars(sa.select(schema.pages.c.page).where(where)))
    if names:
        set_aside(connection, _events, _events.c.page.in_(names), reason=reason, at=at)
        connection.execute(schema.outbox.delete().where(schema.outbox.c.page.in_(names)))
        set_aside(connection, schema.pages, schema.pages.c.page.in_(names), reason=reason, at=at)
    return len(names)


def set_aside_future(connection: sa.Connection, now: datetime) -> int:
    """Move everything of a time that has not come; how many rows.

    An emergency of such a page may ring at the provider: it stays until its end is heard. What was done about a page
    that counts is done: attempts with a time that cannot be true are dated ``now``, and what they put off is due.
    """
    count = sum(
        set_aside(connection, table, is_future(table), reason=CLOCK_AHEAD, at=now)
        for table in TIMES
        if table is not schema.pages
    )
    count += set_aside_pages(connection, is_future(schema.pages) & ~_may_ring(schema.pages), reason=CLOCK_AHEAD, at=now)
    _date_attempts(connection, now)
    return count


def _date_attempts(connection: sa.Connection, now: datetime) -> None:
    is_ahead = _events.c.at > limit_now()
    rows = connection.execute(sa.select(_events).where(is_ahead).order_by(_events.c.id)).all()
    if not rows:
        return
    outbox = schema.outbox
    connection.execute(outbox.update().where(outbox.c.due_at > limit_now()).values(due_at=now))
    set_aside(connection, _events, is_ahead, reason=CLOCK_AHEAD, at=now)
    columns = [column.name for column in _events.c if column.name != "id"]
    connection.execute(_events.insert(), [{name: getattr(row, name) for name in columns} | {"at": now} for row in rows])


def _may_ring(pages: sa.FromClause) -> sa.ColumnElement[bool]:
    """Whether a page has an alarm at a provider whose end nobody has heard of."""
    closed = _events.alias("closed")
    is_same = (closed.c.page == _events.c.page) & (closed.c.channel == _events.c.channel)
    is_closed = sa.exists().where(
        is_same & (closed.c.attempt == _events.c.attempt) & (closed.c.event == DeliveryOutcome.CLOSED.value)
    )
    has_receipt = (_events.c.page == pages.c.page) & _events.c.receipt.is_not(None)
    return sa.exists().where(has_receipt & ~is_closed).correlate(pages)


def _content(row: sa.Row[Any]) -> str:
    return json.dumps(dict(row._mapping), sort_keys=True, default=_as_json)


def _as_json(value: object) -> object:
    if isinstance(value, datetime):
        return to_ms(value)
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"{value!r} cannot be kept as JSON")
