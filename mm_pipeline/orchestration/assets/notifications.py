"""Assets ``notifications`` (decided) and ``deliveries`` (sent): what operators are told, and how it went."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import dagster as dg
import polars as pl

from mm_pipeline.adapters.frames.store import FrameMissing, FrameStore
from mm_pipeline.application.isolation import isolated
from mm_pipeline.application.market_frames import ByGrid, missing_in
from mm_pipeline.application.notify import DecisionRun, States, alarm_unclear_files, decide_and_page
from mm_pipeline.application.plan import Plan, WatchedGrid
from mm_pipeline.application.storage_alarms import note_recovery
from mm_pipeline.application.watch import Watch
from mm_pipeline.contracts import operator as operator_contracts
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.months import previous_month
from mm_pipeline.orchestration import metadata
from mm_pipeline.orchestration.assets.declaration import LIVE_FRESHNESS, contract_result, monthly_asset, plan_of
from mm_pipeline.orchestration.io_managers import FROM_JOURNAL
from mm_pipeline.orchestration.resources import WatchResource
from mm_pipeline.reporting.notification_frame import GridStates, notification_frame, replayed_notifications
from mm_pipeline.reporting.pages.text import PageText

_BAR = timedelta(milliseconds=Timeframe.M15.ms)
WATCH_KEY = "watch"
"""Key of frames about the watch itself."""


@monthly_asset(
    group="operator",
    contract=operator_contracts.NOTIFICATIONS,
    description="What the operator of each grid is told, when, and in what words; decided once, then delivered.",
)
def notifications(
    context: dg.AssetExecutionContext, watch: WatchResource, exit_states: ByGrid, entry_states: ByGrid
) -> Iterator[dg.MaterializeResult[ByGrid]]:
    """SPEC 8 at every evaluation: a live run commits pages, a backfill shows which there would have been."""
    plan = plan_of(context, watch)
    states = _states(plan, exit_states, entry_states)
    told = decide_and_page(watch, plan, states) if plan.is_live else DecisionRun()
    if plan.is_live:
        alarm_unclear_files(watch, plan)
    frames = _journalled(watch, plan) if plan.is_live else _replayed(watch, plan, states)
    missing = {} if plan.is_live else {**missing_in(exit_states), **missing_in(entry_states)}
    outcome = isolated(set(frames) - set(missing), lambda grid: _checked(frames[grid]), context.log)
    problems = outcome.problems | told.problems | missing
    yield dg.MaterializeResult(
        value=outcome.made,
        metadata=metadata.of_notifications(outcome.made, told.decided),
        check_results=[contract_result("notifications", problems)],
    )


def _states(plan: Plan, exits: ByGrid, entries: ByGrid) -> States:
    grids = {grid.grid_id: grid for grid in plan.grids}
    by_kind = ((EvaluationKind.EXIT, exits), (EvaluationKind.ENTRY, entries))
    return {
        (grid_id, kind): GridStates(rows=rows, grids=_declarations(grids.get(grid_id)), kind=kind.value)
        for kind, frames in by_kind
        for grid_id, rows in frames.items()
        if rows.height
    }


def _declarations(grid: WatchedGrid | None) -> Mapping[str, Grid]:
    return {} if grid is None else {version.grid.version_hash: version.grid for version in grid.versions}


def _checked(frame: pl.DataFrame) -> pl.DataFrame:
    operator_contracts.NOTIFICATIONS.check(frame)
    return frame


def _window(plan: Plan) -> tuple[datetime, datetime]:
    """Evaluations ``[first, end)`` of the plan's months."""
    return plan.start + _BAR, plan.end + _BAR


def _journalled(watch: Watch, plan: Plan) -> ByGrid:
    """What was decided in the plan's months, of every grid that was watched then."""
    since, until = _window(plan)
    store = watch.decisions().notifications
    decisions = [decided.decision for decided in store.decisions(since=since, until=until)]
    pages = store.pages(ids=sorted({decision.page for decision in decisions if decision.is_told}))
    texts = {page.page: PageText(page.title, page.text) for page in pages}
    grids = sorted({grid.grid_id for grid in plan.grids} | {decision.grid for decision in decisions})
    return {
        grid: notification_frame(
            [decision for decision in decisions if decision.grid == grid], texts, watch.settings.notify, is_live=True
        )
        for grid in grids
    }


def _replayed(watch: Watch, plan: Plan, states: States) -> ByGrid:
    """What ticks over the plan's months would have decided; the month before is folded in first where it is stored."""
    since, until = _window(plan)
    earlier = [_with_month_before(watch, plan, found) for found in states.values()]
    answers = watch.decisions().responses.select(until=until)
    responses = [replace(answer.response, known_at=answer.recorded_at) for answer in answers]
    frame = replayed_notifications(earlier, responses, watch.settings.notify, since=since)
    grids = sorted({grid.grid_id for grid in plan.grids} | {grid_id for grid_id, _ in states})
    return {grid: frame.filter(pl.col("grid") == grid) for grid in grids}


def _with_month_before(watch: Watch, plan: Plan, states: GridStates) -> GridStates:
    dataset = "exit_states" if states.kind == EvaluationKind.EXIT.value else "entry_states"
    store = FrameStore(watch.frames_root)
    start = previous_month(plan.start)
    try:
        before = store.read(dataset, states.rows["grid"][0], start=start, end=plan.start)
    except FrameMissing:
        return states
    return GridStates(rows=pl.concat([before, states.rows]), grids=states.grids, kind=states.kind)


@monthly_asset(
    group="operator",
    contract=operator_contracts.DELIVERIES,
    metadata={FROM_JOURNAL: True},
    description="Every attempt to deliver a page, by channel; sends what is due, and beats the external heart.",
    freshness=LIVE_FRESHNESS,
)
def deliveries(
    context: dg.AssetExecutionContext, watch: WatchResource, notifications: ByGrid
) -> Iterator[dg.MaterializeResult[ByGrid]]:
    """Send what is due, hear what came back, and tell the outside that the watch is alive."""
    plan = plan_of(context, watch)
    if plan.is_live:
        note_recovery(watch)
    sent = watch.delivery().relay.run() if plan.is_live else []
    heard = watch.delivery().answers.follow() if plan.is_live else None
    is_alive = watch.beat(plan) if plan.is_live else None
    frames = _events(watch, sorted(notifications), plan)
    outcome = isolated(frames, lambda grid: _checked_events(frames[grid]), context.log)
    yield dg.MaterializeResult(
        value=outcome.made,
        metadata=metadata.of_deliveries(outcome.made, sent, heard, heartbeat=is_alive),
        check_results=[contract_result("deliveries", outcome.problems)],
    )


def _checked_events(frame: pl.DataFrame) -> pl.DataFrame:
    operator_contracts.DELIVERIES.check(frame)
    return frame


def _events(watch: Watch, grids: list[str], plan: Plan) -> ByGrid:
    """What happened to the pages of these evaluations; those about the watch itself have a key of their own."""
    journal = watch.decisions()
    pages = journal.notifications.pages(about=(plan.start, plan.end))
    rows = {
        page.page: [
            {
                "evaluated_at": _on_bar(page.evaluated_at),
                "page": page.page,
                "notice": page.notice,
                "channel": event.channel,
                "attempt": event.attempt,
                "event": event.event.value,
                "at": event.at,
                "detail": event.detail,
            }
            for event in journal.outbox.events(page=page.page)
        ]
        for page in pages
    }
    keyed = {grid: [page for page in pages if grid in page.grids] for grid in grids}
    keyed[WATCH_KEY] = [page for page in pages if not page.grids]
    return {
        key: pl.DataFrame(
            [row for page in found for row in rows[page.page]], schema=dict(operator_contracts.DELIVERIES.columns)
        )
        for key, found in keyed.items()
    }


def _on_bar(at: datetime) -> datetime:
    """The first evaluation at or after a moment: alarms come at any time."""
    return from_ms(-(-int(at.timestamp() * 1000) // Timeframe.M15.ms) * Timeframe.M15.ms)
