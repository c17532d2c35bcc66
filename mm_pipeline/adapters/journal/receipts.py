"""Emergencies that may ring still: those with a receipt that is not closed, and attempts of which nothing was heard."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from mm_pipeline.adapters.journal.decisions import select_page
from mm_pipeline.adapters.journal.page_records import DeliveryOutcome, OpenReceipt
from mm_pipeline.adapters.journal.schema import delivery_events as events
from mm_pipeline.adapters.journal.schema import outbox, pages
from mm_pipeline.domain.notifications import EMERGENCY

_KEPT = timedelta(days=7)
"""Pushover keeps a receipt for a week."""
_others = events.alias("others")
_same_attempt = (
    (_others.c.page == events.c.page)
    & (_others.c.channel == events.c.channel)
    & (_others.c.attempt == events.c.attempt)
)


def open_ones(connection: sa.Connection, *, now: datetime) -> list[OpenReceipt]:
    """Receipts of the last week, each on each channel, that are not closed."""
    has_receipt = events.c.receipt.is_not(None) & (events.c.at > now - _KEPT)
    return _found(connection, sa.select(events).where(has_receipt & ~_also(DeliveryOutcome.CLOSED)))


def unclear_ones(connection: sa.Connection, *, since: datetime, now: datetime) -> list[OpenReceipt]:
    """Attempts at emergencies decided at ``since`` or later that may ring without a receipt, and are not closed.

    Those that a relay holds a claim on are under way, and left out.
    """
    is_begun = events.c.event == DeliveryOutcome.STARTED.value
    is_lost = ~sa.exists().where(_same_attempt & (_others.c.event != DeliveryOutcome.STARTED.value))
    claim = (outbox.c.page == events.c.page) & (outbox.c.channel == events.c.channel)
    is_under_way = is_lost & sa.exists().where(claim & (outbox.c.leased_until > now))
    is_unclear = (is_lost & ~is_under_way) | _also(DeliveryOutcome.UNCLEAR)
    query = sa.select(events).join(pages, pages.c.page == events.c.page)
    query = query.where((pages.c.priority == EMERGENCY) & (pages.c.decided_at >= since))
    return _found(connection, query.where(is_begun & is_unclear & ~_also(DeliveryOutcome.CLOSED)))


def _also(outcome: DeliveryOutcome) -> sa.ColumnElement[bool]:
    """Whether this has happened to the same attempt too."""
    return sa.exists().where(_same_attempt & (_others.c.event == outcome.value))


def _found(connection: sa.Connection, query: sa.Select[Any]) -> list[OpenReceipt]:
    return [
        OpenReceipt(
            page=select_page(connection, row.page),
            channel=row.channel,
            attempt=row.attempt,
            receipt=row.receipt or "",
            sent_at=row.at,
        )
        for row in connection.execute(query.order_by(events.c.id)).all()
    ]
