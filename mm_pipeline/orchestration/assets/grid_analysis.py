"""Asset ``grid_analysis``: where price stands against each grid, and what happened to the grid since it started."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from mm_pipeline.application.completeness import analysed, short_grids
from mm_pipeline.application.incidents import record_incidents
from mm_pipeline.application.isolation import isolated
from mm_pipeline.application.market_frames import ByGrid, ByMarket
from mm_pipeline.application.market_views import analysis_of, market_view_of
from mm_pipeline.application.plan import Plan, WatchedGrid
from mm_pipeline.application.subjects import grid_subject
from mm_pipeline.contracts import states as contracts
from mm_pipeline.domain.errors import NOT_READ, PipelineError
from mm_pipeline.orchestration import metadata
from mm_pipeline.orchestration.assets.declaration import contract_result, monthly_asset, plan_of
from mm_pipeline.orchestration.resources import WatchResource


@monthly_asset(
    group="grids",
    contract=contracts.GRID_ANALYSIS,
    deps=["candles"],
    description="Price against bounds and stop, and what has happened to each grid since it started, every 15 minutes.",
)
def grid_analysis(
    context: dg.AssetExecutionContext, watch: WatchResource, regime_metrics: ByMarket, regime: ByMarket
) -> Iterator[dg.MaterializeResult[ByGrid]]:
    """SPEC 5 at every evaluation, under the version of the grid that was in force then."""
    plan, policy = plan_of(context, watch), watch.settings.exit_state
    bars = watch.bars(plan)
    views = isolated(bars, lambda market: market_view_of(market, bars[market], regime_metrics, regime), context.log)
    grids = {grid.grid_id: grid for grid in plan.grids if grid.versions}
    missing = {market: problem for market, problem in views.problems.items() if isinstance(problem, NOT_READ)}

    def analysis(grid: WatchedGrid) -> pl.DataFrame:
        for market in grid.markets:
            if market in missing:
                raise missing[market]
        return checked(analysis_of(grid, views.made, plan, policy))

    outcome = isolated(grids, lambda grid: analysis(grids[grid]), context.log)
    record_incidents(watch, plan, {grid_subject(grid): problem for grid, problem in outcome.problems.items()})
    empty = contracts.GRID_ANALYSIS.empty()
    failed = [grid for grid, problem in outcome.problems.items() if not isinstance(problem, NOT_READ)]
    problems: dict[str, PipelineError] = {**short_grids(plan, outcome.made, analysed), **outcome.problems}
    yield dg.MaterializeResult(
        value=outcome.made | dict.fromkeys(failed, empty),
        metadata=metadata.of_grids(outcome.made, problems),
        check_results=[contract_result("grid_analysis", problems)],
    )


def checked(analysis: pl.DataFrame) -> pl.DataFrame:
    """The frame, if it keeps its contract."""
    contracts.GRID_ANALYSIS.check(analysis)
    return analysis


def unread(plan: Plan) -> list[WatchedGrid]:
    """Grids whose file could never be read: nothing is known of them but their id."""
    return [grid for grid in plan.grids if not grid.versions]
