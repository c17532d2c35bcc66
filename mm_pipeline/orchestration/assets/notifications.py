"""Assets ``notifications`` (decided) and ``deliveries`` (sent): what operators were told, and how it went."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

import dagster as dg
import polars as pl

from mm_pipeline.application.isolation import isolated
from mm_pipeline.application.market_frames import ByGrid
from mm_pipeline.application.notify import DecisionRun, States, alarm_unclear_files, decide_and_page
from mm_pipeline.application.plan import Plan, WatchedGrid
from mm_pipeline.application.planned_keys import WATCH_KEY
from mm_pipeline.application.storage_alarms import note_recovery
from mm_pipeline.application.watch import Watch
from mm_pipeline.contracts import operator as operator_contracts
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.orchestration import metadata
from mm_pipeline.orchestration.assets.declaration import LIVE_FRESHNESS, contract_result, monthly_asset, plan_of
from mm_pipeline.orchestration.io_managers import FROM_JOURNAL
from mm_pipeline.orchestration.resources import WatchResource
from mm_pipeline.reporting.notification_frame import GridStates, notification_frame
from mm_pipeline.reporting.pages.text import PageText

_BAR = timedelta(milliseconds=Timeframe.M15.ms)


@monthly_asset(
    group="operator",
    contract=operator_contracts.NOTIFICATIONS,
    metadata={FROM_JOURNAL: True},
    description="What the operator of each grid was told, when, and in what words; decided once, then delivered.",
)
def notifications(
    context: dg.AssetExecutionContext, watch: WatchResource, exit_states: ByGrid, entry_states: ByGrid
) -> Iterator[dg.MaterializeResult[ByGrid]]:
    """SPEC 8: a live run commits decisions and pages; the frame lists what the journal holds, in any run."""
    plan = plan_of(context, watch)
    told = DecisionRun()
    if plan.is_live:
        told = decide_and_page(watch, plan, states_of(plan, exit_states, entry_states))
        alarm_unclear_files(watch, plan)
    frames = _journalled(watch, plan)
    outcome = isolated(frames, lambda grid: checked(frames[grid]), context.log)
    yield dg.MaterializeResult(
        value=outcome.made,
        metadata=metadata.of_notifications(outcome.made, told.decided),
        check_results=[contract_result("notifications", outcome.problems | told.problems)],
    )


def states_of(plan: Plan, exits: ByGrid, entries: ByGrid) -> States:
    """States by grid and kind, with the grid's declarations; none of a frame without rows."""
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


def checked(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame, if it keeps its contract."""
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
