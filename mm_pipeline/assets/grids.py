"""Asset ``grid_analysis``: where price stands against each grid, and what happened to the grid since it started."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from mm_pipeline.assets import contracts, summaries
from mm_pipeline.assets.regime import ByMarket
from mm_pipeline.assets.stage import contract_result, contract_spec, declared, each, note, plan_of
from mm_pipeline.assets.views import analysis_of, market_view_of
from mm_pipeline.resources import Plan, Watch, WatchedGrid
from mm_pipeline.resources.grid_notices import grid_subject

ByGrid = dict[str, pl.DataFrame]
"""Frames by grid id."""


def _analysed(
    context: dg.AssetExecutionContext, watch: Watch, regime_metrics: ByMarket, regime: ByMarket
) -> Iterator[dg.MaterializeResult[ByGrid]]:
    """SPEC 5 at every evaluation, under the version of the grid that was in force then."""
    plan, policy = plan_of(context, watch), watch.settings.exit_state
    bars = watch.bars(plan)
    views = each(bars, lambda market: market_view_of(market, bars[market], regime_metrics, regime), context)
    grids = {grid.grid_id: grid for grid in plan.grids if grid.versions}
    outcome = each(grids, lambda grid: checked(analysis_of(grids[grid], views.made, plan, policy)), context)
    note(watch, plan, {grid_subject(grid): problem for grid, problem in outcome.problems.items()})
    empty = contracts.GRID_ANALYSIS.empty()
    yield dg.MaterializeResult(
        value=outcome.made | dict.fromkeys(outcome.problems, empty),
        metadata=summaries.of_grids(outcome.made, outcome.problems),
        check_results=[contract_result("grid_analysis", outcome.problems)],
    )


def checked(analysis: pl.DataFrame) -> pl.DataFrame:
    """The frame, if it keeps its contract."""
    contracts.GRID_ANALYSIS.check(analysis)
    return analysis


def unread(plan: Plan) -> list[WatchedGrid]:
    """Grids whose file could never be read: nothing is known of them but their id."""
    return [grid for grid in plan.grids if not grid.versions]


grid_analysis = declared(
    dg.asset,
    name="grid_analysis",
    group_name="grids",
    deps=["candles"],
    kinds={"polars"},
    description="Price against bounds and stop, and what has happened to each grid since it started, every 15 minutes.",
    check_specs=[contract_spec("grid_analysis")],
)(_analysed)
