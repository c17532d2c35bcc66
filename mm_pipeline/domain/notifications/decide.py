"""Whether an operator is told, and of what: a function of states, responses, policy and earlier decisions (SPEC 8).

Where SPEC leaves room, this is meant:

- *Change* is against what was told last, not against the evaluation before: a state that comes back before anything
  else was told is no news. After an UNKNOWN that was told, whatever is seen again is news.
- To an exit that is seen again, what was held back counts as told: holding a mild notice back never silences an exit.
- UNKNOWN and ENTER are news in each unbroken run of evaluations.
- UNKNOWN is told once it has lasted, again 4 h and 12 h after its first page, and then 24 h after each page.
- A position that was reported flat silences the repetitions and reissues of the notice that stood then, and milder
  ones, until something graver, a new mandatory trigger or all-clear is told, also when an outage comes between. One
  that its account showed closed silences exits and warnings altogether. A new ``started_at`` begins anew, and so does a
  position that is seen open again. An exit that is told in spite of such a report wants one of its own.
- A report of flat that its account contradicts is told as an emergency, whatever the state; from then on the state is
  told as if nobody had reported anything.
- A MANDATORY_EXIT that stands while the grid is UNKNOWN is reissued like any other.
- What is held back by a minimum interval or the page budget is told as soon as neither binds, if it still holds.
- A response counts for decisions made at or after the moment it was known: live ones say when that was, a replay takes
  ``decided_after`` from each evaluation. That a position is open again counts for no evaluation before it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import groupby

from mm_pipeline.domain.notifications.decision import ASKS_FOR_EXIT, Cause, Decision, HeldBack, Notice
from mm_pipeline.domain.notifications.history import History
from mm_pipeline.domain.notifications.judged import EXIT, Judged
from mm_pipeline.domain.notifications.policy import NotifyPolicy
from mm_pipeline.domain.notifications.response import Response


@dataclass(frozen=True)
class _Due:
    """A notice that is due, as part of which telling, and why."""

    notice: Notice
    cause: Cause
    continues: Decision | None = None
    held_back: HeldBack | None = None


def decide(judged: Judged, before: History, policy: NotifyPolicy) -> Decision | None:
    """Decide about one grid at one live evaluation.

    Parameters
    ----------
    judged
        What was said of the grid.
    before
        Its history without this evaluation.

    Returns
    -------
    The decision, told or held back; None where there is nothing to tell. Its page is its own: see :func:`decide_all`.
    """
    now = before.at(judged)
    due = _due_contradicted(now)
    if due is None:
        due = _due_exit(judged, now, policy) if judged.kind == EXIT else _due_entry(judged, now, policy)
    if due is None:
        return None
    episode = due.continues
    mandatory = judged.mandatory if due.notice is Notice.MANDATORY_EXIT else ()
    return Decision(
        grid=judged.grid,
        evaluated_at=judged.evaluated_at,
        kind=judged.kind,
        notice=due.notice,
        state=judged.state,
        cause=due.cause,
        episode_at=judged.evaluated_at if episode is None else episode.episode_at,
        number=1 if episode is None else episode.number + 1,
        triggers=tuple(sorted({*mandatory, *(() if episode is None else episode.triggers)})),
        page=page_id(due.notice, judged, [judged.grid]),
        held_back=due.held_back,
    )


def decide_all(judged: Sequence[Judged], histories: Mapping[str, History], policy: NotifyPolicy) -> list[Decision]:
    """Decide about every grid at one moment; grids that are blind for one cause share a page.

    Parameters
    ----------
    judged
        At most one a grid, all of the same ``evaluated_at``.
    histories
        By grid, without these evaluations; a grid without one is new.

    Returns
    -------
    Decisions by grid id.
    """
    made = {one.grid: decide(one, histories.get(one.grid, History()), policy) for one in judged}
    causes = {one.grid: one for one in judged}
    decisions = sorted((decision for decision in made.values() if decision is not None), key=lambda found: found.grid)
    blind: dict[str, list[str]] = {}
    for decision in decisions:
        if decision.notice is Notice.UNKNOWN:
            blind.setdefault(causes[decision.grid].cause, []).append(decision.grid)
    pages = {grid: page_id(Notice.UNKNOWN, causes[grid], grids) for grids in blind.values() for grid in grids}
    return [
        replace(decision, page=pages[decision.grid]) if decision.notice is Notice.UNKNOWN else decision
        for decision in decisions
    ]


def replay(
    judged: Iterable[Judged],
    responses: Iterable[Response],
    policy: NotifyPolicy,
    histories: Mapping[str, History] | None = None,
) -> list[Decision]:
    """Decide at evaluation after evaluation, as live ticks would have done.

    Parameters
    ----------
    judged
        Of any number of grids, ascending by ``evaluated_at``.
    responses
        In any order.
    histories
        What was before the first evaluation, by grid.

    Returns
    -------
    Every decision, told or held back, in the order in which it was made.
    """
    known = dict(histories or {})
    waiting = sorted(responses, key=lambda response: response.counts_from)
    decisions: list[Decision] = []
    taken = 0
    for at, group in groupby(judged, key=lambda one: one.evaluated_at):
        while taken < len(waiting) and waiting[taken].counts_from <= at + policy.decided_after:
            response = waiting[taken]
            known[response.grid] = known.get(response.grid, History()).answered(response)
            taken += 1
        together = list(group)
        made = decide_all(together, known, policy)
        for one in together:
            known[one.grid] = known.get(one.grid, History()).at(one)
        for decision in made:
            known[decision.grid] = known[decision.grid].after(decision, policy.budget)
        decisions += made
    return decisions


def page_id(notice: Notice, judged: Judged, grids: Iterable[str]) -> str:
    """Name of the page about these grids at this evaluation: equal content, equal name, on any daemon."""
    text = "\n".join([notice, judged.kind, judged.evaluated_at.isoformat(), *sorted(grids)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _due_contradicted(now: History) -> _Due | None:
    """The account holds what was reported closed: nobody acts upon it, and only a page can say so."""
    return None if now.contradicted_at is None else _Due(Notice.MANDATORY_EXIT, Cause.CONTRADICTED)


def _due_exit(judged: Judged, now: History, policy: NotifyPolicy) -> _Due | None:
    if judged.state == Notice.UNKNOWN:
        return _due_standing(judged, now, policy) or _due_unknown(judged, now, policy)
    if judged.state == Notice.MANDATORY_EXIT:
        return _due_sold_out(judged, now, policy) if judged.is_sold_out else _due_mandatory(judged, now, policy)
    if judged.state == Notice.LATEST_ACCEPTABLE_EXIT:
        return _due_latest(judged, now, policy)
    if judged.state == Notice.WARNING:
        return _due_warning(judged, now, policy)
    return _due_normal(judged, now, policy)


def _due_mandatory(judged: Judged, now: History, policy: NotifyPolicy) -> _Due | None:
    last = now.last
    if _is_closed_under(now, Notice.MANDATORY_EXIT):
        return None if _has_told_triggers(judged, now) else _Due(Notice.MANDATORY_EXIT, Cause.NEW_TRIGGER)
    if last is None or _is_exit_news(Notice.MANDATORY_EXIT, now):
        return _Due(Notice.MANDATORY_EXIT, Cause.CHANGE)
    if not set(judged.mandatory) <= set(last.triggers):
        return _Due(Notice.MANDATORY_EXIT, Cause.NEW_TRIGGER, last)
    return _reissued(judged, now, last, policy)


def _reissued(judged: Judged, now: History, last: Decision, policy: NotifyPolicy) -> _Due | None:
    if now.is_acknowledged(last) or _since(judged, last) < policy.mandatory_exit.expire:
        return None
    return _Due(Notice.MANDATORY_EXIT, Cause.REISSUE, last)


def _due_standing(judged: Judged, now: History, policy: NotifyPolicy) -> _Due | None:
    """Of a grid that is blind: the emergency that stands and that nobody has answered."""
    last = now.told.get(Notice.MANDATORY_EXIT)
    if last is None or judged.last_known_state != Notice.MANDATORY_EXIT:
        return None
    if now.is_flat_since(last) or now.verified_at is not None:
        return None
    others = (told for told in now.told.values() if told.notice not in (Notice.MANDATORY_EXIT, Notice.UNKNOWN))
    is_standing = all(told.evaluated_at < last.evaluated_at for told in others)
    return _reissued(judged, now, last, policy) if is_standing else None


def _due_unknown(judged: Judged, now: History, policy: NotifyPolicy) -> _Due | None:
    rules, told = policy.unknown, now.told.get(Notice.UNKNOWN)
    if told is None or not now.is_in_run(told):
        return _Due(Notice.UNKNOWN, Cause.CHANGE) if now.run >= rules.after_evaluations else None
    due_at = {1: told.episode_at + rules.second_after, 2: told.episode_at + rules.third_after}
    is_due = judged.evaluated_at >= due_at.get(told.number, told.evaluated_at + rules.then_every)
    return _Due(Notice.UNKNOWN, Cause.REPEAT, told) if is_due else None


def _due_sold_out(judged: Judged, now: History, policy: NotifyPolicy) -> _Due | None:
    is_told = now.last is not None and now.last.notice is Notice.SOLD_OUT
    if is_told or _is_closed_under(now, *ASKS_FOR_EXIT):
        return None
    return _bound(_Due(Notice.SOLD_OUT, Cause.CHANGE), judged, now, policy)


def _due_latest(judged: Judged, now: History, policy: NotifyPolicy) -> _Due | None:
    last = now.last
    if _is_closed_under(now, *ASKS_FOR_EXIT):
        return None
    if last is None or _is_exit_news(Notice.LATEST_ACCEPTABLE_EXIT, now):
        return _Due(Notice.LATEST_ACCEPTABLE_EXIT, Cause.CHANGE)
    if now.is_acknowledged(last) or _since(judged, last) < policy.latest_acceptable_exit.repeat:
        return None
    return _Due(Notice.LATEST_ACCEPTABLE_EXIT, Cause.REPEAT, last)


def _due_warning(judged: Judged, now: History, policy: NotifyPolicy) -> _Due | None:
    is_told = now.last is not None and now.last.notice is Notice.WARNING
    if is_told or _is_closed_under(now, *ASKS_FOR_EXIT):
        return None
    due = _Due(Notice.WARNING, Cause.CHANGE)
    return _bound(due, judged, now, policy, min_interval=policy.warning.min_interval)


def _due_normal(judged: Judged, now: History, policy: NotifyPolicy) -> _Due | None:
    if now.last is None or now.last.notice is Notice.NORMAL or now.run < policy.normal.after_evaluations:
        return None
    return _bound(_Due(Notice.NORMAL, Cause.CHANGE), judged, now, policy)


def _due_entry(judged: Judged, now: History, policy: NotifyPolicy) -> _Due | None:
    if judged.state != Notice.ENTER or now.is_in_run(now.told.get(Notice.ENTER)):
        return None
    due = _Due(Notice.ENTER, Cause.CHANGE)
    return _bound(due, judged, now, policy, min_interval=policy.enter.min_interval)


def _bound(
    due: _Due, judged: Judged, now: History, policy: NotifyPolicy, *, min_interval: timedelta = timedelta(0)
) -> _Due | None:
    """Hold a notice back where an interval or the budget binds; that it is held back is noted once in a run."""
    told = now.told.get(due.notice)
    if told is not None and _since(judged, told) < min_interval:
        held_back = HeldBack.MIN_INTERVAL
    elif now.pages_within(judged, policy.budget) >= policy.budget.pages:
        held_back = HeldBack.BUDGET
    else:
        return due
    return None if now.is_in_run(now.held) else replace(due, held_back=held_back)


def _is_exit_news(notice: Notice, now: History) -> bool:
    """Whether the newest decision was of something else, told or held back."""
    is_told = now.last is not None and now.last.notice is notice
    return not is_told or (now.held is not None and now.held.notice is not notice)


def _is_closed_under(now: History, *notices: Notice) -> bool:
    """Whether the position was closed while one of these stood: then neither it nor what is milder is told.

    Where the account showed it, nothing else is told either, whatever stood since: there is nothing to exit.
    """
    stood = now.stood
    if now.verified_at is not None:
        return True
    return stood is not None and stood.notice in notices and now.is_flat_since(stood)


def _has_told_triggers(judged: Judged, now: History) -> bool:
    """Whether the notice that stands told of every mandatory trigger that fires now, or there is nothing to exit."""
    stood = now.stood
    is_told = stood is not None and set(judged.mandatory) <= set(stood.triggers)
    return is_told or now.verified_at is not None


def _since(judged: Judged, decision: Decision) -> timedelta:
    return judged.evaluated_at - decision.evaluated_at
