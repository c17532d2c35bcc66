"""What accounts showed after a report that a grid is flat: rows are added once, never changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from mm_pipeline.adapters.journal import schema
from mm_pipeline.adapters.journal.database import Database
from mm_pipeline.adapters.journal.insertion import insert_new
from mm_pipeline.adapters.journal.valid import flat_checks as table

_KEY = ("grid", "said_at", "evaluated_at")
_VALUES = (
    *_KEY,
    "read_at",
    "finding",
    "base_total",
    "held_base",
    "open_orders",
    "recorded_at",
    "settings_hash",
    "code_version",
)


class FlatFinding(StrEnum):
    """What an account says about a report of flat.

    Two say nothing: UNREAD, an account that could not be read, and NOT_SEEN, one that knows nothing of the grid or
    cannot tell whose the coins are.
    """

    HOLDS = "holds"
    CLEAR = "clear"
    UNREAD = "unread"
    NOT_SEEN = "not_seen"


@dataclass(frozen=True, kw_only=True)
class FlatCheck:
    """One look at an account for one report.

    Attributes
    ----------
    said_at
        Moment of the report: its name.
    evaluated_at
        Evaluation at which it was looked; one report has one check an evaluation.
    read_at
        When the account was read, by the exchange's time; of an account that could not be read: when it was tried.
    base_total
        Base that the account holds, whoever's it is; None where it could not be read.
    held_base, open_orders
        What of it is the grid's by its fills, and the grid's resting orders.
    """

    grid: str
    said_at: datetime
    evaluated_at: datetime
    read_at: datetime
    finding: FlatFinding
    recorded_at: datetime
    settings_hash: str
    code_version: str
    base_total: float | None = None
    held_base: float | None = None
    open_orders: int | None = None


class JournalFlatChecks:
    """Keeps what accounts showed after reports of flat.

    Raises
    ------
    StorageError
        From every method, when the database fails.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, check: FlatCheck) -> bool:
        """Add a check; False where this report was checked at this evaluation before."""
        row: dict[str, Any] = {name: getattr(check, name) for name in _VALUES}
        with self._database.writing() as connection:
            return insert_new(connection, schema.flat_checks, _KEY, [row | {"finding": check.finding.value}]) == 1

    def newest(self, grid: str, count: int, *, now: datetime, said_at: datetime | None = None) -> list[FlatCheck]:
        """The newest checks of a grid, or of one report about it, newest first; later ones than ``now`` do not count.

        Rows of the future were written by a clock that was ahead.
        """
        query = sa.select(*(table.c[name] for name in _VALUES)).where(table.c.grid == grid)
        query = query.where((table.c.evaluated_at <= now) & (table.c.recorded_at <= now))
        if said_at is not None:
            query = query.where(table.c.said_at == said_at)
        query = query.order_by(table.c.evaluated_at.desc(), table.c.id.desc()).limit(count)
        with self._database.reading() as connection:
            return [
                FlatCheck(**{**row._mapping, "finding": FlatFinding(row.finding)}) for row in connection.execute(query)
            ]
