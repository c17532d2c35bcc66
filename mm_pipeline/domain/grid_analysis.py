"""Where price stands against a grid at each evaluation, and what has happened to the grid since it started (SPEC 5)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mm_pipeline.domain.columns import Bools, Type, constant_column, float_column, name_column, times_of
from mm_pipeline.domain.exit_state.policy import ExitStatePolicy, StopLossRiskPolicy
from mm_pipeline.domain.grid import Grid, GridVersion
from mm_pipeline.domain.indicators.windows import Floats
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.market_view import MarketView

Times = NDArray[np.int64]


def grid_analysis(
    versions: Sequence[GridVersion], market: MarketView, evaluated_ms: Times, policy: ExitStatePolicy
) -> pl.DataFrame:
    """Analyse a grid at each evaluation under the version in force then, from bars known by then.

    Parameters
    ----------
    versions
        All versions of one grid. There is no evaluation before the ``started_at`` of the one in force.
    market
        Bars and metrics of its market; they must reach back to the grid's start for what is latched since then.
    evaluated_ms
        Evaluations (epoch ms), ascending.
    policy
        Thresholds.

    Returns
    -------
    One row per evaluation: ``grid, evaluated_at, grid_version``; the declaration in force (``is_enabled, lower, upper,
    stop_loss, fee, spacing``); ``price`` (quote; null before the first bar), ``atr_14`` (quote, 1h), ``position_health,
    distance_to_lower_atr, distance_to_upper_atr, distance_to_stop_atr, stop_loss_risk``; and since the start:
    ``closes_outside`` (count), ``range_excess_atr`` (farthest 4h close beyond the range, in ATR(4h); negative inside),
    ``lowest_low`` (quote), ``has_history`` (bars reach back to the start).
    """
    ordered = sorted(versions, key=lambda version: version.valid_from)
    starts = [max(_ms(version.valid_from), version.grid.started_at_ms) for version in ordered]
    ends = [*(_ms(version.valid_from) for version in ordered[1:]), np.iinfo(np.int64).max]
    return pl.concat(
        _analyse(version.grid, market, evaluated_ms[(evaluated_ms >= start) & (evaluated_ms < end)], policy)
        for version, start, end in zip(ordered, starts, ends, strict=True)
    )


def _analyse(grid: Grid, market: MarketView, evaluated_ms: Times, policy: ExitStatePolicy) -> pl.DataFrame:
    price, atr = market.bars.at(evaluated_ms).floats("close"), market.hourly.at(evaluated_ms).floats("atr_14")
    to_stop = _in_atr(price - grid.stop_loss, atr)

    def constant(name: str, value: object, dtype: Type) -> pl.Series:
        return constant_column(name, value, len(evaluated_ms), dtype)

    return pl.DataFrame(
        [
            constant("grid", grid.id, pl.String),
            times_of(evaluated_ms, "evaluated_at"),
            constant("grid_version", grid.version_hash, pl.String),
            constant("is_enabled", grid.enabled, pl.Boolean),
            constant("lower", grid.lower, pl.Float64),
            constant("upper", grid.upper, pl.Float64),
            constant("stop_loss", grid.stop_loss, pl.Float64),
            constant("fee", grid.fee, pl.Float64),
            constant("spacing", grid.spacing.value, pl.String),
            float_column("price", price),
            float_column("atr_14", atr),
            _position_health(grid, price),
            float_column("distance_to_lower_atr", _in_atr(price - grid.lower, atr)),
            float_column("distance_to_upper_atr", _in_atr(grid.upper - price, atr)),
            float_column("distance_to_stop_atr", to_stop),
            _stop_loss_risk(price <= grid.stop_loss, to_stop, policy.stop_loss_risk),
            pl.Series("closes_outside", _closes_outside(grid, market, evaluated_ms, policy.closes_outside.timeframe)),
            float_column("range_excess_atr", _range_excess_atr(grid, market, evaluated_ms)),
            float_column("lowest_low", _lowest_low(grid, market, evaluated_ms)),
            constant("has_history", market.bars.reaches_back_to(grid.started_at_ms), pl.Boolean),
        ]
    )


def _in_atr(distance: Floats, atr: Floats) -> Floats:
    """Distance in ATR; null where ATR is not known, or 0 in a market that does not move."""
    return np.divide(distance, atr, out=np.full_like(distance, np.nan), where=atr > 0)


def _position_health(grid: Grid, price: Floats) -> pl.Series:
    codes = np.select([price > grid.upper, price < grid.lower, ~np.isnan(price)], [0, 1, 2], -1)
    return name_column("position_health", codes, ("ABOVE_GRID", "BELOW_GRID", "IN_GRID"))


def _stop_loss_risk(is_breached: Bools, to_stop_atr: Floats, policy: StopLossRiskPolicy) -> pl.Series:
    bounds = (policy.critical_atr, policy.high_atr, policy.medium_atr, np.inf)
    levels = [is_breached, *(to_stop_atr < bound for bound in bounds)]
    codes = np.select(levels, list(range(len(levels))), -1)
    return name_column("stop_loss_risk", codes, ("BREACHED", "CRITICAL", "HIGH", "MEDIUM", "SAFE"))


def _range_excess_atr(grid: Grid, market: MarketView, evaluated_ms: Times) -> Floats:
    """Farthest 4h close beyond the grid's bounds widened by the 1h range known at the start, so far, in ATR(4h).

    Where no range was known then, the bounds stand alone: that fires sooner, and a range that cannot be known must not
    switch the trigger off. For the same reason closes before the first known ATR are measured by that one, once it is
    known.
    """
    known = market.hourly.at(np.array([grid.started_at_ms]))
    top = np.fmax(grid.upper, known.floats("range_high")[0])
    bottom = np.fmin(grid.lower, known.floats("range_low")[0])
    four_hourly = market.four_hourly
    close, atr = four_hourly.floats("close"), four_hourly.floats("atr_14")
    beyond = np.maximum(close - top, bottom - close)
    beyond[four_hourly.opened_ms < grid.started_at_ms] = np.nan
    excess = _in_atr(beyond, atr)
    first_known = int(np.argmax(atr > 0)) if (atr > 0).any() else 0
    excess[first_known : first_known + 1] = _in_atr(np.fmax.accumulate(beyond), atr)[first_known : first_known + 1]
    return four_hourly.at(evaluated_ms).pick(np.fmax.accumulate(excess))


def _lowest_low(grid: Grid, market: MarketView, evaluated_ms: Times) -> Floats:
    low = np.where(market.bars.opened_ms < grid.started_at_ms, np.nan, market.bars.floats("low"))
    return market.bars.at(evaluated_ms).pick(np.fmin.accumulate(low))


def _closes_outside(grid: Grid, market: MarketView, evaluated_ms: Times, timeframe: Timeframe) -> Times:
    """Closes in a row, strictly outside on one side, of bars opened since the start.

    Synthetic bars are passed over; a bar that is not there at all (a quarantined candle) breaks the run, as nobody
    knows where it closed.
    """
    bars = market.timeline(timeframe)
    is_counted = ~bars.frame["is_synthetic"].to_numpy() & (bars.opened_ms >= grid.started_at_ms)
    close = bars.floats("close")[is_counted]
    side = (close > grid.upper).astype(np.int64) - (close < grid.lower)
    stretch = np.cumsum(np.diff(bars.opened_ms, prepend=0) != timeframe.ms)[is_counted]
    position = np.arange(len(side))
    is_new = (np.diff(side, prepend=0) != 0) | (np.diff(stretch, prepend=0) != 0)
    began = np.maximum.accumulate(np.where(is_new, position, 0))
    run = (position - began + 1) * np.abs(side)
    known_count = np.searchsorted(bars.known_ms[is_counted], evaluated_ms, side="right")
    return np.concatenate([[0], run])[known_count]


def _ms(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
