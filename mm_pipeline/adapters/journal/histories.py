"""A grid's history as the journal tells it: what a replay carries along, a live tick reads here.

Both come to the same value; a test holds them together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from mm_pipeline.adapters.journal.database import Database
from mm_pipeline.adapters.journal.decisions import JournalNotifications
from mm_pipeline.adapters.journal.evaluations import counts
from mm_pipeline.adapters.journal.page_records import ResponseRecord
from mm_pipeline.adapters.journal.responses import JournalResponses
from mm_pipeline.adapters.journal.schema import UtcMillis
from mm_pipeline.adapters.journal.valid import evaluations
from mm_pipeline.domain.notifications import (
    ASKS_FOR_EXIT,
    ENTRY,
    LONGEST_FLAPPING,
    SEEN_OPEN,
    History,
    Judgement,
    Notice,
    NotifyPolicy,
    Response,
    ResponseKind,
)

_LONGEST_RUN: Final = 96
"""No notice waits for a longer run (the bound of ``after_evaluations``)."""


def _earlier() -> sa.ColumnElement[bool]:
    """Evaluations of the grid at earlier bars, of each the one that counts."""
    is_before = evaluations.c.evaluated_at < sa.bindparam("at", type_=UtcMillis)
    return (evaluations.c.grid == sa.bindparam("grid")) & is_before & counts()


_AT, _AFTER = evaluations.c.evaluated_at, sa.bindparam("after", type_=UtcMillis)
_NEWEST: Final = (
    sa.select(_AT, evaluations.c.kind, evaluations.c.state, evaluations.c.grid_version)
    .where(_earlier())
    .order_by(_AT.desc())
)
# Statements are made once: making one costs more than running it.
_RECENT: Final = _NEWEST.limit(_LONGEST_RUN + 1)
_LAST_KNOWN: Final = _NEWEST.where(evaluations.c.grid_version != "").limit(1)
_LAST_OF_ANOTHER: Final = _NEWEST.where(
    (evaluations.c.kind != sa.bindparam("kind"))
    | evaluations.c.grid_version.in_(sa.bindparam("versions", expanding=True))
).limit(1)
_LAST_IN_ANOTHER_STATE: Final = _NEWEST.where(evaluations.c.state != sa.bindparam("state")).limit(1)
_LAST_GRAVE: Final = _NEWEST.where(evaluations.c.state.in_(sorted(ASKS_FOR_EXIT))).limit(1)
_FIRST: Final = sa.select(sa.func.min(_AT)).where(_earlier())
_FIRST_AFTER: Final = sa.select(sa.func.min(_AT)).where(_earlier() & (_AT > _AFTER))


class JournalHistories:
    """Reads what deciding about a grid depends on.

    Raises
    ------
    StorageError
        When the database fails.
    """

    def __init__(self, database: Database, notifications: JournalNotifications, responses: JournalResponses) -> None:
        self._database = database
        self._notifications = notifications
        self._responses = responses

    def before(
        self,
        judged: Judgement,
        *,
        now: datetime,
        started_at: Mapping[str, datetime],
        policy: NotifyPolicy,
        anew_at: datetime | None = None,
    ) -> History:
        """What was before an evaluation, and what was answered until it is decided.

        Parameters
        ----------
        now
            When it is decided: what is recorded later is not known.
        started_at
            Start of the range by ``version_hash``, for every version of the grid.
        anew_at
            Since when the grid is another than before under the same start (``watched_anew_at``); None for always.
        """
        with self._database.reading() as connection:
            reader = _Reader(connection, judged, started_at, anew_at)
            range_began = reader.range_began()
            history = reader.run_since(range_began)
        if range_began is None:
            range_began = judged.evaluated_at
        decided = self._notifications.that_matter(
            judged.grid, judged.kind, since=range_began, until=judged.evaluated_at, within=policy.budget.per
        )
        answered = self._responses.select(judged.grid, known_since=range_began)
        history = replace(history, open_at=self._open_before(judged.grid, range_began))
        # What is reported late was not known before; that a position is open again is no news of an earlier evaluation.
        until = judged.evaluated_at + policy.decided_after
        known = (
            one
            for one in answered
            if one.known_at <= now and (one.response.kind not in SEEN_OPEN or one.response.at <= until)
        )
        decided_at = {one.decision.page: one.decided_at for one in decided}
        known = (one for one in known if not _is_of_a_dropped_page(one, decided_at))
        answers = deque(sorted(known, key=lambda one: one.known_at))
        for one in decided:
            while answers and answers[0].known_at <= one.decided_at:
                history = history.answered(_known(answers.popleft()))
            history = history.after(one.decision, policy.budget)
        for answer in answers:
            history = history.answered(_known(answer))
        return history

    def _open_before(self, grid: str, range_began: datetime) -> datetime | None:
        """Latest moment at which the position was seen open, of what was known before a range's first evaluation."""
        given = self._responses.select(grid, until=range_began, kinds=SEEN_OPEN)
        return max((one.response.at for one in given if one.known_at < range_began), default=None)


def _is_of_a_dropped_page(answer: ResponseRecord, decided_at: Mapping[str, datetime]) -> bool:
    """Whether an acknowledgement is older than the page that it names: a clock that was ahead had made one like it."""
    made_at = decided_at.get(answer.response.page)
    is_early = made_at is not None and answer.known_at < made_at
    return answer.response.kind is ResponseKind.ACKNOWLEDGED and is_early


def _known(answer: ResponseRecord) -> Response:
    """A response with the moment from which on decisions take it into account."""
    return replace(answer.response, known_at=answer.known_at)


@dataclass(frozen=True)
class _Reader:
    """Asks for evaluations before one of a grid, within one transaction."""

    connection: sa.Connection
    judged: Judgement
    started_at: Mapping[str, datetime]
    anew_at: datetime | None

    def range_began(self) -> datetime | None:
        """First evaluation of this kind and range without another between; None where none is before."""
        began = self._kind_and_range_began()
        if self.anew_at is None or began is None or began >= self.anew_at:
            return began
        return self._moment(_FIRST_AFTER, after=self.anew_at - timedelta(milliseconds=1))

    def _kind_and_range_began(self) -> datetime | None:
        start = self._start()
        versions = [version for version, at in self.started_at.items() if start is not None and at != start]
        other = self._first(_LAST_OF_ANOTHER, kind=self.judged.kind, versions=versions)
        if other is None:
            return self._moment(_FIRST)
        return self._moment(_FIRST_AFTER, after=other.evaluated_at)

    def run_since(self, range_began: datetime | None) -> History:
        """The run of one state that ends with the evaluation before."""
        recent = self.connection.execute(_RECENT, self._about()).all()
        if not recent or range_began is None or recent[0].evaluated_at < range_began:
            return History()
        last = recent[0]
        length = next(
            (n for n, row in enumerate(recent) if row.state != last.state or row.evaluated_at < range_began),
            len(recent),
        )
        began = recent[length - 1].evaluated_at if length < len(recent) else self._run_began(last.state, range_began)
        start = self.started_at.get(last.grid_version) or self._last_start()
        before = Judgement(
            grid=self.judged.grid,
            kind=self.judged.kind,
            evaluated_at=last.evaluated_at,
            started_at=start,
            state=last.state,
        )
        grave = self._first(_LAST_GRAVE)
        in_range = [row for row in recent[:LONGEST_FLAPPING] if row.evaluated_at >= range_began]
        return History(
            judged=before,
            started_at=start,
            run=length,
            run_began_at=began,
            blind=tuple(row.state == Notice.UNKNOWN for row in reversed(in_range)),
            grave_at=None if grave is None or grave.evaluated_at < range_began else grave.evaluated_at,
        )

    def _run_began(self, state: str, range_began: datetime) -> datetime:
        """Of a run that is longer than any that is waited for."""
        other = self._first(_LAST_IN_ANOTHER_STATE, state=state)
        if other is None or other.evaluated_at < range_began:
            return range_began
        return self._moment(_FIRST_AFTER, after=other.evaluated_at) or range_began

    def _start(self) -> datetime | None:
        """Start of the range that the history is of; None for a disabled grid, which trades in none."""
        return None if self.judged.kind == ENTRY else self.judged.started_at or self._last_start()

    def _last_start(self) -> datetime | None:
        known = self._first(_LAST_KNOWN)
        return None if known is None else self.started_at.get(known.grid_version)

    def _first(self, statement: sa.Select[Any], **values: object) -> sa.Row[Any] | None:
        return self.connection.execute(statement, self._about() | values).first()

    def _moment(self, statement: sa.Select[Any], **values: object) -> datetime | None:
        found: datetime | None = self.connection.scalar(statement, self._about() | values)
        return found

    def _about(self) -> dict[str, object]:
        return {"grid": self.judged.grid, "at": self.judged.evaluated_at}
