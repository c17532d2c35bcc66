"""Where price stands against a grid at each evaluation, and what has happened to the grid since it started (SPEC 5)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mm_pipeline.domain.candles import epoch_ms
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
    bars, hourly = market.bars.at(evaluated_ms), market.hourly.at(evaluated_ms)
    price, atr = bars.floats("close"), hourly.floats("atr_14")
    frame = pl.DataFrame(
        {
            "evaluated_at": pl.Series(evaluated_ms).cast(pl.Datetime("ms", "UTC")),
            "price": price,
            "atr_14": atr,
            "distance_to_lower_atr": _in_atr(price - grid.lower, atr),
            "distance_to_upper_atr": _in_atr(grid.upper - price, atr),
            "distance_to_stop_atr": _in_atr(price - grid.stop_loss, atr),
            "range_excess_atr": _range_excess_atr(grid, market, evaluated_ms),
            "lowest_low": _lowest_low(grid, market, evaluated_ms),
        }
    ).with_columns(pl.col(pl.Float64).fill_nan(None))
    return frame.select(
        pl.lit(grid.id).alias("grid"),
        "evaluated_at",
        pl.lit(grid.version_hash).alias("grid_version"),
        pl.lit(grid.enabled).alias("is_enabled"),
        *(pl.lit(float(getattr(grid, name))).alias(name) for name in ("lower", "upper", "stop_loss", "fee")),
        pl.lit(grid.spacing.value).alias("spacing"),
        "price",
        "atr_14",
        _position_health(grid).alias("position_health"),
        "distance_to_lower_atr",
        "distance_to_upper_atr",
        "distance_to_stop_atr",
        _stop_loss_risk(grid, policy.stop_loss_risk).alias("stop_loss_risk"),
        pl.Series("closes_outside", _closes_outside(grid, market, evaluated_ms, policy.closes_outside.timeframe)),
        "range_excess_atr",
        "lowest_low",
        pl.lit(market.bars.reaches_back_to(grid.started_at_ms)).alias("has_history"),
    )


def _in_atr(distance: Floats, atr: Floats) -> Floats:
    """Distance in ATR; null where ATR is not known, or 0 in a market that does not move."""
    return np.divide(distance, atr, out=np.full_like(distance, np.nan), where=atr > 0)


def _position_health(grid: Grid) -> pl.Expr:
    price = pl.col("price")
    return (
        pl.when(price > grid.upper)
        .then(pl.lit("ABOVE_GRID"))
        .when(price < grid.lower)
        .then(pl.lit("BELOW_GRID"))
        .when(price.is_not_null())
        .then(pl.lit("IN_GRID"))
    )


def _stop_loss_risk(grid: Grid, policy: StopLossRiskPolicy) -> pl.Expr:
    distance = pl.col("distance_to_stop_atr")
    return (
        pl.when(pl.col("price") <= grid.stop_loss)
        .then(pl.lit("BREACHED"))
        .when(distance < policy.critical_atr)
        .then(pl.lit("CRITICAL"))
        .when(distance < policy.high_atr)
        .then(pl.lit("HIGH"))
        .when(distance < policy.medium_atr)
        .then(pl.lit("MEDIUM"))
        .when(distance.is_not_null())
        .then(pl.lit("SAFE"))
    )


def _range_excess_atr(grid: Grid, market: MarketView, evaluated_ms: Times) -> Floats:
    """Farthest 4h close beyond the grid's bounds widened by the 1h range known at the start, so far, in ATR(4h).

    Without a confirmed swing then, the bounds stand alone; where the bars before the start are too few to tell, there
    is no value.
    """
    known = market.hourly.at(np.array([grid.started_at_ms]))
    if known.frame["swing_structure"].has_nulls():
        return np.full(len(evaluated_ms), np.nan)
    top = np.fmax(grid.upper, known.floats("range_high")[0])
    bottom = np.fmin(grid.lower, known.floats("range_low")[0])
    four_hourly = market.four_hourly
    close, atr = four_hourly.floats("close"), four_hourly.floats("atr_14")
    excess = _in_atr(np.maximum(close - top, bottom - close), atr)
    excess[epoch_ms(four_hourly.frame["open_time"]) < grid.started_at_ms] = np.nan
    return four_hourly.pick(np.fmax.accumulate(excess), evaluated_ms)


def _lowest_low(grid: Grid, market: MarketView, evaluated_ms: Times) -> Floats:
    low = market.bars.floats("low").copy()
    low[epoch_ms(market.bars.frame["open_time"]) < grid.started_at_ms] = np.nan
    return market.bars.pick(np.fmin.accumulate(low), evaluated_ms)


def _closes_outside(grid: Grid, market: MarketView, evaluated_ms: Times, timeframe: Timeframe) -> pl.Series:
    """Closes in a row, strictly outside on one side, of bars opened since the start; synthetic bars are passed over."""
    bars = market.timeline(timeframe)
    close = bars.floats("close")
    side = (close > grid.upper).astype(np.int64) - (close < grid.lower).astype(np.int64)
    counted = ~bars.frame["is_synthetic"].to_numpy() & (epoch_ms(bars.frame["open_time"]) >= grid.started_at_ms)
    real_side = side[counted]
    position = np.arange(len(real_side))
    began = np.ones(len(real_side), dtype=bool)
    began[1:] = real_side[1:] != real_side[:-1]
    run_of_real = (position - np.maximum.accumulate(np.where(began, position, 0)) + 1) * (real_side != 0)
    newest_counted = np.cumsum(counted) - 1
    run = np.where(newest_counted >= 0, run_of_real[np.maximum(newest_counted, 0)] if len(run_of_real) else 0, 0)
    return pl.Series(bars.pick(run.astype(np.float64), evaluated_ms)).fill_nan(0.0).cast(pl.Int64)


def _ms(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
