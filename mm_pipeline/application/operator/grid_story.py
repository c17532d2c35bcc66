"""One grid's past as its page tells it: price and states, what was paged and answered, and one moment in full."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from mm_pipeline.adapters.journal import Evaluation, Journal
from mm_pipeline.application.operator.journal_line import JournalLine, LineKind
from mm_pipeline.application.operator.journal_story import Span, journal_lines
from mm_pipeline.application.operator.past import PastEvaluation, StateRun, evaluation_at, newest_of_each, runs_of

_MOMENT: Final = timedelta(milliseconds=1)
_KINDS: Final = (
    *(LineKind.GRID, LineKind.NOTICE, LineKind.CHANGE),
    *(LineKind.PAGE, LineKind.DELIVERY, LineKind.RESPONSE),
)
"""What an operator looks for; who decided what is in ``mm journal``."""
_MOST_LINES: Final = 200


@dataclass(frozen=True, kw_only=True)
class GridStory:
    """The past of a grid in ``[since, until]``.

    Attributes
    ----------
    evaluations
        One a bar, ascending.
    lines
        What changed and happened, oldest first; the newest where there are too many.
    moment
        The evaluation that was asked for; None where none was.
    """

    grid_id: str
    since: datetime
    until: datetime
    evaluations: Sequence[Evaluation]
    runs: Sequence[StateRun]
    lines: Sequence[JournalLine]
    moment: PastEvaluation | None

    def as_json(self, *, now: datetime) -> dict[str, Any]:
        """What ``/grid/ID/json`` of the page prints."""
        return {
            "grid": self.grid_id,
            "since": self.since,
            "until": self.until,
            "states": [run.as_json() for run in self.runs],
            "prices": [{"at": one.evaluated_at, "price": one.price} for one in self.evaluations],
            "lines": [line.as_json() | {"data": None} for line in self.lines],
            "moment": None if self.moment is None else self.moment.as_json(now=now),
        }


def grid_story(
    journal: Journal, grid_id: str, *, since: datetime, until: datetime, at: datetime | None = None
) -> GridStory:
    """The past of a grid.

    Parameters
    ----------
    at
        Moment whose evaluation is explained; None: that of ``until``, where there is one.

    Raises
    ------
    PipelineError
        When nothing was evaluated in the day before ``at``.
    """
    end = until + _MOMENT
    found = newest_of_each(journal.evaluations(grid_id, since=since, until=end))
    decided = [one.decision for one in journal.notifications.decisions(grid_id, since=since, until=end)]
    is_told = at is not None or (found and found[-1].evaluated_at > until - timedelta(days=1))
    return GridStory(
        grid_id=grid_id,
        since=since,
        until=until,
        evaluations=found,
        runs=runs_of(found, decided),
        lines=journal_lines(journal, Span(since=since, until=end, grid=grid_id, limit=_MOST_LINES), _KINDS),
        moment=evaluation_at(journal, grid_id, at or until) if is_told else None,
    )
