"""The journal as one story: evaluations, decisions, pages, deliveries, answers and notices in the order of time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from mm_pipeline.adapters.journal import DeliveryEvent, DeliveryOutcome, Journal, Page
from mm_pipeline.adapters.journal.operator_queries import OperatorQueries
from mm_pipeline.application.operator.journal_line import (
    GRID_NOTICE,
    WATCH_NOTICE,
    JournalLine,
    LineKind,
    of_answer,
    of_circuit,
    of_decision,
    of_delivery,
    of_evaluation,
    of_grid,
    of_notice,
    of_page,
)

DEFAULT_KINDS: Final = frozenset(LineKind) - {LineKind.EVALUATION}
"""Evaluations that say what the one before said are left out unless they are asked for."""
_LATEST: Final = timedelta(days=1)
"""No decision is made so long after its evaluation (the bound of ``notify.max_lateness`` is 2 h)."""
_ORDER: Final = {kind: place for place, kind in enumerate(LineKind)}


@dataclass(frozen=True, kw_only=True)
class Span:
    """What is asked for: ``since <= at < until``, of one grid where one is named, the newest ``limit`` lines."""

    since: datetime
    until: datetime
    grid: str | None = None
    limit: int


def journal_lines(journal: Journal, span: Span, kinds: Collection[LineKind]) -> list[JournalLine]:
    """Lines of the kinds in a stretch of time, newest last.

    Evaluations are asked for either all or where kind, state or fired triggers are others than the evaluation before
    had. An attempt to deliver is one line: that it was begun is told only where nothing more was heard of it.
    """
    reading = _Reading(journal, OperatorQueries(journal), span)
    sources: dict[LineKind, Callable[[], Iterable[JournalLine]]] = {
        LineKind.GRID: reading.grids,
        LineKind.NOTICE: reading.notices,
        LineKind.EVALUATION: reading.evaluations,
        LineKind.CHANGE: reading.changes,
        LineKind.DECISION: reading.decisions,
        LineKind.PAGE: reading.pages,
        LineKind.DELIVERY: reading.deliveries,
        LineKind.RESPONSE: reading.responses,
        LineKind.CIRCUIT: reading.circuits,
    }
    asked = set(kinds) - ({LineKind.CHANGE} if LineKind.EVALUATION in kinds else set())
    lines = [line for kind in LineKind if kind in asked for line in sources[kind]()]
    return sorted(lines, key=lambda line: (line.at, _ORDER[line.kind]))[-span.limit :]


@dataclass(frozen=True)
class _Reading:
    """The journal's records of a stretch, as lines."""

    journal: Journal
    queries: OperatorQueries
    span: Span

    def grids(self) -> Iterator[JournalLine]:
        for grid_id in [self.span.grid] if self.span.grid else self.journal.known_grids():
            for number, row in enumerate(self.journal.grid_history(grid_id)):
                if self.span.since <= row.seen_at < self.span.until:
                    yield of_grid(row, is_first=number == 0)

    def notices(self) -> Iterator[JournalLine]:
        wanted = self._subjects()
        for notice in self.journal.notices(since=self.span.since, until=self.span.until):
            if wanted is None or notice.market in wanted:
                yield of_notice(notice)

    def evaluations(self) -> Iterator[JournalLine]:
        found = self.journal.evaluations(self.span.grid, since=self.span.since, until=self.span.until)
        return (of_evaluation(one, LineKind.EVALUATION) for one in found[-self.span.limit :])

    def changes(self) -> Iterator[JournalLine]:
        span = self.span
        found = self.queries.changes(span.grid, since=span.since, until=span.until, limit=span.limit)
        return (of_evaluation(one, LineKind.CHANGE) for one in found)

    def decisions(self) -> Iterator[JournalLine]:
        # They are asked for by evaluation and told by when they were made, which is later.
        since, until = self.span.since, self.span.until
        for decided in self.journal.notifications.decisions(self.span.grid, since=since - _LATEST, until=until):
            if since <= decided.decided_at < until:
                yield of_decision(decided)

    def pages(self) -> Iterator[JournalLine]:
        for page in self.journal.notifications.pages(since=self.span.since, until=self.span.until):
            if self._is_wanted(page):
                yield of_page(page)

    def deliveries(self) -> Iterator[JournalLine]:
        events = self.journal.outbox.events(since=self.span.since, until=self.span.until)
        ended = {_attempt(event) for event in events if event.event is not DeliveryOutcome.STARTED}
        pages = {page.page: page for page in self.journal.notifications.pages(ids={event.page for event in events})}
        for event in events:
            is_told = event.event is not DeliveryOutcome.STARTED or _attempt(event) not in ended
            if is_told and self._is_wanted(pages[event.page]):
                yield of_delivery(event, pages[event.page])

    def responses(self) -> Iterator[JournalLine]:
        span = self.span
        return map(of_answer, self.journal.responses.select(span.grid, since=span.since, until=span.until))

    def circuits(self) -> Iterator[JournalLine]:
        wanted = self._subjects()
        exchanges = None if wanted is None else {market.partition(":")[0] for market in wanted}
        for change in self.journal.circuits.changes(since=self.span.since, until=self.span.until):
            is_channel = change.name.startswith("channel:")
            if exchanges is None or is_channel or change.name.removeprefix("account:") in exchanges:
                yield of_circuit(change)

    def _subjects(self) -> set[str] | None:
        """Names that notices about the grid bear; None where every grid is asked for."""
        if self.span.grid is None:
            return None
        markets = {str(version.grid.market) for version in self.journal.grid_versions(self.span.grid)}
        return markets | {f"{GRID_NOTICE}{self.span.grid}", WATCH_NOTICE}

    def _is_wanted(self, page: Page) -> bool:
        return self.span.grid is None or self.span.grid in page.grids


def _attempt(event: DeliveryEvent) -> tuple[str, str, int]:
    return event.page, event.channel, event.attempt
