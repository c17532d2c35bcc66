"""States of the month before another, made anew from candles: what its notifications remember.

They depend on candles, declarations, settings, journalled problems and what accounts showed. They depend on no stored
month of states, so that months give the same notifications in whatever order they are made.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import numpy as np
import polars as pl

from mm_pipeline.adapters.candles.candle_store import MarketBars
from mm_pipeline.adapters.frames.store import FrameMissing, FrameStore
from mm_pipeline.application.decide_states import DecisionInputs, decide
from mm_pipeline.application.isolation import Outcome, isolated
from mm_pipeline.application.market_views import Views, analysis_of
from mm_pipeline.application.plan import Plan, WatchedGrid
from mm_pipeline.application.watch import Watch
from mm_pipeline.domain.account import PositionSource
from mm_pipeline.domain.advice import Advice
from mm_pipeline.domain.arrays import Times
from mm_pipeline.domain.columns import conformed, picked, times_of
from mm_pipeline.domain.grid import GridVersion
from mm_pipeline.domain.grid_history import RangeHistory, by_valid_from, evaluations_by_version
from mm_pipeline.domain.market import Market
from mm_pipeline.domain.market_view import MarketView, Timeline
from mm_pipeline.domain.months import previous_month
from mm_pipeline.domain.pipeline import MarketPolicy, evaluations, market_view
from mm_pipeline.domain.position.simulation import simulate_grid
from mm_pipeline.domain.risk import StopOutlook
from mm_pipeline.domain.risk.columns import FIGURES_SCHEMA, POSITION_SCHEMA


def states_before(watch: Watch, month: datetime, evaluated_ms: int, log: logging.Logger) -> Outcome[str, Advice]:
    """Exit and entry states of every grid in the month before ``month``; risk has positions alone."""
    plan = watch.plan(start=previous_month(month), end=month, evaluated_ms=evaluated_ms, is_live=False)
    bars, stops = watch.bars(plan), watch.stops(plan)
    views = isolated(bars, lambda market: _view(bars[market], stops[market], watch.market_policy), log)
    grids = {grid.grid_id: grid for grid in plan.grids if grid.versions}
    return isolated(grids, lambda grid: _advice(watch, plan, grids[grid], views.made, stops), log)


def _view(bars: MarketBars, stops: StopOutlook, policy: MarketPolicy) -> MarketView:
    view = market_view(bars.bars, bars.quarantined_ms, policy)
    return replace(view, covers=bars.covers, gaps_ms=bars.gaps_ms, stops=stops)


def _advice(watch: Watch, plan: Plan, grid: WatchedGrid, views: Views, stops: Mapping[Market, StopOutlook]) -> Advice:
    analysis = analysis_of(grid, views, plan, watch.settings.exit_state)
    held = {grid.grid_id: _positions(watch, plan, grid, views)}
    figures = {grid.grid_id: pl.DataFrame(schema=FIGURES_SCHEMA)}
    known = DecisionInputs(plan, watch.settings.advice, views, watch.decisions(), held, figures, stops)
    return decide(grid, analysis, known)


def _positions(watch: Watch, plan: Plan, grid: WatchedGrid, views: Views) -> pl.DataFrame:
    """What the model held at each evaluation, and what an account showed in its place."""
    asked_ms = evaluations(plan.first_ms, plan.last_ms)
    modelled = [
        _modelled(grid, version, views[version.grid.market].bars, due_ms)
        for version, due_ms in evaluations_by_version(grid.versions, asked_ms)
        if version.grid.enabled and version.grid.market in views
    ]
    shown = _shown(watch, plan, grid.grid_id)
    rows = pl.concat([pl.DataFrame(schema=POSITION_SCHEMA), *modelled])
    return pl.concat([rows.join(shown, on=["evaluated_at", "grid_version"], how="anti"), shown]).sort("evaluated_at")


def _modelled(grid: WatchedGrid, version: GridVersion, bars: Timeline, due_ms: Times) -> pl.DataFrame:
    declared = version.grid
    started_ms = due_ms[due_ms >= declared.started_at_ms]
    trading = simulate_grid(declared, bars.frame, history=RangeHistory.of(by_valid_from(grid.versions), declared))
    first = int(np.searchsorted(bars.opened_ms, declared.started_at_ms, side="left"))
    is_known = bars.reaches_back_to(declared.started_at_ms)
    index = np.where(is_known, np.maximum(bars.index_at(started_ms) - first, -1), -1)
    rows = pl.DataFrame(
        [times_of(started_ms, "evaluated_at"), picked(trading.equity["inventory_base"], index)]
    ).with_columns(
        grid=pl.lit(grid.grid_id),
        grid_version=pl.lit(declared.version_hash),
        source=pl.lit(PositionSource.MODELLED.value),
    )
    return conformed(rows, POSITION_SCHEMA)


def _shown(watch: Watch, plan: Plan, grid: str) -> pl.DataFrame:
    """Positions that an account or an import showed; runs keep these, whatever they make anew."""
    try:
        stored = FrameStore(watch.frames_root).read("positions", grid, start=plan.start, end=plan.end)
    except FrameMissing:
        return pl.DataFrame(schema=POSITION_SCHEMA)
    is_shown = pl.col("source") != PositionSource.MODELLED.value
    return conformed(stored.filter(is_shown), POSITION_SCHEMA)
