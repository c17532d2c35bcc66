"""Assets ``exit_states`` and ``entry_states``: what an operator is told, and one function decides which of the two."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from mm_pipeline.adapters.frames.store import FrameMissing, FrameStore
from mm_pipeline.adapters.journal import Evaluation
from mm_pipeline.application.completeness import entries_due, exits_due, short_grids
from mm_pipeline.application.decide_states import (
    DecisionInputs,
    decide,
    is_disabled,
    kinds_of,
    unknown_entry,
    unknown_rows,
)
from mm_pipeline.application.incidents import record_incidents
from mm_pipeline.application.isolation import Outcome, isolated
from mm_pipeline.application.market_frames import ByGrid, ByMarket, missing_in
from mm_pipeline.application.market_views import market_view_of
from mm_pipeline.application.plan import Plan, WatchedGrid
from mm_pipeline.application.record_evaluations import journal_decisions
from mm_pipeline.application.subjects import grid_subject
from mm_pipeline.application.watch import Watch
from mm_pipeline.contracts import states as contracts
from mm_pipeline.domain.advice import Advice
from mm_pipeline.domain.errors import FrameUnreadable, PipelineError
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.orchestration import metadata
from mm_pipeline.orchestration.assets.declaration import LIVE_FRESHNESS, contract_result, monthly_assets, plan_of
from mm_pipeline.orchestration.resources import WatchResource


@monthly_assets(
    group="advice",
    deps=["candles"],
    outs={
        "exit_states": (
            contracts.EXIT,
            "Exit state of every enabled grid, with all triggers, margins, reasons and counterfactuals.",
        ),
        "entry_states": (contracts.ENTRY, "Entry state of every disabled grid, with the range that is proposed."),
    },
    freshness={"exit_states": LIVE_FRESHNESS},
)
def exit_and_entry_states(  # noqa: PLR0917 - Dagster gives an asset one argument for each of its inputs
    context: dg.AssetExecutionContext,
    watch: WatchResource,
    regime_metrics: ByMarket,
    regime: ByMarket,
    grid_analysis: ByGrid,
    positions: ByGrid,
    risk: ByGrid,
) -> Iterator[dg.MaterializeResult[ByGrid]]:
    """SPEC 6 at every evaluation; a live run journals what it decides."""
    plan = plan_of(context, watch)
    bars, stops = watch.bars(plan), watch.stops(plan)
    views = isolated(
        bars,
        lambda market: market_view_of(market, bars[market], regime_metrics, regime, stops[market]),
        context.log,
    )
    known = DecisionInputs(plan, watch.settings.advice, views.made, watch.decisions(), positions, risk, stops)
    grids = {grid.grid_id: grid for grid in plan.grids}
    outcome = isolated(grids, lambda grid: _checked(_advice(grids[grid], grid_analysis, known)), context.log)
    record_incidents(watch, plan, {grid_subject(grid): problem for grid, problem in outcome.problems.items()})
    _blind(watch, outcome, grids, known)
    journalled = {grid: journal_decisions(watch, plan, grid, outcome.made[grid]) for grid in outcome.made}
    yield from _results(outcome, grids, known, journalled)


def _advice(grid: WatchedGrid, analyses: ByGrid, known: DecisionInputs) -> Advice:
    if not grid.versions:
        return Advice(unknown_rows(grid, known), contracts.ENTRY.empty())
    if (missing := missing_in(analyses).get(grid.grid_id)) is not None:
        raise missing
    for frames in (known.positions, known.figures):
        if isinstance(unreadable := missing_in(frames).get(grid.grid_id), FrameUnreadable):
            raise unreadable
    analysis = analyses.get(grid.grid_id)
    if analysis is None or not _reaches(analysis, grid, known):
        at = f"{known.plan.evaluated_at:%Y-%m-%d %H:%M}"
        problem = f"there is no grid_analysis of {grid.grid_id} up to {at} UTC."
        raise PipelineError(problem, "See the run that should have written it.")
    return decide(grid, analysis, known)


def _reaches(analysis: pl.DataFrame, grid: WatchedGrid, known: DecisionInputs) -> bool:
    """Whether the analysis goes up to the run's last evaluation, where a declaration of the grid was in force then."""
    last_ms = known.plan.last_ms
    declared = grid.in_force(last_ms, last_ms)
    if last_ms < known.plan.first_ms or not any(one.started_at_ms <= last_ms for one in declared):
        return True
    return bool(analysis.height) and to_ms(analysis["evaluated_at"][-1]) >= last_ms


def _checked(advice: Advice) -> Advice:
    contracts.EXIT.check(advice.exit_states)
    contracts.ENTRY.check(advice.entry_states)
    return advice


def _blind(watch: Watch, outcome: Outcome[str, Advice], grids: dict[str, WatchedGrid], known: DecisionInputs) -> None:
    """A grid that could not be decided is UNKNOWN at the run's newest evaluation, as the kind of grid that it is.

    A run about the past leaves the rows of such a grid as they are stored.
    """
    for grid_id, problem in outcome.problems.items():
        grid, at_ms = grids[grid_id], known.plan.last_ms
        if not known.plan.is_live and _has_rows(watch, known.plan, grid_id):
            continue
        if is_disabled(grid, at_ms):
            outcome.made[grid_id] = Advice(contracts.EXIT.empty(), unknown_entry(grid, known, at_ms, str(problem)))
        else:
            rows = unknown_rows(grid, known, at_ms=at_ms, reason=str(problem))
            outcome.made[grid_id] = Advice(rows, contracts.ENTRY.empty())


def _has_rows(watch: Watch, plan: Plan, grid: str) -> bool:
    store = FrameStore(watch.frames_root)
    for asset in ("exit_states", "entry_states"):
        try:
            if store.read(asset, grid, start=plan.start, end=plan.end).height:
                return True
        except FrameMissing:
            continue
        except FrameUnreadable:
            return True
    return False


def _results(
    outcome: Outcome[str, Advice],
    grids: dict[str, WatchedGrid],
    known: DecisionInputs,
    journalled: dict[str, list[Evaluation]],
) -> Iterator[dg.MaterializeResult[ByGrid]]:
    kinds = {grid_id: kinds_of(grids[grid_id], known.plan) for grid_id in outcome.made}
    exits = {grid: advice.exit_states for grid, advice in outcome.made.items() if kinds[grid][EvaluationKind.EXIT]}
    entries = {grid: advice.entry_states for grid, advice in outcome.made.items() if kinds[grid][EvaluationKind.ENTRY]}
    for asset, frames, due in (("exit_states", exits, exits_due), ("entry_states", entries, entries_due)):
        problems: dict[str, PipelineError] = {**short_grids(known.plan, frames, due), **outcome.problems}
        yield dg.MaterializeResult(
            asset_key=asset,
            value=frames,
            metadata=metadata.of_states(frames, problems, journalled, known),
            check_results=[contract_result(asset, problems)],
        )
