"""One grid's past as it was decided: an evaluation with its reasons, and the runs of its states with what was paged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final

from mm_pipeline.adapters.journal import Evaluation, Journal
from mm_pipeline.application.operator.status import decided_report
from mm_pipeline.domain.errors import PipelineError
from mm_pipeline.domain.notifications import Decision
from mm_pipeline.reporting.grid_report import GridReport

LOOK_BACK: Final = timedelta(days=1)
"""How long before a moment its evaluation may lie: an older one says nothing of it."""
_MOMENT: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, kw_only=True)
class PastEvaluation:
    """An evaluation, and what was decided about paging."""

    report: GridReport
    decisions: tuple[Decision, ...]

    def as_json(self, *, now: datetime) -> dict[str, Any]:
        """A grid as ``mm evaluate --json`` has it, and ``decisions``."""
        return self.report.as_json(now=now) | {"decisions": [_decision_json(one) for one in self.decisions]}


@dataclass(frozen=True, kw_only=True)
class StateRun:
    """Evaluations in a row with one state.

    Attributes
    ----------
    begins, ends
        The first and the last of them.
    fired
        Triggers that were on at any of them, in the order in which they came.
    pages
        Decisions within it for which there is a page.
    """

    kind: str
    state: str
    begins: datetime
    ends: datetime
    evaluations: int
    fired: tuple[str, ...]
    pages: tuple[Decision, ...]

    def as_json(self) -> dict[str, Any]:
        """As ``mm history --json`` prints it."""
        return vars(self) | {"fired": list(self.fired), "pages": [_decision_json(one) for one in self.pages]}


def evaluation_at(journal: Journal, grid_id: str, at: datetime) -> PastEvaluation:
    """The newest evaluation of a grid at or before a moment.

    Raises
    ------
    PipelineError
        Where there is none in the day before.
    """
    found = newest_of_each(journal.evaluations(grid_id, since=at - LOOK_BACK, until=at + _MOMENT))
    if not found:
        problem = f"{grid_id} was not evaluated in the day before {at:%Y-%m-%d %H:%M} UTC."
        raise PipelineError(problem, "mm journal --kind evaluation lists its evaluations.")
    evaluation = found[-1]
    version = journal.grid_in_force(grid_id, evaluation.evaluated_at)
    since = evaluation.evaluated_at
    decided = journal.notifications.decisions(grid_id, since=since, until=since + _MOMENT)
    return PastEvaluation(
        report=decided_report(journal, None if version is None else version.grid, evaluation),
        decisions=tuple(one.decision for one in decided),
    )


def state_runs(journal: Journal, grid_id: str, *, since: datetime, until: datetime) -> list[StateRun]:
    """Runs of a grid's states in ``[since, until)``, oldest first."""
    found = newest_of_each(journal.evaluations(grid_id, since=since, until=until))
    decided = [one.decision for one in journal.notifications.decisions(grid_id, since=since, until=until)]
    return runs_of(found, decided)


def runs_of(evaluations: Sequence[Evaluation], decided: Sequence[Decision]) -> list[StateRun]:
    """Runs of states among evaluations of one grid, one a bar and ascending, with what was decided in each."""
    runs = []
    for (kind, state), group in groupby(evaluations, key=lambda one: (one.kind.value, one.state)):
        rows = list(group)
        begins, ends = rows[0].evaluated_at, rows[-1].evaluated_at
        runs.append(
            StateRun(
                kind=kind,
                state=state,
                begins=begins,
                ends=ends,
                evaluations=len(rows),
                fired=tuple(dict.fromkeys(name for row in rows for name in row.fired)),
                pages=tuple(one for one in decided if one.is_told and begins <= one.evaluated_at <= ends),
            )
        )
    return runs


def newest_of_each(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Of evaluations in the order of their bars and of recording, the last of each bar."""
    return list({one.evaluated_at: one for one in evaluations}.values())


def _decision_json(decision: Decision) -> dict[str, Any]:
    return {
        "evaluated_at": decision.evaluated_at,
        "notice": decision.notice.value,
        "cause": decision.cause.value,
        "held_back": None if decision.held_back is None else decision.held_back.value,
        "page": decision.page,
    }
