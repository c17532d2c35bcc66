"""What was said by a clock that was ahead: a word that closes a position is dropped, one that opens it is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa

from mm_pipeline.adapters.journal import schema
from mm_pipeline.adapters.journal.insertion import insert_new
from mm_pipeline.adapters.journal.page_records import ResponseRecord
from mm_pipeline.adapters.journal.responses import answer_of, as_row
from mm_pipeline.adapters.journal.setting_aside import set_aside_future
from mm_pipeline.adapters.journal.valid import is_future
from mm_pipeline.domain.notifications import SEEN_OPEN


def future_words(connection: sa.Connection) -> list[ResponseRecord]:
    """Words with a time later than now, in the order in which they were written down."""
    table = schema.responses
    return [answer_of(row) for row in connection.execute(sa.select(table).where(is_future(table)).order_by(table.c.id))]


def set_aside_but_openings(connection: sa.Connection, now: datetime) -> int:
    """Set aside what lies in the future; how many rows. A word that a position is open counts from ``now``.

    Without it the grid would stay silent.
    """
    opened = [one for one in future_words(connection) if one.response.kind in SEEN_OPEN]
    count = set_aside_future(connection, now)
    dated = [
        replace(one, response=replace(one.response, at=min(one.response.at, now)), recorded_at=now) for one in opened
    ]
    insert_new(connection, schema.responses, ("once",), [as_row(one) for one in dated])
    return count
