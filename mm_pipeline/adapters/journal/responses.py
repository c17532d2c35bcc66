"""What operators did about pages, and what they did not: rows are added once, never changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from mm_pipeline.adapters.journal import schema
from mm_pipeline.adapters.journal.database import Database
from mm_pipeline.adapters.journal.insertion import insert_new
from mm_pipeline.adapters.journal.page_records import ResponseRecord
from mm_pipeline.adapters.journal.valid import responses
from mm_pipeline.domain.notifications import SEEN_OPEN, Response, ResponseKind

_BY = ("source", "by_whom", "settings_hash", "code_version", "recorded_at")


class JournalResponses:
    """Acknowledgements, closed positions, expired and missed pages.

    Raises
    ------
    StorageError
        From every method, when the database fails.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, answers: Iterable[ResponseRecord]) -> int:
        """Add what is new; how many were. A page is answered in one way once, whoever else answers it later."""
        rows = [as_row(answer) for answer in answers]
        with self._database.writing() as connection:
            return insert_new(connection, schema.responses, ("once",), rows)

    def select(
        self,
        grid: str | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        known_since: datetime | None = None,
        pages: Collection[str] | None = None,
        kinds: Collection[ResponseKind] | None = None,
    ) -> list[ResponseRecord]:
        """Answers with ``since <= at < until``, oldest first.

        ``known_since`` keeps those that happened, or were recorded, at that moment or later.
        """
        query = sa.select(responses)
        if grid is not None:
            query = query.where(responses.c.grid == grid)
        if since is not None:
            query = query.where(responses.c.at >= since)
        if until is not None:
            query = query.where(responses.c.at < until)
        if known_since is not None:
            query = query.where((responses.c.at >= known_since) | (responses.c.recorded_at >= known_since))
        if pages is not None:
            query = query.where(responses.c.page.in_(pages))
        if kinds is not None:
            query = query.where(responses.c.kind.in_(sorted(kind.value for kind in kinds)))
        with self._database.reading() as connection:
            return [answer_of(row) for row in connection.execute(query.order_by(responses.c.at, responses.c.id))]


def words_in_force(answers: Iterable[ResponseRecord], *, started_at: datetime | None) -> list[ResponseRecord]:
    """Words that a position is closed, or open again, in the order in which they were known: the last is in force.

    Left out is what closes nothing: see ``Response.closes``, by which decisions take words too.

    Parameters
    ----------
    answers
        Those that are known, of one grid.
    started_at
        Start of the grid's range; None where it is not known.
    """
    words: list[ResponseRecord] = []
    open_at: datetime | None = None
    for answer in sorted(answers, key=lambda one: one.known_at):
        response = answer.response
        if response.kind in SEEN_OPEN:
            open_at = response.at if open_at is None else max(open_at, response.at)
            words.append(answer)
        elif response.closes(started_at=started_at, open_at=open_at):
            words.append(answer)
    return words


def as_row(answer: ResponseRecord) -> dict[str, Any]:
    """An answer as a row of its table."""
    response = answer.response
    about = response.page or response.at.isoformat()
    return {
        "once": f"{response.grid} {about} {response.kind}",
        "grid": response.grid,
        "at": response.at,
        "kind": response.kind.value,
        "page": response.page,
        **{name: getattr(answer, name) for name in _BY},
    }


def answer_of(row: sa.Row[Any]) -> ResponseRecord:
    """The answer of a row."""
    response = Response(grid=row.grid, at=row.at, kind=ResponseKind(row.kind), page=row.page)
    return ResponseRecord(response=response, **{name: getattr(row, name) for name in _BY})
