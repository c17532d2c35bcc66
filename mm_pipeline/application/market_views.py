"""Bars, metrics and verdicts of each market brought together, and each grid's analysis under the version in force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from mm_pipeline.adapters.candles.candle_store import MarketBars
from mm_pipeline.application.market_frames import ByMarket, frames_of
from mm_pipeline.application.plan import Plan, WatchedGrid
from mm_pipeline.contracts import states as contracts
from mm_pipeline.domain.errors import PipelineError
from mm_pipeline.domain.exit_state import ExitStatePolicy
from mm_pipeline.domain.grid_analysis import grid_analysis
from mm_pipeline.domain.market import Market
from mm_pipeline.domain.market_view import MarketView, StopForecast
from mm_pipeline.domain.pipeline import COARSE, evaluations, view_of

Views = Mapping[Market, MarketView]


def market_view_of(
    market: Market, bars: MarketBars, metrics: ByMarket, regime: ByMarket, stops: StopForecast | None = None
) -> MarketView:
    """Everything known of a market; bars of which only metrics or only a verdict is stored are left out."""
    measured, judged = frames_of(metrics, market), frames_of(regime, market, contracts.REGIME)
    both = {
        timeframe: (
            measured[timeframe].join(judged[timeframe], on="open_time", how="semi", maintain_order="left"),
            judged[timeframe].join(measured[timeframe], on="open_time", how="semi", maintain_order="left"),
        )
        for timeframe in COARSE
    }
    view = view_of(
        bars.bars,
        {timeframe: frames[0] for timeframe, frames in both.items()},
        {timeframe: frames[1] for timeframe, frames in both.items()},
        bars.quarantined_ms,
    )
    return replace(view, covers=bars.covers, gaps_ms=bars.gaps_ms, stops=stops)


def analysis_of(grid: WatchedGrid, views: Views, plan: Plan, policy: ExitStatePolicy) -> pl.DataFrame:
    """Analysis of a grid from the plan's context on, each evaluation under the version and in the market then in force.

    Raises
    ------
    PipelineError
        When one of its markets could not be viewed.
    """
    times = evaluations(plan.context_ms, plan.last_ms)
    parts = [contracts.GRID_ANALYSIS.empty()]
    for market in grid.markets:
        if market in plan.bars_from_ms:
            rows = grid_analysis(grid.versions, viewed(views, market), times, policy)
            parts.append(of_market(rows, grid, market))
    return pl.concat(parts).sort("evaluated_at")


def of_market(rows: pl.DataFrame, grid: WatchedGrid, market: Market) -> pl.DataFrame:
    """The evaluations whose version trades a market."""
    return rows.filter(pl.col("grid_version").is_in(grid.hashes(market)))


def viewed(views: Views, market: Market) -> MarketView:
    """The view of a market; raises :class:`PipelineError` where there is none."""
    if market not in views:
        raise PipelineError(f"nothing is known of {market} in this run.", "See the run's warnings for the reason.")
    return views[market]
