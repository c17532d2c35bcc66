"""A grid's history as the journal tells it: what a replay carries along, a live tick reads here.

Both come to the same value; a test holds them together.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa

from mm_pipeline.adapters.journal.database import Database
from mm_pipeline.adapters.journal.notifications import JournalNotifications
from mm_pipeline.adapters.journal.responses import JournalResponses
from mm_pipeline.adapters.journal.schema import evaluations
from mm_pipeline.domain.notifications import History, Judged, NotifyPolicy

_LONGEST_RUN = 96
"""No notice waits for a longer run (the bound of ``after_evaluations``)."""


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

    def before(self, judged: Judged, *, started_at: Mapping[str, datetime], policy: NotifyPolicy) -> History:
        """What was before an evaluation.

        Parameters
        ----------
        started_at
            Start of the range by ``version_hash``, for every version of the grid.
        """
        range_began = self._began(judged, started_at)
        history = self._of_evaluations(judged, range_began, started_at)
        for decided in self._notifications.decisions(judged.grid, since=range_began, until=judged.evaluated_at):
            if decided.decision.kind == judged.kind:
                history = history.after(decided.decision, policy.budget)
        for answer in self._responses.select(judged.grid, since=range_began):
            if answer.response.at <= judged.evaluated_at:
                history = history.answered(answer.response)
        return history

    def _began(self, judged: Judged, started_at: Mapping[str, datetime]) -> datetime:
        """First evaluation of this kind and range without another between; the present one where none is before."""
        with self._database.reading() as connection:
            start = judged.started_at or self._last_start(connection, judged, started_at)
            others = [version for version, at in started_at.items() if start is not None and at != start]
            is_other = (evaluations.c.kind != judged.kind) | evaluations.c.grid_version.in_(others)
            last_other = connection.scalar(_newest(judged).where(is_other).limit(1))
            first = sa.select(sa.func.min(evaluations.c.evaluated_at)).where(_earlier(judged))
            if last_other is not None:
                first = first.where(evaluations.c.evaluated_at > last_other)
            found: datetime | None = connection.scalar(first)
        return judged.evaluated_at if found is None else found

    @staticmethod
    def _last_start(connection: sa.Connection, judged: Judged, started_at: Mapping[str, datetime]) -> datetime | None:
        known = _newest(judged, evaluations.c.grid_version).where(evaluations.c.grid_version != "").limit(1)
        return started_at.get(connection.scalar(known) or "")

    def _of_evaluations(self, judged: Judged, range_began: datetime, started_at: Mapping[str, datetime]) -> History:
        """The run of one state that ends with the evaluation before."""
        in_range = evaluations.c.evaluated_at >= range_began
        columns = (evaluations.c.evaluated_at, evaluations.c.state, evaluations.c.grid_version)
        with self._database.reading() as connection:
            last = connection.execute(_newest(judged, *columns).where(in_range).limit(1)).first()
            if last is None:
                return History()
            other = _newest(judged).where(in_range & (evaluations.c.state != last.state)).limit(1)
            last_other: datetime | None = connection.scalar(other)
            in_run = in_range if last_other is None else evaluations.c.evaluated_at > last_other
            run = _newest(judged).where(in_run)
            began = connection.scalar(sa.select(sa.func.min(run.subquery().c.evaluated_at)))
            length = connection.scalar(sa.select(sa.func.count()).select_from(run.limit(_LONGEST_RUN).subquery()))
            start = started_at.get(last.grid_version) or self._last_start(connection, judged, started_at)
        before = Judged(
            grid=judged.grid, kind=judged.kind, evaluated_at=last.evaluated_at, started_at=start, state=last.state
        )
        return History(judged=before, started_at=start, run=length or 0, run_began_at=began)


def _earlier(judged: Judged) -> sa.ColumnElement[bool]:
    """Evaluations of the grid at earlier bars, as they were recorded last."""
    later = evaluations.alias("later")
    is_same_bar = (later.c.grid == evaluations.c.grid) & (later.c.evaluated_at == evaluations.c.evaluated_at)
    is_overwritten = sa.exists().where(is_same_bar & (later.c.id > evaluations.c.id))
    is_before = (evaluations.c.grid == judged.grid) & (evaluations.c.evaluated_at < judged.evaluated_at)
    return is_before & ~is_overwritten


def _newest(judged: Judged, *columns: sa.ColumnElement[object]) -> sa.Select[tuple[object, ...]]:
    chosen = columns or (evaluations.c.evaluated_at,)
    return sa.select(*chosen).where(_earlier(judged)).order_by(evaluations.c.evaluated_at.desc())
