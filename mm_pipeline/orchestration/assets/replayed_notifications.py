"""Asset ``replayed_notifications``: what operators would have been told, had there been a tick at every evaluation."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from logging import Logger

import dagster as dg
import polars as pl

from mm_pipeline.application.isolation import isolated
from mm_pipeline.application.market_frames import ByGrid, missing_in
from mm_pipeline.application.notify import States
from mm_pipeline.application.plan import Plan
from mm_pipeline.application.states_before import states_before
from mm_pipeline.application.watch import Watch
from mm_pipeline.contracts import operator as operator_contracts
from mm_pipeline.domain.columns import conformed
from mm_pipeline.domain.errors import PipelineError
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.months import months_between, next_month
from mm_pipeline.orchestration import metadata
from mm_pipeline.orchestration.assets.declaration import contract_result, monthly_asset, plan_of
from mm_pipeline.orchestration.assets.notifications import checked, states_of
from mm_pipeline.orchestration.resources import WatchResource
from mm_pipeline.reporting import notification_frame as frames

_BAR = timedelta(milliseconds=Timeframe.M15.ms)


@monthly_asset(
    group="operator",
    contract=operator_contracts.NOTIFICATIONS,
    deps=["candles", "positions"],
    description="What the operator of each grid would have been told by ticks over these months. Ticks do not make it.",
)
def replayed_notifications(
    context: dg.AssetExecutionContext, watch: WatchResource, exit_states: ByGrid, entry_states: ByGrid
) -> Iterator[dg.MaterializeResult[ByGrid]]:
    """SPEC 8 at every evaluation, each month after the one before it, which is made anew from candles."""
    plan = plan_of(context, watch)
    states = states_of(plan, exit_states, entry_states)
    problems: dict[str, PipelineError] = {**missing_in(exit_states), **missing_in(entry_states)}
    rows = [operator_contracts.NOTIFICATIONS.empty()]
    for month in months_between(plan.start, plan.end):
        made, failed = _replayed(watch, plan, month, states, context.log)
        rows, problems = [*rows, made], failed | problems
    whole = pl.concat(rows)
    grids = ({grid.grid_id for grid in plan.grids} | {grid for grid, _ in states}) - set(problems)
    outcome = isolated(sorted(grids), lambda grid: checked(whole.filter(pl.col("grid") == grid)), context.log)
    yield dg.MaterializeResult(
        value=outcome.made,
        metadata=metadata.of_notifications(outcome.made, []),
        check_results=[contract_result("replayed_notifications", outcome.problems | problems)],
    )


def _replayed(
    watch: Watch, plan: Plan, month: datetime, states: States, log: Logger
) -> tuple[pl.DataFrame, dict[str, PipelineError]]:
    """Decisions of a month, and the grids of which the month before could not be made."""
    since, until = month + _BAR, next_month(month) + _BAR
    before = states_before(watch, month, plan.evaluated_ms, log)
    answers = watch.decisions().responses.select(until=until)
    responses = [replace(answer.response, known_at=answer.recorded_at) for answer in answers]
    in_month = pl.col("evaluated_at").is_between(since, until, closed="left")
    joined = []
    for (grid, kind), found in states.items():
        own = found.rows.filter(in_month)
        earlier = before.made.get(grid)
        if earlier is not None and grid not in before.problems:
            rows = earlier.exit_states if kind is EvaluationKind.EXIT else earlier.entry_states
            own = pl.concat([conformed(rows, own.schema), own])
        joined.append(frames.GridStates(rows=own, grids=found.grids, kind=found.kind))
    joined = [found for found in joined if found.rows.height]
    return frames.replayed_notifications(joined, responses, watch.settings.notify, since=since), before.problems
