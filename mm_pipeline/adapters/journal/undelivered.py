"""Pages that have reached nobody and are still worth it: one query over pages, attempts, decisions and answers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from datetime import datetime, timedelta

import sqlalchemy as sa

from mm_pipeline.adapters.journal.decisions import page_of
from mm_pipeline.adapters.journal.page_records import ALARM, DeliveryOutcome, Page
from mm_pipeline.adapters.journal.schema import delivery_events as events
from mm_pipeline.adapters.journal.schema import outbox
from mm_pipeline.adapters.journal.valid import decisions, pages, responses
from mm_pipeline.domain.notifications import FLATS, ResponseKind

_UNPICTURED = tuple(field.name for field in fields(Page) if field.name != "image")
_NEWS_FOR = timedelta(days=1)
"""What the watch says of itself is said anew each day while it is so."""


def unsent_pages(
    connection: sa.Connection,
    *,
    decided_before: datetime,
    not_due_on: Collection[str] | None,
    records: Collection[str],
) -> list[Page]:
    """See :meth:`~mm_pipeline.adapters.journal.outbox.JournalOutbox.unsent`."""
    is_kept = _has(pages, DeliveryOutcome.SENT) & (pages.c.decided_at < decided_before - _NEWS_FOR)
    has_ended = _has(pages, DeliveryOutcome.SENT, records=records) | is_kept
    has_ended |= _has(pages, DeliveryOutcome.SUPERSEDED, DeliveryOutcome.ANSWERED)
    mine, later = decisions.alias("mine"), decisions.alias("later")
    is_later = (mine.c.page == pages.c.page) & (later.c.grid == mine.c.grid) & (later.c.id > mine.c.id)
    is_later &= (later.c.page != pages.c.page) & _has(later, DeliveryOutcome.SENT, records=records)
    is_known = (responses.c.page == pages.c.page) & (responses.c.kind == ResponseKind.ACKNOWLEDGED.value)
    is_closed = (mine.c.page == pages.c.page) & (responses.c.grid == mine.c.grid)
    is_closed &= responses.c.kind.in_([kind.value for kind in FLATS])
    is_closed &= responses.c.recorded_at > pages.c.decided_at
    after = pages.alias("after")
    is_well = (after.c.id > pages.c.id) & _has(after, DeliveryOutcome.SENT, records=records)
    is_old = (pages.c.decided_at < decided_before - _NEWS_FOR) & (
        (pages.c.notice == ALARM) | sa.exists().where(is_well)
    )
    is_no_news = sa.or_(is_old, *(sa.exists().where(one) for one in (is_known, is_closed, is_later)))
    query = sa.select(*(pages.c[name] for name in _UNPICTURED)).where(pages.c.decided_at < decided_before)
    query = query.where(~has_ended & ~(_has(pages, DeliveryOutcome.UNDELIVERABLE) & is_no_news))
    if not_due_on is not None:  # in one statement: between two, another relay may send it
        is_due = (outbox.c.page == pages.c.page) & outbox.c.is_due & outbox.c.channel.in_(not_due_on)
        query = query.where(~sa.exists().where(is_due))
    return [page_of(row) for row in connection.execute(query.order_by(pages.c.id))]


def _has(table: sa.FromClause, *outcomes: DeliveryOutcome, records: Collection[str] = ()) -> sa.ColumnElement[bool]:
    """Whether one of these has happened to a page, on a channel that is none of the ``records``."""
    is_one = events.c.event.in_([outcome.value for outcome in outcomes]) & events.c.channel.not_in(records)
    return sa.exists().where((events.c.page == table.c.page) & is_one).correlate(table)
