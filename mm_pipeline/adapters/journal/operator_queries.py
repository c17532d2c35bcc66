"""What the operator's side asks of the journal: where a state began, what changed, and the facts behind the KPIs.

Only reads, and asks in one question what would else be a row at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl
import sqlalchemy as sa

from mm_pipeline.adapters.journal.journal import Journal
from mm_pipeline.adapters.journal.page_records import DecisionRecord, DeliveryOutcome, ResponseRecord
from mm_pipeline.adapters.journal.records import Evaluation
from mm_pipeline.adapters.journal.schema import delivery_events
from mm_pipeline.adapters.journal.valid import decisions, evaluations, pages
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.kpis import EVALUATED_SCHEMA, Notified, OperatorFacts, PageDelivery
from mm_pipeline.domain.notifications import Notice, Response

_MILLISECOND: Final = timedelta(milliseconds=1)


class OperatorQueries:
    """Questions to an open journal.

    Raises
    ------
    StorageError
        From every method, when the database fails.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._database = journal._database

    def state_began(self, newest: Evaluation) -> datetime:
        """Evaluation that began the unbroken run of this kind and state which ends with the grid's newest bar."""
        later = evaluations.alias("later")
        is_same_bar = (later.c.grid == evaluations.c.grid) & (later.c.evaluated_at == evaluations.c.evaluated_at)
        is_overwritten = sa.exists().where(is_same_bar & (later.c.id > evaluations.c.id))
        is_own = (evaluations.c.grid == newest.grid) & (evaluations.c.evaluated_at < newest.evaluated_at)
        is_other = (evaluations.c.state != newest.state) | (evaluations.c.kind != newest.kind.value)
        own = sa.select(evaluations.c.evaluated_at).where(is_own & ~is_overwritten).limit(1)
        last_other = own.where(is_other).order_by(evaluations.c.evaluated_at.desc())
        first = own.order_by(evaluations.c.evaluated_at)
        with self._database.reading() as connection:
            other: datetime | None = connection.scalar(last_other)
            if other is not None:
                first = first.where(evaluations.c.evaluated_at > other)
            began: datetime | None = connection.scalar(first)
        return newest.evaluated_at if began is None else began

    def newest_told(self, grid: str, kind: EvaluationKind, *, without: Sequence[Notice] = ()) -> DecisionRecord | None:
        """The newest decision of a kind about a grid for which there is a page, of any notice but those named."""
        is_wanted = (decisions.c.grid == grid) & (decisions.c.kind == kind.value) & decisions.c.held_back.is_(None)
        if without:
            is_wanted &= decisions.c.notice.not_in([notice.value for notice in without])
        with self._database.reading() as connection:
            at: datetime | None = connection.scalar(sa.select(sa.func.max(decisions.c.evaluated_at)).where(is_wanted))
        if at is None:
            return None
        found = self._journal.notifications.decisions(grid, since=at, until=at + _MILLISECOND)
        return next(one for one in found if one.decision.kind == kind.value)

    def changes(
        self,
        grid: str | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> list[Evaluation]:
        """The newest evaluations with ``since <= evaluated_at < until`` that say something new, oldest first.

        New is another kind, state or set of fired triggers than the grid's evaluation before, also where that one is
        older than ``since``; a grid's first is new.
        """
        before, other = evaluations.alias("before"), evaluations.alias("other")
        is_earlier = (other.c.evaluated_at < evaluations.c.evaluated_at) | (other.c.id < evaluations.c.id)
        last = (
            sa.select(other.c.id)
            .where(other.c.grid == evaluations.c.grid)
            .where((other.c.evaluated_at <= evaluations.c.evaluated_at) & is_earlier)
            .order_by(other.c.evaluated_at.desc(), other.c.id.desc())
            .limit(1)
            .correlate(evaluations)
            .scalar_subquery()
        )
        differs = [evaluations.c[name] != before.c[name] for name in ("kind", "state", "fired")]
        query = sa.select(evaluations).select_from(evaluations).outerjoin(before, before.c.id == last)
        query = query.where(sa.or_(before.c.id.is_(None), *differs))
        if grid is not None:
            query = query.where(evaluations.c.grid == grid)
        query = _within(query, evaluations.c.evaluated_at, since, until)
        query = query.order_by(evaluations.c.evaluated_at.desc(), evaluations.c.id.desc()).limit(limit)
        with self._database.reading() as connection:
            return [_evaluation_of(row) for row in connection.execute(query)][::-1]

    def facts(self, *, since: datetime, until: datetime, as_of: datetime, grid: str | None = None) -> OperatorFacts:
        """What the KPIs of evaluations with ``since <= evaluated_at < until`` are made of, as far as known ``as_of``.

        Of decisions and responses also those after ``until`` (they may overtake or answer a page before it), of
        evaluations those to the end of the last window.
        """
        notified = self._notified(since=since, as_of=as_of, grid=grid)
        asked = [one.respond_by for one in notified if one.respond_by and one.decision.evaluated_at < until]
        seen_until = min(max([until, *(at + _MILLISECOND for at in asked)]), as_of + _MILLISECOND)
        answers = self._journal.responses.select(grid, known_since=since, until=as_of + _MILLISECOND)
        return OperatorFacts(
            notified=notified,
            deliveries=self._deliveries(since=since),
            responses=[_known(answer) for answer in answers if answer.known_at <= as_of],
            evaluations=self._evaluated(since=since, until=seen_until, grid=grid),
        )

    def _notified(self, *, since: datetime, as_of: datetime, grid: str | None) -> list[Notified]:
        decided = self._journal.notifications.decisions(grid, since=since, until=as_of + _MILLISECOND)
        query = sa.select(pages.c.page, pages.c.respond_by).where(pages.c.evaluated_at >= since)
        with self._database.reading() as connection:
            respond_by = dict(connection.execute(query).tuples().all())
        named = sorted({one.decision.grid for one in decided})
        starts = {
            (name, version.grid.version_hash): version.grid.started_at
            for name in named
            for version in self._journal.grid_versions(name)
        }
        return [
            Notified(
                decision=one.decision,
                decided_at=one.decided_at,
                respond_by=respond_by.get(one.decision.page) if one.decision.is_told else None,
                started_at=starts.get((one.decision.grid, one.grid_version)),
            )
            for one in decided
        ]

    def _deliveries(self, *, since: datetime) -> dict[str, PageDelivery]:
        """Of the pages about evaluations from ``since`` on: nothing can happen to them before."""

        def first(outcome: DeliveryOutcome) -> sa.Label[datetime]:
            is_it = delivery_events.c.event == outcome.value
            return sa.func.min(sa.case((is_it, delivery_events.c.at))).label(outcome.value)

        query = sa.select(delivery_events.c.page, first(DeliveryOutcome.SENT), first(DeliveryOutcome.ESCALATED))
        query = query.where(delivery_events.c.at >= since).group_by(delivery_events.c.page)
        with self._database.reading() as connection:
            return {row.page: PageDelivery(sent_at=row[1], escalated_at=row[2]) for row in connection.execute(query)}

    def _evaluated(self, *, since: datetime, until: datetime, grid: str | None) -> pl.DataFrame:
        at_ms = sa.type_coerce(evaluations.c.evaluated_at, sa.BigInteger).label("evaluated_at")
        rest = (evaluations.c.kind, evaluations.c.state, evaluations.c.is_live)
        query = _within(sa.select(evaluations.c.grid, at_ms, *rest), evaluations.c.evaluated_at, since, until)
        if grid is not None:
            query = query.where(evaluations.c.grid == grid)
        with self._database.reading() as connection:
            rows = [tuple(row) for row in connection.execute(query.order_by(evaluations.c.id))]
        schema = EVALUATED_SCHEMA | {"evaluated_at": pl.Int64()}
        frame = pl.DataFrame(rows, schema=schema, orient="row").unique(["grid", "evaluated_at"], keep="last")
        return frame.cast({"evaluated_at": EVALUATED_SCHEMA["evaluated_at"]}).sort("grid", "evaluated_at")


def _known(answer: ResponseRecord) -> Response:
    """A response, with the moment at which it was known where that is later than it happened."""
    is_later = answer.known_at > answer.response.at
    return replace(answer.response, known_at=answer.known_at) if is_later else answer.response


def _within(
    query: sa.Select[Any], column: sa.ColumnElement[Any], since: datetime | None, until: datetime | None
) -> sa.Select[Any]:
    if since is not None:
        query = query.where(column >= since)
    return query if until is None else query.where(column < until)


def _evaluation_of(row: sa.Row[Any]) -> Evaluation:
    values = dict(row._mapping)
    values |= {"kind": EvaluationKind(row.kind), "fired": tuple(row.fired), "reasons": tuple(row.reasons)}
    del values["id"]
    return Evaluation(**values)
