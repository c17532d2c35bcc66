"""Grid analysis of SPEC 5 for one evaluation, from the bars known at that moment."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from mm_pipeline_tests.reference.bars import Bars, newest_known
from mm_pipeline_tests.reference.metrics import MarketMetrics


@dataclass(frozen=True)
class Grid:
    """A declared grid; prices in quote, ``started_at`` in epoch ms."""

    id: str
    lower: float
    upper: float
    stop_loss: float
    started_at: int
    is_enabled: bool = True
    spacing: str = "arithmetic"
    fee: float = 0.001


@dataclass(frozen=True)
class GridVersion:
    """A declared grid and the moment (epoch ms) from which evaluations use it."""

    valid_from: int
    grid: Grid


@dataclass(frozen=True)
class Market:
    """Bars of one market: 15m, and the metrics of 1h and 4h bars."""

    quarters: Bars
    hourly: MarketMetrics
    coarse: MarketMetrics


@dataclass(frozen=True)
class GridAnalysis:
    """SPEC 5 at one evaluation; distances in ATR of 1h, signed so that inside the grid they are positive."""

    price: float
    atr: float | None
    position_health: str
    distance_to_lower_atr: float | None
    distance_to_upper_atr: float | None
    distance_to_stop_atr: float | None
    stop_loss_risk: str | None


def grid_in_force(versions: Sequence[GridVersion], at: int) -> Grid | None:
    """The newest version valid at an evaluation; None before any is, and before the grid in force started."""
    valid = [version.grid for version in versions if version.valid_from <= at]
    return valid[-1] if valid and at >= valid[-1].started_at else None


def analyse(price: float, atr: float | None, grid: Grid) -> GridAnalysis:
    """Where a price stands in a grid, and how far it is from the stop."""
    health = "IN_GRID"
    if price > grid.upper:
        health = "ABOVE_GRID"
    if price < grid.lower:
        health = "BELOW_GRID"
    return GridAnalysis(
        price,
        atr,
        health,
        in_atr(price - grid.lower, atr),
        in_atr(grid.upper - price, atr),
        in_atr(price - grid.stop_loss, atr),
        stop_loss_risk(price - grid.stop_loss, atr),
    )


def analysis_at(market: Market, grid: Grid, at: int) -> GridAnalysis | None:
    """The grid at an evaluation (epoch ms): newest known 15m close, atr_14 of the newest known 1h bar."""
    quarter, hour = newest_known(market.quarters, at), newest_known(market.hourly.bars, at)
    if quarter is None:
        return None
    return analyse(market.quarters.close[quarter], None if hour is None else market.hourly.at(hour)["atr_14"], grid)


def in_atr(distance: float, atr: float | None) -> float | None:
    """A distance in ATR; None without an ATR or with a dead market's 0."""
    return None if atr is None or atr == 0 else distance / atr


def stop_loss_risk(distance: float, atr: float | None) -> str | None:
    """BREACHED needs no ATR; the other classes are multiples of it."""
    if distance <= 0:
        return "BREACHED"
    if atr is None:
        return None
    ratio = distance / atr if atr > 0 else math.inf
    for limit, name in ((1, "CRITICAL"), (2, "HIGH"), (4, "MEDIUM")):
        if ratio < limit:
            return name
    return "SAFE"


def bars_since(bars: Bars, started_at: int, at: int) -> range:
    """Bars that opened at or after ``started_at`` and are known at the evaluation."""
    newest = newest_known(bars, at)
    return range(0) if newest is None else range(bisect_left(bars.open_time, started_at), newest + 1)


def range_excess_atr(market: Market, grid: Grid, at: int) -> float | None:
    """Farthest 4h close beyond the bounds widened by the 1h range known at ``started_at``, in ATR(4h) of that bar.

    Where no range was known then the bounds stand alone. Bars from before the first ATR wait for it and are measured
    by it; a later bar without an ATR tells nothing.
    """
    hour = newest_known(market.hourly.bars, grid.started_at)
    row = {} if hour is None else market.hourly.at(hour)
    upper, lower = grid.upper, grid.lower
    if row.get("range_high") is not None:
        upper = max(upper, row["range_high"])
    if row.get("range_low") is not None:
        lower = min(lower, row["range_low"])
    worst = None
    waiting: list[float] = []
    before = bisect_left(market.coarse.bars.open_time, grid.started_at) - 1
    has_seen_atr = before >= 0 and bool(market.coarse.at(before)["atr_14"])
    for i in bars_since(market.coarse.bars, grid.started_at, at):
        atr, close = market.coarse.at(i)["atr_14"], market.coarse.bars.close[i]
        if not atr:
            if not has_seen_atr:
                waiting.append(close)
            continue
        has_seen_atr = True
        for seen in (*waiting, close):
            excess = max((seen - upper) / atr, (lower - seen) / atr)
            worst = excess if worst is None else max(worst, excess)
        waiting = []
    return worst


def closes_outside(bars: Bars, grid: Grid, at: int) -> int:
    """Consecutive real closes strictly outside on one side; a fully synthetic bar neither counts nor resets.

    A bar that is missing altogether (a quarantined candle) ends the run.
    """
    run, side = 0, 0
    for i in bars_since(bars, grid.started_at, at):
        if i > 0 and bars.open_time[i] != bars.close_time[i - 1]:
            run, side = 0, 0
        if bars.is_synthetic[i]:
            continue
        now = (bars.close[i] > grid.upper) - (bars.close[i] < grid.lower)
        run = 0 if now == 0 else (run + 1 if now == side else 1)
        side = now
    return run


def lowest_low(bars: Bars, grid: Grid, at: int) -> float | None:
    """Lowest low since the grid started, in quote."""
    since = bars_since(bars, grid.started_at, at)
    return min(bars.low[since.start : since.stop], default=None)
