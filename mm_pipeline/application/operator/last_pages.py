"""The newest page about each grid, how far it got, who answered it, and what is due; plain values from the journal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from mm_pipeline.adapters.journal import (
    DecisionRecord,
    DeliveryOutcome,
    Journal,
    OpenReceipt,
    Page,
    ResponseRecord,
    Waiting,
    words_in_force,
)
from mm_pipeline.adapters.journal.operator_queries import OperatorQueries
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.notifications import FLATS, TAKES_NOTHING_BACK, ResponseKind


@dataclass(frozen=True, kw_only=True)
class LastPage:
    """A page as far as it got.

    Attributes
    ----------
    delivery
        ``sent``, ``waiting``, ``superseded`` or ``undeliverable``.
    sent_on
        When each channel took it, by name.
    waiting_on
        When each channel is tried next, by name.
    acknowledged_at, acknowledged_by, acknowledged_through
        The first acknowledgement: when, by whom, and through what (a receipt, a command); empty where there is none.
    acknowledge_s
        Seconds from the first successful delivery, else from the decision, to the acknowledgement.
    """

    page: str
    notice: str
    title: str
    evaluated_at: datetime
    decided_at: datetime
    respond_by: datetime | None
    delivery: str
    sent_on: Mapping[str, datetime]
    waiting_on: Mapping[str, datetime]
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""
    acknowledged_through: str = ""

    @property
    def sent_at(self) -> datetime | None:
        """When the first channel took it."""
        return min(self.sent_on.values(), default=None)

    @property
    def acknowledge_s(self) -> float | None:
        """See the attributes."""
        if self.acknowledged_at is None:
            return None
        return max(0.0, (self.acknowledged_at - (self.sent_at or self.decided_at)).total_seconds())

    def as_json(self) -> dict[str, Any]:
        """Every attribute, and what follows from them."""
        return {name: value or None if value == "" else value for name, value in vars(self).items()} | {
            "sent_on": dict(self.sent_on),
            "waiting_on": dict(self.waiting_on),
            "sent_at": self.sent_at,
            "acknowledge_s": self.acknowledge_s,
        }


@dataclass(frozen=True, kw_only=True)
class Due:
    """What is to be done about a grid.

    Attributes
    ----------
    respond_by
        End of the window of the newest page that asks for an answer and has none; None where nothing is asked.
    is_window_over
        Whether it has passed.
    open_emergencies
        Pages whose alarm rings, or may ring, on.
    waiting
        Pages that are due on a channel and that no channel has taken yet.
    overdue
        Pages that no channel has taken for longer than ``delivery.overdue_after``; undeliverable ones are among them.
    """

    respond_by: datetime | None
    is_window_over: bool
    open_emergencies: tuple[str, ...]
    waiting: tuple[str, ...]
    overdue: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Every attribute."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}


@dataclass(frozen=True)
class PageBook:
    """Pages that are on their way, and the journal for what is asked of one grid."""

    journal: Journal
    queries: OperatorQueries
    now: datetime
    ringing: Sequence[OpenReceipt]
    unsent: Sequence[Page]
    overdue: frozenset[str]
    waiting: Mapping[str, Sequence[Waiting]]

    @classmethod
    def open(
        cls, journal: Journal, *, now: datetime, overdue_after: timedelta, records: frozenset[str] = frozenset()
    ) -> Self:
        """Read what is on its way, once for all grids. What something newer has overtaken is due no more."""
        unsent = [
            page
            for page in journal.outbox.unsent(decided_before=now + timedelta(milliseconds=1), records=records)
            if not journal.outbox.is_superseded(page)
        ]
        waiting: dict[str, list[Waiting]] = defaultdict(list)
        for one in journal.outbox.waiting():
            waiting[one.page].append(one)
        return cls(
            journal=journal,
            queries=OperatorQueries(journal),
            now=now,
            ringing=journal.outbox.open_receipts(now=now),
            unsent=unsent,
            overdue=frozenset(page.page for page in unsent if page.decided_at < now - overdue_after),
            waiting=waiting,
        )

    def of(self, grid_id: str, grid: Grid | None, kind: EvaluationKind) -> tuple[LastPage | None, Due]:
        """The newest page of a kind about a grid, and what is due about it."""
        newest = self.queries.newest_told(grid_id, kind)
        asking = newest
        if newest is not None and newest.decision.notice in TAKES_NOTHING_BACK:
            asking = self.queries.newest_told(grid_id, kind, without=sorted(TAKES_NOTHING_BACK))
        respond_by = None if asking is None else self._asked_by(asking, grid)
        mine = [page for page in self.unsent if grid_id in page.grids]
        due = Due(
            respond_by=respond_by,
            is_window_over=respond_by is not None and respond_by < self.now,
            open_emergencies=tuple(one.page.page for one in self.ringing if grid_id in one.page.grids),
            waiting=tuple(page.page for page in mine if page.page in self.waiting),
            overdue=tuple(page.page for page in mine if page.page in self.overdue),
        )
        return None if newest is None else self._last_page(newest), due

    def flat(self, grid_id: str, *, started_at: datetime | None) -> ResponseRecord | None:
        """The word in force that the position of a range is closed, by the rule of decisions; None where none is."""
        answers = self.journal.responses.select(grid_id, known_since=started_at)
        known = (answer for answer in answers if answer.known_at <= self.now)
        words = words_in_force(known, started_at=started_at)
        return words[-1] if words and words[-1].response.kind in FLATS else None

    def _asked_by(self, asking: DecisionRecord, grid: Grid | None) -> datetime | None:
        """End of the window of a page that nobody has answered; None of a page about a range that was left."""
        decision = asking.decision
        if grid is not None and decision.evaluated_at < grid.started_at:
            return None
        word = self.flat(decision.grid, started_at=None if grid is None else grid.started_at)
        is_closed = word is not None and word.known_at >= decision.episode_at
        if is_closed or self._acknowledged(asking) is not None:
            return None
        (page,) = self.journal.notifications.pages(ids=[decision.page])
        return page.respond_by

    def _acknowledged(self, told: DecisionRecord) -> ResponseRecord | None:
        decision = told.decision
        found = self.journal.responses.select(decision.grid, since=decision.evaluated_at)
        of_page = (answer for answer in found if answer.response.page in (decision.page, ""))
        return next((one for one in of_page if one.response.kind is ResponseKind.ACKNOWLEDGED), None)

    def _last_page(self, told: DecisionRecord) -> LastPage:
        (page,) = self.journal.notifications.pages(ids=[told.decision.page])
        sent_on: dict[str, datetime] = {}
        seen = set()
        for event in self.journal.outbox.events(page=page.page):
            seen.add(event.event)
            if event.event is DeliveryOutcome.SENT:
                sent_on.setdefault(event.channel, event.at)
        waiting = {one.channel: one.due_at for one in self.waiting.get(page.page, ())}
        answer = self._acknowledged(told)
        return LastPage(
            page=page.page,
            notice=page.notice,
            title=page.title,
            evaluated_at=page.evaluated_at,
            decided_at=page.decided_at,
            respond_by=page.respond_by,
            delivery=_delivery(sent_on, waiting, seen),
            sent_on=sent_on,
            waiting_on=waiting,
            acknowledged_at=None if answer is None else answer.response.at,
            acknowledged_by="" if answer is None else answer.by_whom,
            acknowledged_through="" if answer is None else answer.source,
        )


def _delivery(sent_on: Mapping[str, datetime], waiting_on: Mapping[str, datetime], seen: set[DeliveryOutcome]) -> str:
    if sent_on:
        return "sent"
    if waiting_on:
        return "waiting"
    if DeliveryOutcome.ANSWERED in seen:
        return "answered"
    return "superseded" if DeliveryOutcome.SUPERSEDED in seen else "undeliverable"
