"""What a live run decides to tell: decisions and pages of evaluations that it, or a run before it, journalled."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from typing import TypeVar

from mm_pipeline.adapters.journal import DecisionRecord, Evaluation, Page
from mm_pipeline.adapters.journal.grid_versions import as_versions
from mm_pipeline.application.earlier_positions import earlier_positions
from mm_pipeline.application.flat_check import contradictions
from mm_pipeline.application.plan import Plan
from mm_pipeline.application.unclear_files import unclear_files
from mm_pipeline.application.verify_flat import reopen_unseen
from mm_pipeline.application.watch import Watch
from mm_pipeline.domain.errors import PipelineError, StorageError
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.grid_history import watched_anew_at
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.notifications import (
    EMERGENCY,
    TEXT_LIMIT,
    TITLE_LIMIT,
    Cause,
    Decision,
    History,
    Judgement,
    Notice,
    decide_all,
    judged_in,
)
from mm_pipeline.domain.notifications.judgement import EXIT
from mm_pipeline.reporting.notification_frame import GridStates, grid_report_at, priority_of, window_of
from mm_pipeline.reporting.pages.flat import tells_of_flat
from mm_pipeline.reporting.pages.limits import PageText, cut
from mm_pipeline.reporting.pages.text import page_text

T = TypeVar("T")

_logger = logging.getLogger(__name__)
_ATTEMPTS = 3
"""How often it is decided anew where another process decided at the same moment."""

_ASKING_AGAIN = frozenset({Cause.REISSUE, Cause.REPEAT})

States = Mapping[tuple[str, EvaluationKind], GridStates]
"""By grid and kind."""


@dataclass(frozen=True)
class _Decisions:
    """What deciding at one moment needs."""

    watch: Watch
    plan: Plan
    states: States

    def histories(self, judged: Sequence[Judgement], now: datetime) -> dict[str, History]:
        return {one.grid: self._history(one, now) for one in judged}

    def _history(self, judged: Judgement, now: datetime) -> History:
        journal = self.watch.decisions()
        versions = as_versions(journal.grid_history(judged.grid))
        return journal.histories.before(
            judged,
            now=now,
            started_at={version.grid.version_hash: version.grid.started_at for version in versions},
            policy=self.watch.settings.notify,
            anew_at=watched_anew_at(versions, judged.evaluated_at),
        )

    def pages(self, decisions: Sequence[Decision]) -> list[Page]:
        together: dict[str, list[Decision]] = {}
        for decision in decisions:
            if decision.is_told:
                together.setdefault(decision.page, []).append(decision)
        return [self._page(told) for told in together.values()]

    def _page(self, told: Sequence[Decision]) -> Page:
        """The page of these decisions; its window begins now, for it must not be over when the page arrives."""
        first, policy, decided_at = told[0], self.watch.settings.notify, self.watch.now()
        text = self._text(told, decided_at)
        priority, window = priority_of(first.notice, policy), window_of(first.notice, policy)
        rings = priority == EMERGENCY
        return Page(
            page=first.page,
            notice=first.notice.value,
            grids=tuple(one.grid for one in told),
            evaluated_at=first.evaluated_at,
            decided_at=decided_at,
            priority=priority,
            title=text.title,
            text=text.text,
            image=self._chart(first) if len(told) == 1 else None,
            retry_s=int(policy.mandatory_exit.retry.total_seconds()) if rings else None,
            expire_s=int(policy.mandatory_exit.expire.total_seconds()) if rings else None,
            respond_by=None if window is None else decided_at + window,
            **self.watch.written_by,
        )

    def _text(self, told: Sequence[Decision], decided_at: datetime) -> PageText:
        """What the page says; a fault in saying it keeps neither this page nor those of the other grids."""
        try:
            reports = {
                one.grid: grid_report_at(self.states[one.grid, EvaluationKind(one.kind)], one.evaluated_at)
                for one in told
            }
            against = contradictions(self.watch, self._contradicted(told))
            return page_text(told, reports, self.watch.settings.notify, against, decided_at=decided_at)
        except Exception:
            _logger.exception("the page about %s is told without details", told[0].grid)
            what = f"{told[0].notice} {', '.join(one.grid for one in told)}"
            return PageText(
                cut(what, TITLE_LIMIT),
                cut(f"{what} at {told[0].evaluated_at:%Y-%m-%d %H:%M} UTC\nLook at it yourself: mm status", TEXT_LIMIT),
            )

    def _contradicted(self, told: Sequence[Decision]) -> dict[str, Grid | None]:
        """Grids of these decisions whose account contradicts a report of flat, by id."""
        found: dict[str, Grid | None] = {}
        for one in told:
            if tells_of_flat(one):
                declared = list(self.states[one.grid, EvaluationKind(one.kind)].grids.values())
                found[one.grid] = declared[-1] if declared else None
        return found

    def _chart(self, decision: Decision) -> bytes | None:
        """A small picture; a page that cannot have one goes without."""
        try:
            return self._drawn(decision)
        except Exception:
            _logger.exception("no chart for the page about %s", decision.grid)
            return None

    def _drawn(self, decision: Decision) -> bytes | None:
        from mm_pipeline.reporting.pages.chart import page_chart_png

        found = self.states[decision.grid, EvaluationKind(decision.kind)]
        rows = found.rows
        seen = rows.filter(rows["evaluated_at"] <= decision.evaluated_at)
        grid = found.grids.get(seen["grid_version"][-1] or "")
        if grid is None or decision.notice is Notice.UNKNOWN:
            return None
        return page_chart_png(self.watch.bars(self.plan)[grid.market].bars, seen, grid)


@dataclass
class DecisionRun:
    """What a run decided, oldest first, and what kept it from deciding about a grid."""

    decided: list[DecisionRecord] = field(default_factory=list)
    problems: dict[str, PipelineError] = field(default_factory=dict)


def decide_and_page(watch: Watch, plan: Plan, states: States) -> DecisionRun:
    """Decide about every live evaluation that nothing was decided about yet, and make its pages due.

    A fault in deciding about one grid keeps no other from being told of, and is itself told of by an alarm.

    Raises
    ------
    StorageError
        When the journal fails: then nothing can be decided about any grid.
    """
    told = DecisionRun()
    deciding = _Decisions(watch, plan, states)
    due: list[Judgement] = []
    for of, known in states.items():
        due += _survived(told, of[0], partial(_undecided, watch, of, known))
    due.sort(key=lambda one: (one.evaluated_at, one.grid))
    for one in {one.grid: one for one in due}.values():  # the newest of each: what came before it nobody has read
        _survived(told, one.grid, partial(_reopened, watch, plan, one))
    for _, group in groupby(due, key=lambda one: one.evaluated_at):
        together = list(group)
        try:
            told.decided += _decide(deciding, together)
        except StorageError:
            raise
        except Exception:
            _logger.exception("deciding about %d grids at once broke; each is decided alone", len(together))
            for one in together:
                told.decided += _survived(told, one.grid, partial(_decide, deciding, [one]))
    for grid, problem in told.problems.items():
        watch.delivery().alarms.raise_about(
            f"{grid} undecided",
            f"BLIND on {grid}: nothing can be decided about it",
            f"Look at it yourself: mm status {grid}\n\n{problem}"[:TEXT_LIMIT],
            every=watch.settings.notify.unknown.second_after,
        )
    return told


def _survived(told: DecisionRun, grid: str, work: Callable[[], list[T]]) -> list[T]:
    try:
        return work()
    except StorageError:
        raise
    except Exception as error:
        _logger.exception("nothing can be decided about %s", grid)
        problem = f"{type(error).__name__} while deciding about {grid}: {error}"
        told.problems[grid] = PipelineError(problem, "This is a fault of the program; the run's log has its trace.")
        return []


def _reopened(watch: Watch, plan: Plan, judged: Judgement) -> list[DecisionRecord]:
    """Nothing; but a grid that its account vouched for and does not see any more may be open again."""
    declared = [known.versions[-1].grid for known in plan.grids if known.grid_id == judged.grid and known.versions]
    if declared and judged.state == Notice.MANDATORY_EXIT and judged.kind == EXIT:
        reopen_unseen(watch, declared[0], judged)
    return []


def _undecided(watch: Watch, of: tuple[str, EvaluationKind], known: GridStates) -> list[Judgement]:
    """Evaluations in time to be acted upon, as they were journalled, after the last decision about their grid."""
    now, late = watch.now(), watch.settings.notify.max_lateness
    grid, kind = of
    journalled = watch.decisions().evaluations(grid, kind=kind, since=now - late)
    last = watch.decisions().notifications.decisions(grid, since=now - late)
    decided = max((one.decision.evaluated_at for one in last if one.decision.kind == kind), default=None)
    live = {_key(one) for one in journalled if one.is_live and (decided is None or one.evaluated_at > decided)}
    rows = known.rows  # the older ones too: what an account showed counts until it is read again
    keys = zip(rows["evaluated_at"], rows["input_hash"], strict=True)
    earlier = earlier_positions(watch.decisions(), grid, known) if kind is EvaluationKind.EXIT else []
    judged = judged_in(rows, known.grids, watch.settings.notify, kind=kind.value, earlier=earlier)
    return [one for one, key in zip(judged, keys, strict=True) if key in live]


def _key(one: Evaluation) -> tuple[datetime, str]:
    return one.evaluated_at, one.input_hash


def _decide(deciding: _Decisions, judged: Sequence[Judgement]) -> list[DecisionRecord]:
    watch = deciding.watch
    channels = watch.delivery().ladder.first()
    for _ in range(_ATTEMPTS):
        open_ones = [one for one in judged if not _is_decided(watch, one)]
        now = watch.now()
        decisions = decide_all(open_ones, deciding.histories(open_ones, now), watch.settings.notify)
        if any(one.cause in _ASKING_AGAIN and one.is_told for one in decisions):
            # It may have been answered at the provider while nobody was there to hear it.
            watch.delivery().answers.follow()
            now = watch.now()
            decisions = decide_all(open_ones, deciding.histories(open_ones, now), watch.settings.notify)
        if not decisions:
            return []
        decided = [_decided(deciding, decision, now) for decision in decisions]
        pages = deciding.pages(decisions)
        everywhere = {one.page: watch.delivery().ladder.ranks for one in decisions if one.cause is Cause.REISSUE}
        committed = watch.decisions().notifications.commit(
            decided, pages, channels=channels, due_at=now, channels_of=everywhere
        )
        if committed:
            return decided
    raise StorageError(
        f"others decided about {', '.join(sorted({one.grid for one in judged}))} again and again at the same moment.",
        "Stop all daemons but one.",
    )


def _is_decided(watch: Watch, one: Judgement) -> bool:
    found = watch.decisions().notifications.decisions(one.grid, since=one.evaluated_at)
    return any(decided.decision.kind == one.kind for decided in found)


def _decided(deciding: _Decisions, decision: Decision, now: datetime) -> DecisionRecord:
    rows = deciding.states[decision.grid, EvaluationKind(decision.kind)].rows
    version = rows.filter(rows["evaluated_at"] == decision.evaluated_at)["grid_version"][0]
    return DecisionRecord(decision=decision, grid_version=version or "", decided_at=now, **deciding.watch.written_by)


def alarm_unclear_files(watch: Watch, plan: Plan) -> None:
    """Raise an alarm about each file that two evaluations in a row could not use, again every few hours."""
    journal, step = watch.decisions(), timedelta(milliseconds=Timeframe.M15.ms)
    now = unclear_files(journal, plan.evaluated_at)
    for subject in sorted(now.keys() & unclear_files(journal, plan.evaluated_at - step).keys()):
        watch.delivery().alarms.raise_about(
            f"file of {subject}",
            f"BLIND on {subject}: its file cannot be used",
            f"{now[subject]}\nUntil it can be read, nothing that it says is watched."[:TEXT_LIMIT],
            every=watch.settings.notify.unknown.second_after,
        )
