"""What was wrong with a market's candles at a tick. Rows are added, never changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime

import sqlalchemy as sa

from mm_pipeline.adapters.journal.insertion import insert_new
from mm_pipeline.adapters.journal.records import MarketNotice
from mm_pipeline.adapters.journal.schema import market_notices as table

_KEY = ("market", "tick_at", "code")


def record(connection: sa.Connection, notices: Iterable[MarketNotice]) -> int:
    """Add those whose market, tick and code are new; how many were."""
    return insert_new(connection, table, _KEY, [asdict(notice) for notice in notices])


def select(
    connection: sa.Connection, *, market: str | None, since: datetime | None, until: datetime | None
) -> list[MarketNotice]:
    """Notices with ``since <= tick_at < until``, oldest tick first."""
    query = sa.select(table.c.market, table.c.tick_at, table.c.code, table.c.message)
    if market is not None:
        query = query.where(table.c.market == market)
    if since is not None:
        query = query.where(table.c.tick_at >= since)
    if until is not None:
        query = query.where(table.c.tick_at < until)
    return [MarketNotice(**row._mapping) for row in connection.execute(query.order_by(table.c.tick_at, table.c.id))]
