"""Grid analysis of SPEC 5 for one evaluation, from the bars known at that moment."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from mm_pipeline_tests.reference.bars import MS_1H, MS_15M, Bars, newest_known
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
    """The newest version valid at an evaluation; None before any is, and before the grid in force started.

    An enabled grid that starts more than a bar later is in force, and not watched.
    """
    valid = [version.grid for version in versions if version.valid_from <= at]
    return valid[-1] if valid and (at >= valid[-1].started_at or is_ahead(valid[-1], at)) else None


def is_ahead(grid: Grid, at: int) -> bool:
    """Whether an enabled grid starts more than a bar after an evaluation."""
    return grid.is_enabled and grid.started_at > at + MS_15M


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


def judged_by(versions: Sequence[GridVersion], grid: Grid, at: int) -> Grid | None:
    """What judges this grid's range at a moment; None while the grid is switched off.

    Before the first version of the range that one counts; while another range was declared the range runs on, unless
    that one is switched off.
    """
    own = [version.grid for version in versions if version.grid.started_at == grid.started_at]
    now, is_on = own[0], own[0].is_enabled
    has_begun = False
    for version in versions:
        if version.valid_from > at:
            break
        if version.grid.started_at == grid.started_at:
            has_begun = True
            now, is_on = version.grid, version.grid.is_enabled
        elif has_begun and not version.grid.is_enabled:
            is_on = False
    return now if is_on else None


def stop_number(versions: Sequence[GridVersion], grid: Grid, at: int) -> int:
    """Which of the stops that this range was given in turn judges it at a moment."""
    own = [version for version in versions if version.grid.started_at == grid.started_at]
    stops = [version.grid.stop_loss for version in own if version.valid_from <= at] or [own[0].grid.stop_loss]
    return sum(before != after for before, after in pairwise(stops))


def was_on(versions: Sequence[GridVersion], grid: Grid, opened: int, closed: int) -> bool:
    """Whether the range was watched during the whole bar."""
    moments = [opened, *(version.valid_from for version in versions if opened < version.valid_from < closed)]
    return all(judged_by(versions, grid, moment) is not None for moment in moments)


def range_excess_atr(market: Market, versions: Sequence[GridVersion], grid: Grid, at: int) -> float | None:
    """Farthest 4h close beyond the bounds in force at it, widened by the 1h range known at ``started_at``.

    In ATR(4h) of that bar. Where no range was known then the bounds stand alone. Bars from before the first ATR wait
    for it and are measured by it; a later bar without an ATR tells nothing.
    """
    hour = newest_known(market.hourly.bars, grid.started_at)
    row = {} if hour is None else market.hourly.at(hour)
    high, low = row.get("range_high"), row.get("range_low")
    bars = market.coarse.bars
    worst = None
    waiting: list[float] = []
    before = bisect_left(bars.open_time, grid.started_at) - 1
    has_seen_atr = before >= 0 and bool(market.coarse.at(before)["atr_14"])
    for i in bars_since(bars, grid.started_at, at):
        judge = judged_by(versions, grid, bars.close_time[i])
        beyond = []
        if judge is not None and was_on(versions, grid, bars.open_time[i], bars.close_time[i]):
            upper = judge.upper if high is None else max(judge.upper, high)
            lower = judge.lower if low is None else min(judge.lower, low)
            beyond = [max(bars.close[i] - upper, lower - bars.close[i])]
        atr = market.coarse.at(i)["atr_14"]
        if not atr:
            if not has_seen_atr:
                waiting += beyond
            continue
        has_seen_atr = True
        for each in (*waiting, *beyond):
            worst = each / atr if worst is None else max(worst, each / atr)
        waiting = []
    return worst


def closes_outside(bars: Bars, versions: Sequence[GridVersion], grid: Grid, at: int) -> int:
    """Consecutive real closes strictly outside on one side of the bounds in force at each.

    A fully synthetic bar neither counts nor resets; a bar that is missing altogether (a quarantined candle), or during
    which the grid was off, ends the run.
    """
    run, side = 0, 0
    for i in bars_since(bars, grid.started_at, at):
        if i > 0 and bars.open_time[i] != bars.close_time[i - 1]:
            run, side = 0, 0
        judge = judged_by(versions, grid, bars.close_time[i])
        if not was_on(versions, grid, bars.open_time[i], bars.close_time[i]):
            run, side = 0, 0
            continue
        if bars.is_synthetic[i]:
            continue
        judge = judge or grid  # switched off at the very close: the bounds stay
        now = (bars.close[i] > judge.upper) - (bars.close[i] < judge.lower)
        run = 0 if now == 0 else (run + 1 if now == side else 1)
        side = now
    return run


class StopWatch:
    """What came nearest to the stop of a range, or fell farthest below it, by any moment.

    Of several declared stops that were reached, the one declared last counts, whatever happened below the others.
    """

    def __init__(self, bars: Bars, versions: Sequence[GridVersion], grid: Grid) -> None:
        facts: list[tuple[int, int, float, float, int]] = []
        for i, opened in enumerate(bars.open_time):
            judge = judged_by(versions, grid, opened)
            if opened >= grid.started_at and judge and was_on(versions, grid, opened, bars.close_time[i]):
                facts.append((bars.known_at[i], 0, bars.low[i], judge.stop_loss, opened))
        first = -(-grid.started_at // MS_15M) * MS_15M
        for at in range(first, bars.known_at[-1] + MS_1H + 1, MS_15M):
            newest, judge = newest_known(bars, at), judged_by(versions, grid, at)
            if newest is not None and judge is not None:
                facts.append((at, 1, bars.close[newest], judge.stop_loss, at))
        self._known: list[int] = []
        self._nearest: list[tuple[float, float]] = []
        nearest: tuple[float, float] | None = None
        breaches: dict[int, tuple[float, float]] = {}
        for known, _, price, stop, judged_at in sorted(facts, key=lambda fact: fact[:2]):
            number = stop_number(versions, grid, judged_at)
            if price <= stop and (number not in breaches or price < breaches[number][0]):
                breaches[number] = (price, stop)
            if nearest is None or stop - price > nearest[1] - nearest[0]:
                nearest = (price, stop)
            self._known.append(known)
            self._nearest.append(breaches[max(breaches)] if breaches else nearest)

    def at(self, at: int) -> tuple[float, float] | None:
        """Price and the stop in force at it, in quote; None before the first bar."""
        found = bisect_right(self._known, at)
        return self._nearest[found - 1] if found else None
