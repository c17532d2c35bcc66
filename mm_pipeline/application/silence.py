"""Why a tick was not good: what withholds the heartbeat, so that somebody outside hears that nobody watches."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from mm_pipeline.adapters.journal import Journal
from mm_pipeline.application.opening.channels import Delivery
from mm_pipeline.application.plan import Plan
from mm_pipeline.application.unclear_files import unclear_files
from mm_pipeline.domain.grid import unwatched
from mm_pipeline.settings import Settings

_MOMENT = timedelta(milliseconds=1)


def silence(
    journal: Journal, delivery: Delivery, plan: Plan, *, now: datetime, settings: Settings, clock: str | None
) -> str | None:
    """The first thing that is wrong with the watch at its own evaluation; None where it is well.

    Parameters
    ----------
    clock
        What an exchange says is wrong with this machine's clock; None for nothing.

    Raises
    ------
    StorageError
        When the journal fails.
    """
    reasons = (
        clock,
        _late(plan, now, settings.notify.max_lateness),
        journal.future_rows().problem,
        next(_unjudged(journal, plan), None),
        next(_unclear(journal, plan), None),
        _overdue(journal, delivery, now - settings.delivery.overdue_after),
    )
    return next((reason for reason in reasons if reason is not None), None) or delivery.health.silence()


def _late(plan: Plan, now: datetime, limit: timedelta) -> str | None:
    late = now - plan.evaluated_at
    return f"the evaluation is {late} late, and nothing of it is paged" if late > limit else None


def _unjudged(journal: Journal, plan: Plan) -> Iterator[str]:
    """Grids in force that have no evaluation at the run's own time, or that nobody watches any more."""
    at = plan.evaluated_at
    judged = {one.grid for one in journal.evaluations(since=at, until=at + _MOMENT)}
    for grid in journal.known_grids():
        version = journal.grid_in_force(grid, at)
        blind = None if version is None else unwatched(version, at)
        if blind is not None:
            yield f"{grid} {blind}"
        elif version is not None and version.grid.started_at < at and grid not in judged:
            yield f"{grid} was not evaluated"


def _unclear(journal: Journal, plan: Plan) -> Iterator[str]:
    """Files of which nobody knows what they say; and that no grid at all is watched."""
    for subject, problem in unclear_files(journal, plan.evaluated_at).items():
        yield f"the file of {subject} cannot be used: {problem}"
    if not any(journal.grid_in_force(grid, plan.evaluated_at) for grid in journal.known_grids()):
        yield "no grid is watched"


def _overdue(journal: Journal, delivery: Delivery, decided_before: datetime) -> str | None:
    overdue = journal.outbox.unsent(decided_before=decided_before, records=delivery.ladder.records)
    return f"page {overdue[0].page} ({overdue[0].title}) is overdue" if overdue else None
