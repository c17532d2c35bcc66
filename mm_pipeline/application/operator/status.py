"""Each grid as its operator stands to it: what was decided last, what was told, who answered, and what is due.

Read from the journal, as everything that is live is. How it is shown belongs to ``operator_tables``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from mm_pipeline.adapters.config.grid_files import GridFolder
from mm_pipeline.adapters.journal import Evaluation, Journal
from mm_pipeline.adapters.journal.operator_queries import OperatorQueries
from mm_pipeline.application.operator.last_pages import Due, LastPage, PageBook
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.exit_state import TRIGGERS
from mm_pipeline.domain.grid import Grid, GridVersion, unwatched
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.policy import print_duration
from mm_pipeline.domain.risk.columns import RISK_STRUCT
from mm_pipeline.reporting.grid_report import GridReport, TriggerReading
from mm_pipeline.reporting.price_words import age_text

UNKNOWN: Final = "UNKNOWN"


@dataclass(frozen=True, kw_only=True)
class GridStatus:
    """One grid in force.

    Attributes
    ----------
    report
        Its newest evaluation as it was decided; UNKNOWN where that is missing or too old.
    is_evaluated
        Whether it was ever evaluated.
    last_page
        The newest page about it; None where nothing was told.
    flat_at, flat_by
        When and by whom its position was closed, by the word that is in force.
    """

    report: GridReport
    is_evaluated: bool
    last_page: LastPage | None
    flat_at: datetime | None
    flat_by: str
    due: Due

    def as_json(self, *, now: datetime) -> dict[str, Any]:
        """What ``mm status --json`` prints of a grid: what ``mm evaluate --json`` does, and page, flat and due."""
        data = self.report.as_json(now=now)
        if not self.is_evaluated:
            data["age_s"] = None
        return data | {
            "page": None if self.last_page is None else self.last_page.as_json(),
            "flat_at": self.flat_at,
            "flat_by": self.flat_by or None,
            "due": self.due.as_json(),
        }


@dataclass(frozen=True, kw_only=True)
class Pulse:
    """Whether the watch itself is alive, by what it journalled last.

    Attributes
    ----------
    evaluated_at
        Its newest evaluation of any grid; None where there never was one.
    age
        How long ago that was.
    is_silent
        Whether that is longer than an evaluation counts, or there never was one.
    """

    evaluated_at: datetime | None
    age: timedelta
    is_silent: bool

    @property
    def next_at(self) -> datetime | None:
        """Bar whose evaluation is due next; None where there never was one."""
        bar = timedelta(milliseconds=Timeframe.M15.ms)
        return None if self.evaluated_at is None else self.evaluated_at + bar


def pulse_of(statuses: Sequence[GridStatus], *, now: datetime, max_lateness: timedelta) -> Pulse:
    """What the newest evaluation of all grids says of the watch; one without any grid has nothing to evaluate."""
    newest = max((one.report.evaluated_at for one in statuses if one.is_evaluated), default=None)
    age = timedelta(0) if newest is None else max(timedelta(0), now - newest)
    is_silent = bool(statuses) and (newest is None or age > max_lateness)
    return Pulse(evaluated_at=newest, age=age, is_silent=is_silent)


def grid_statuses(
    journal: Journal,
    folder: GridFolder,
    *,
    now: datetime,
    max_lateness: timedelta,
    overdue_after: timedelta,
    records: frozenset[str] = frozenset(),
    only: str | None = None,
) -> list[GridStatus]:
    """Every grid in force, by id.

    A grid is in force when the journal knows a version of it that has begun, or is not watched although it is enabled
    (its start lies in the future, its file is gone); beside those, a file that the watch has not seen yet, or cannot
    read, is told as UNKNOWN.

    Parameters
    ----------
    folder
        Grid files as they are now.
    max_lateness
        Age from which on an evaluation counts no more (``notify.max_lateness``).
    overdue_after
        Age from which on an unsent page is overdue (``delivery.overdue_after``).
    records
        Channels whose acceptance is no delivery: they put a page before nobody.
    only
        The one grid that is asked about; None asks for all.
    """
    pages = PageBook.open(journal, now=now, overdue_after=overdue_after, records=records)
    known = journal.known_grids()
    in_force = {grid: version for grid in known if (version := journal.grid_in_force(grid, now)) is not None}
    declared = {grid.id: GridVersion(grid, now) for grid in folder.grids if grid.id not in in_force} | in_force
    blind = {name: why for name, version in declared.items() if (why := unwatched(version, now)) is not None}
    begun: dict[str, Grid | None] = {
        name: version.grid for name, version in declared.items() if version.grid.started_at <= now or name in blind
    }
    problems = {problem.grid_id: str(problem.error) for problem in folder.problems if problem.grid_id is not None}
    begun |= {name: None for name in problems if name not in in_force}
    asked = _Asked(journal, pages, now, max_lateness, blind | problems, blind)
    return [asked.status(name, begun[name]) for name in sorted(begun) if only in (None, name)]


@dataclass(frozen=True)
class _Asked:
    """What a status is made with."""

    journal: Journal
    pages: PageBook
    now: datetime
    max_lateness: timedelta
    problems: Mapping[str, str]
    unwatched: Mapping[str, str]

    def status(self, grid_id: str, grid: Grid | None) -> GridStatus:
        newest = self.journal.last_evaluation(grid_id)
        kind = EvaluationKind.ENTRY if grid is not None and not grid.enabled else EvaluationKind.EXIT
        word = self.pages.flat(grid_id, started_at=None if grid is None else grid.started_at)
        last_page, due = self.pages.of(grid_id, grid, kind)
        return GridStatus(
            report=self._report(grid_id, grid, kind, newest),
            is_evaluated=newest is not None,
            last_page=last_page,
            flat_at=None if word is None else word.response.at,
            flat_by="" if word is None else word.by_whom or word.source,
            due=due,
        )

    def _report(self, grid_id: str, grid: Grid | None, kind: EvaluationKind, newest: Evaluation | None) -> GridReport:
        if newest is None:
            why = self.problems.get(grid_id, "it was never evaluated: is the watch running?")
            since = None if grid is None else grid.started_at
            return GridReport(
                grid_id=grid_id, grid=grid, evaluated_at=self.now, state=UNKNOWN, since=since, reasons=(why,)
            )
        if grid is not None and newest.kind is not kind:
            return self._switched(grid_id, grid, newest)
        report = decided_report(self.journal, grid, newest)
        age = self.now - newest.evaluated_at
        if age > self.max_lateness:
            return self._aged(report)
        return self._blind(report, self.unwatched[grid_id]) if grid_id in self.unwatched else report

    def _aged(self, report: GridReport) -> GridReport:
        """What is too old is not known any more; what it said last is told beside."""
        age = age_text(report.evaluated_at, self.now)
        limit = print_duration(self.max_lateness)
        why = f"the newest evaluation is {age} old, more than {limit} (notify.max_lateness): is the watch running?"
        is_known = report.state != UNKNOWN
        return replace(
            report,
            state=UNKNOWN,
            since=report.evaluated_at + self.max_lateness if is_known else report.since,
            reasons=(why, *report.reasons),
            last_known_state=report.state if is_known else report.last_known_state,
        )

    def _blind(self, report: GridReport, why: str) -> GridReport:
        """A grid that is not watched, also where its newest evaluation does not say so yet.

        One that says so and is no UNKNOWN has breached the stop that was declared last.
        """
        if report.state == UNKNOWN or why in report.reasons:
            return report
        return replace(report, state=UNKNOWN, reasons=(why, *report.reasons), last_known_state=report.state)

    def _switched(self, grid_id: str, grid: Grid, newest: Evaluation) -> GridReport:
        """Switched on or off since: what was said of the other kind is not shown."""
        switched = "on" if grid.enabled else "off"
        return GridReport(
            grid_id=grid_id,
            grid=grid,
            evaluated_at=newest.evaluated_at,
            state=UNKNOWN,
            price=newest.price,
            as_of=newest.as_of,
            reasons=(f"it was switched {switched} since its newest evaluation; the next tells of it.",),
        )


def decided_report(journal: Journal, grid: Grid | None, evaluation: Evaluation) -> GridReport:
    """An evaluation as it was journalled, under the declaration that was in force."""
    last_known = None
    if evaluation.state == UNKNOWN and evaluation.kind is EvaluationKind.EXIT:
        versions = journal.grid_versions(evaluation.grid)
        same = [v.grid.version_hash for v in versions if grid is not None and v.grid.started_at == grid.started_at]
        last_known = journal.last_known_state(evaluation.grid, evaluation.evaluated_at, versions=same or None)
    return GridReport(
        grid_id=evaluation.grid,
        grid=grid,
        evaluated_at=evaluation.evaluated_at,
        state=evaluation.state,
        since=OperatorQueries(journal).state_began(evaluation),
        price=evaluation.price,
        as_of=evaluation.as_of,
        triggers=readings_of(evaluation),
        reasons=evaluation.reasons,
        last_known_state=last_known,
        risk_level=None if evaluation.risk is None else evaluation.risk.get("level"),
        risk=risk_of(evaluation),
    )


def risk_of(evaluation: Evaluation) -> dict[str, Any] | None:
    """Position and cost of waiting as they were journalled; None where nothing was known."""
    if evaluation.risk is None or "source" not in evaluation.risk:
        return None
    return {field.name: evaluation.risk.get(field.name) for field in RISK_STRUCT.fields}


def readings_of(evaluation: Evaluation) -> tuple[TriggerReading, ...]:
    """Triggers as they were journalled, in the order of the table of triggers."""
    return tuple(TriggerReading(name, **evaluation.triggers[name]) for name in TRIGGERS if name in evaluation.triggers)


def by_urgency(statuses: Sequence[GridStatus]) -> list[GridStatus]:
    """What needs an operator first comes first."""
    return sorted(statuses, key=lambda status: (status.report.severity, status.report.grid_id))
