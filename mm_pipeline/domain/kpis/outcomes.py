"""What became of each page about each grid: when it was told, when it was answered, and whether it was worth it.

Where SPEC 9 leaves room, this is meant:

- *Told* is the moment at which the first channel took the page; where none is known to have, when it was decided. Times
  to acknowledge and to flat run from there, and are not below 0 (a command may answer what is still on its way).
- A page is *acknowledged* by the first acknowledgement of it, or of a later page of its episode (a repetition tells the
  same): without the second, only the repetition that was heard would count, and slow answers would look quick. An
  acknowledgement that names no page is one of all that stand.
- A page *stands* until the all-clear, or that all is sold, is told, the grid is switched on or off, or it is re-ranged.
  A position reported flat while a page stands answers it, also where it was closed before, within the range. A report
  that was refuted answers nothing: its account contradicted it, or the position had been seen open after it.
- A window is the operator's to answer when the page was sent and nothing newer was told of the grid before it ended.
  It is *answered* by an acknowledgement or a flat position until its end, else *missed*. What was answered before
  something newer was told counts as answered; a window that has not ended counts as neither.
- A page that asks for an exit is *actionable* when no evaluation until the end of its window was milder than it, or the
  position was flat before the first that was. UNKNOWN takes nothing back. A grid that is re-ranged in the window
  without being reported flat counts as one whose advice was withdrawn.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, takewhile
from operator import itemgetter
from typing import Final

import polars as pl

from mm_pipeline.domain.kpis.facts import Notified, OperatorFacts, PageDelivery
from mm_pipeline.domain.notifications import EXIT, FLATS, Notice, Response, ResponseKind, unrefuted

_CLOSING: Final = frozenset({Notice.NORMAL, Notice.SOLD_OUT, Notice.ENTER})
_MILDER: Final = {
    Notice.MANDATORY_EXIT: ("LATEST_ACCEPTABLE_EXIT", "WARNING", "NORMAL"),
    Notice.LATEST_ACCEPTABLE_EXIT: ("WARNING", "NORMAL"),
}
"""States that withdraw what a page asked for, by its notice."""


@dataclass(frozen=True, kw_only=True)
class PageOutcome:
    """One page about one grid.

    Attributes
    ----------
    is_late
        Whether it was first taken more than ``max_lateness`` after its evaluation.
    acknowledge_s, flat_s
        Seconds from told to acknowledged, and to the position being flat; None where it was not.
    is_answered
        Whether its window was answered; None where there is none, or it is not (or not yet) the operator's.
    is_actionable
        Whether its advice held; None where it asked for no exit, or nobody can say yet.
    """

    grid: str
    notice: str
    is_sent: bool
    is_late: bool
    is_escalated: bool
    acknowledge_s: float | None
    flat_s: float | None
    is_answered: bool | None
    is_actionable: bool | None


def outcomes(
    facts: OperatorFacts, *, since: datetime, until: datetime, as_of: datetime, max_lateness: timedelta
) -> list[PageOutcome]:
    """What became of the pages about evaluations with ``since <= evaluated_at < until``.

    Parameters
    ----------
    as_of
        Nothing that happened later is looked at.
    max_lateness
        From which age on a page is sent marked as late (``notify.max_lateness``).

    Returns
    -------
    One per page and grid, by grid and evaluation.
    """
    known = _Known.until(facts, as_of)
    return [
        _Page(one, known).outcome(max_lateness)
        for grid in sorted(known.told)
        for one in known.told[grid]
        if since <= one.decision.evaluated_at < until
    ]


@dataclass(frozen=True)
class _Known:
    """Facts up to a moment, by grid and in order; ``states`` are those of exit evaluations."""

    as_of: datetime
    told: Mapping[str, Sequence[Notified]]
    decided: Mapping[str, Sequence[Notified]]
    responses: Mapping[str, Sequence[Response]]
    deliveries: Mapping[str, PageDelivery]
    states: Mapping[str, Sequence[tuple[datetime, str]]]

    @classmethod
    def until(cls, facts: OperatorFacts, as_of: datetime) -> _Known:
        decided: dict[str, list[Notified]] = defaultdict(list)
        for one in sorted(facts.notified, key=lambda one: (one.decision.evaluated_at, one.decision.kind)):
            if one.decided_at <= as_of:
                decided[one.decision.grid].append(one)
        responses: dict[str, list[Response]] = defaultdict(list)
        for response in sorted(facts.responses, key=lambda response: response.at):
            if response.counts_from <= as_of:
                responses[response.grid].append(response)
        told = {grid: [one for one in found if one.decision.is_told] for grid, found in decided.items()}
        true = {grid: unrefuted(given) for grid, given in responses.items()}
        return cls(as_of, told, decided, true, facts.deliveries, _states(facts.evaluations, as_of))


def _states(evaluations: pl.DataFrame, as_of: datetime) -> dict[str, list[tuple[datetime, str]]]:
    is_wanted = (pl.col("kind") == EXIT) & (pl.col("evaluated_at") <= as_of)
    states: dict[str, list[tuple[datetime, str]]] = defaultdict(list)
    chosen = evaluations.filter(is_wanted).sort("evaluated_at").select("grid", "evaluated_at", "state")
    for grid, at, state in chosen.iter_rows():
        states[grid].append((at, state))
    return states


class _Page:
    """One told decision among everything that is known of its grid."""

    def __init__(self, one: Notified, known: _Known) -> None:
        self._one = one
        self._known = known
        self._delivery = _as_of(known.deliveries.get(one.decision.page, PageDelivery()), known.as_of)
        self._told_at = self._delivery.sent_at or one.decided_at
        decided = known.decided[one.decision.grid]
        self._later = decided[bisect_right(decided, one.decision.evaluated_at, key=_evaluated_at) :]
        self._stands_until = next((other.decided_at for other in self._later if self._is_closed_by(other)), None)
        self._acknowledged_at = _first(
            response.at for response in known.responses.get(one.decision.grid, ()) if self._is_acknowledged_by(response)
        )
        self._flat_at = _first(
            response.at for response in known.responses.get(one.decision.grid, ()) if self._is_flat_by(response)
        )

    def outcome(self, max_lateness: timedelta) -> PageOutcome:
        decision, sent_at = self._one.decision, self._delivery.sent_at
        return PageOutcome(
            grid=decision.grid,
            notice=decision.notice.value,
            is_sent=sent_at is not None,
            is_late=sent_at is not None and sent_at - decision.evaluated_at > max_lateness,
            is_escalated=self._delivery.escalated_at is not None,
            acknowledge_s=self._seconds_to(self._acknowledged_at),
            flat_s=self._seconds_to(self._flat_at),
            is_answered=self._is_answered(),
            is_actionable=self._is_actionable(),
        )

    def _is_closed_by(self, other: Notified) -> bool:
        mine, theirs = self._one, other.decision
        if theirs.kind != mine.decision.kind or (theirs.is_told and theirs.notice in _CLOSING):
            return True
        return None not in (mine.started_at, other.started_at) and mine.started_at != other.started_at

    def _is_standing_at(self, at: datetime) -> bool:
        stands = self._stands_until is None or at <= self._stands_until
        return stands and at >= self._one.decision.evaluated_at

    def _is_acknowledged_by(self, response: Response) -> bool:
        if response.kind is not ResponseKind.ACKNOWLEDGED:
            return False
        if not response.page:
            return self._is_standing_at(response.at)
        return response.page == self._one.decision.page or any(
            other.decision.page == response.page and self._is_of_episode(other) for other in self._later
        )

    def _is_of_episode(self, other: Notified) -> bool:
        mine, theirs = self._one.decision, other.decision
        return (theirs.notice, theirs.episode_at) == (mine.notice, mine.episode_at)

    def _is_flat_by(self, response: Response) -> bool:
        if response.kind not in FLATS or self._one.decision.notice in _CLOSING:
            return False
        started_at = self._one.started_at
        is_of_range = started_at is None or response.at >= started_at
        return self._is_standing_at(response.at) or (is_of_range and self._is_standing_at(response.counts_from))

    def _seconds_to(self, at: datetime | None) -> float | None:
        return None if at is None else max(0.0, (at - self._told_at).total_seconds())

    def _is_answered(self) -> bool | None:
        ends_at = self._one.respond_by
        if ends_at is None or self._delivery.sent_at is None:
            return None
        told_within = (
            other.decided_at
            for other in self._later
            if other.decision.is_told and other.decision.evaluated_at < ends_at
        )
        newer_at = next(told_within, None)
        answered_at = _first(at for at in (self._acknowledged_at, self._flat_at) if at is not None)
        if answered_at is not None and answered_at <= ends_at and (newer_at is None or answered_at <= newer_at):
            return True
        return None if newer_at is not None or self._known.as_of < ends_at else False

    def _is_actionable(self) -> bool | None:
        decision, ends_at = self._one.decision, self._one.respond_by
        milder = _MILDER.get(decision.notice)
        if milder is None or ends_at is None:
            return None
        states = self._known.states.get(decision.grid, ())
        after = bisect_right(states, decision.evaluated_at, key=itemgetter(0))
        within = takewhile(lambda seen: seen[0] <= ends_at, islice(states, after, None))
        withdrawn_at = next((at for at, state in within if state in milder), None)
        if self._flat_at is not None and self._flat_at <= (withdrawn_at or ends_at):
            return True
        if withdrawn_at is not None:
            return False
        return True if self._known.as_of >= ends_at else None


def _evaluated_at(one: Notified) -> datetime:
    return one.decision.evaluated_at


def _first(times: Iterable[datetime]) -> datetime | None:
    return min(times, default=None)


def _as_of(delivery: PageDelivery, as_of: datetime) -> PageDelivery:
    sent_at, escalated_at = delivery.sent_at, delivery.escalated_at
    return PageDelivery(
        sent_at=sent_at if sent_at is not None and sent_at <= as_of else None,
        escalated_at=escalated_at if escalated_at is not None and escalated_at <= as_of else None,
    )
