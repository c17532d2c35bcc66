"""Assets ``exit_states`` and ``entry_states``: what an operator is told, and one function decides which of the two."""

from collections.abc import Iterator

import dagster as dg

from mm_pipeline.adapters.journal import Evaluation, EvaluationKind
from mm_pipeline.assets import contracts, summaries
from mm_pipeline.assets.decisions import Known, decide, is_disabled, kinds_of, unknown_entry, unknown_rows
from mm_pipeline.assets.grids import ByGrid
from mm_pipeline.assets.journalling import journal_decisions
from mm_pipeline.assets.regime import ByMarket
from mm_pipeline.assets.stage import Outcome, contract_result, contract_spec, declared, each, note, plan_of
from mm_pipeline.assets.views import market_view_of
from mm_pipeline.domain.advice import Advice
from mm_pipeline.domain.errors import PipelineError
from mm_pipeline.resources import Watch, WatchedGrid
from mm_pipeline.resources.grid_notices import grid_subject


def _decided(  # noqa: PLR0917 - Dagster gives an asset one argument for each of its inputs
    context: dg.AssetExecutionContext,
    watch: Watch,
    regime_metrics: ByMarket,
    regime: ByMarket,
    grid_analysis: ByGrid,
    positions: ByGrid,
    risk: ByGrid,
) -> Iterator[dg.MaterializeResult[ByGrid]]:
    """SPEC 6 at every evaluation; a live run journals what it decides."""
    plan = plan_of(context, watch)
    bars = watch.bars(plan)
    views = each(bars, lambda market: market_view_of(market, bars[market], regime_metrics, regime), context)
    known = Known(plan, watch.settings.advice, views.made, watch.decisions(), positions, risk)
    grids = {grid.grid_id: grid for grid in plan.grids}
    outcome = each(grids, lambda grid: _checked(_advice(grids[grid], grid_analysis, known)), context)
    note(watch, plan, {grid_subject(grid): problem for grid, problem in outcome.problems.items()})
    _blind(outcome, grids, known)
    journalled = {grid: journal_decisions(watch, plan, grid, outcome.made[grid]) for grid in outcome.made}
    yield from _results(outcome, grids, known, journalled)


def _advice(grid: WatchedGrid, analyses: ByGrid, known: Known) -> Advice:
    if not grid.versions:
        return Advice(unknown_rows(grid, known), contracts.ENTRY.empty())
    analysis = analyses.get(grid.grid_id)
    if analysis is None:
        raise PipelineError(f"there is no grid_analysis of {grid.grid_id}.", "See the run that should have written it.")
    return decide(grid, analysis, known)


def _checked(advice: Advice) -> Advice:
    contracts.EXIT.check(advice.exit_states)
    contracts.ENTRY.check(advice.entry_states)
    return advice


def _blind(outcome: Outcome[str, Advice], grids: dict[str, WatchedGrid], known: Known) -> None:
    """A grid that could not be decided is UNKNOWN at the run's newest evaluation, as the kind of grid that it is."""
    for grid_id, problem in outcome.problems.items():
        grid, at_ms = grids[grid_id], known.plan.last_ms
        if is_disabled(grid, at_ms):
            outcome.made[grid_id] = Advice(contracts.EXIT.empty(), unknown_entry(grid, known, at_ms, str(problem)))
        else:
            rows = unknown_rows(grid, known, at_ms=at_ms, reason=str(problem))
            outcome.made[grid_id] = Advice(rows, contracts.ENTRY.empty())


def _results(
    outcome: Outcome[str, Advice],
    grids: dict[str, WatchedGrid],
    known: Known,
    journalled: dict[str, list[Evaluation]],
) -> Iterator[dg.MaterializeResult[ByGrid]]:
    kinds = {grid_id: kinds_of(grids[grid_id], known.plan) for grid_id in outcome.made}
    exits = {grid: advice.exit_states for grid, advice in outcome.made.items() if kinds[grid][EvaluationKind.EXIT]}
    entries = {grid: advice.entry_states for grid, advice in outcome.made.items() if kinds[grid][EvaluationKind.ENTRY]}
    for asset, frames in (("exit_states", exits), ("entry_states", entries)):
        yield dg.MaterializeResult(
            asset_key=asset,
            value=frames,
            metadata=summaries.of_states(frames, outcome.problems, journalled, known),
            check_results=[contract_result(asset, outcome.problems)],
        )


exit_and_entry_states = declared(
    dg.multi_asset,
    name="advise",
    group_name="advice",
    deps=["candles"],
    outs={
        "exit_states": dg.AssetOut(
            kinds={"polars"},
            description="Exit state of every enabled grid, with all triggers, margins, reasons and counterfactuals.",
        ),
        "entry_states": dg.AssetOut(
            kinds={"polars"},
            description="Entry state of every disabled grid, with the range that is proposed.",
        ),
    },
    check_specs=[contract_spec("exit_states"), contract_spec("entry_states")],
)(_decided)
