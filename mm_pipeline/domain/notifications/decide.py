"""Whether an operator is told, and of what: a function of states, responses, policy and earlier decisions (SPEC 8).

The rules of each notice are in ``rules``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from mm_pipeline.domain.notifications.decision import Decision, Notice
from mm_pipeline.domain.notifications.history import History
from mm_pipeline.domain.notifications.judgement import EXIT, Judgement
from mm_pipeline.domain.notifications.policy import NotifyPolicy
from mm_pipeline.domain.notifications.response import Response
from mm_pipeline.domain.notifications.rules import due_contradicted, due_entry, due_exit


def decide(judged: Judgement, before: History, policy: NotifyPolicy) -> Decision | None:
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
    due = due_contradicted(now)
    if due is None:
        due = due_exit(judged, now, policy) if judged.kind == EXIT else due_entry(judged, now, policy)
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


def decide_all(judged: Sequence[Judgement], histories: Mapping[str, History], policy: NotifyPolicy) -> list[Decision]:
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
    judged: Iterable[Judgement],
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


def page_id(notice: Notice, judged: Judgement, grids: Iterable[str]) -> str:
    """Name of the page about these grids at this evaluation: equal content, equal name, on any daemon."""
    text = "\n".join([notice, judged.kind, judged.evaluated_at.isoformat(), *sorted(grids)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
