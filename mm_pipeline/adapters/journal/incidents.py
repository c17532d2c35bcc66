"""What was wrong with a market's candles at a tick. Rows are added, never changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict
from datetime import datetime

import sqlalchemy as sa

from mm_pipeline.adapters.journal import schema
from mm_pipeline.adapters.journal.insertion import insert_new
from mm_pipeline.adapters.journal.records import Incident
from mm_pipeline.adapters.journal.setting_aside import MADE_AGAIN, set_aside
from mm_pipeline.adapters.journal.valid import market_notices as table

_KEY = ("market", "tick_at", "code")


def record(connection: sa.Connection, notices: Iterable[Incident]) -> int:
    """Add those whose market, tick and code are new; how many were."""
    return insert_new(connection, schema.market_notices, _KEY, [asdict(notice) for notice in notices])


def end(connection: sa.Connection, markets: Collection[str], tick_at: datetime, codes: Collection[str] | None) -> int:
    """Set aside what was wrong at a tick with these markets: a later answer for the same tick was good."""
    every = schema.market_notices
    where = (every.c.tick_at == tick_at) & every.c.market.in_(list(markets))
    if codes is not None:
        where &= every.c.code.in_(list(codes))
    return set_aside(connection, every, where, reason=MADE_AGAIN, at=tick_at)


def select(
    connection: sa.Connection, *, market: str | None, since: datetime | None, until: datetime | None
) -> list[Incident]:
    """Notices with ``since <= tick_at < until``, oldest tick first."""
    query = sa.select(table.c.market, table.c.tick_at, table.c.code, table.c.message)
    if market is not None:
        query = query.where(table.c.market == market)
    if since is not None:
        query = query.where(table.c.tick_at >= since)
    if until is not None:
        query = query.where(table.c.tick_at < until)
    return [Incident(**row._mapping) for row in connection.execute(query.order_by(table.c.tick_at, table.c.id))]
