"""Where price stands against a grid at each evaluation, and what has happened to the grid since it started (SPEC 5).

Each bar is judged by the declaration that was in force at it (:mod:`~mm_pipeline.domain.grid_history`): a low by the
stop in force when its bar opened, a close by the stop and the bounds in force when it closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from mm_pipeline.domain.arrays import Floats, Times
from mm_pipeline.domain.columns import TIME, Type, constant_column, float_column, integer_column, name_column, times_of
from mm_pipeline.domain.exit_state.policy import ExitStatePolicy, StopLossRiskPolicy
from mm_pipeline.domain.grid import Grid, GridVersion, from_epoch_ms, unprofitable, unwatched
from mm_pipeline.domain.grid_history import RangeHistory, by_valid_from, evaluations_by_version, is_same_range
from mm_pipeline.domain.holes import holes_of
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.market_view import MarketView, Timeline

NO_STOP: Final = "NO_STOP"
"""Stop risk of a grid that was declared without one."""


def grid_analysis(
    versions: Sequence[GridVersion], market: MarketView, evaluated_ms: Times, policy: ExitStatePolicy
) -> pl.DataFrame:
    """Analyse a grid at each evaluation under the version in force then, from bars known by then.

    Parameters
    ----------
    versions
        All versions of one grid; :func:`evaluations_by_version` says at which evaluations each has a row.
    market
        Bars and metrics of its market; they must reach back to the grid's start for what is latched since then.
    evaluated_ms
        Evaluations (epoch ms), ascending.
    policy
        Thresholds.

    Returns
    -------
    One row per evaluation: ``grid, evaluated_at, grid_version``; the declaration in force (``is_enabled, started_at,
    lower, upper, stop_loss, fee, spacing``); ``unwatched`` (why an enabled grid is not watched; null where it is);
    ``unearned`` (what an interval earns and pays, where an enabled grid does not earn its fees; else null);
    ``price`` (quote; null before the first bar), ``atr_14`` (quote, 1h), ``position_health, distance_to_lower_atr,
    distance_to_upper_atr, distance_to_stop_atr, stop_loss_risk``; and since the start: ``closes_outside`` (count;
    null where the run may reach over a hole and is not long enough to fire without it),
    ``range_excess_atr`` (farthest 4h close beyond the range, in ATR(4h); negative inside), ``lowest_low`` and
    ``lowest_low_stop`` (the price that came nearest to the stop in force at it, or went farthest below, and that stop;
    of several stops that were breached, the one that came into force last; quote), ``has_history`` (bars reach back to
    the start).
    """
    ordered = by_valid_from(versions)
    seen = _SeenRanges(ordered, market, policy.closes_outside.timeframe)
    parts = []
    for version, due_ms in evaluations_by_version(ordered, evaluated_ms):
        if len(due_ms) or version is ordered[-1]:
            parts.append(_analyse(version, seen, due_ms, policy))
    return pl.concat(parts)


def _analyse(version: GridVersion, seen: _SeenRanges, evaluated_ms: Times, policy: ExitStatePolicy) -> pl.DataFrame:
    grid, market = version.grid, seen.market
    price, atr = market.bars.at(evaluated_ms).floats("close"), market.hourly.at(evaluated_ms).floats("atr_14")
    stop = np.nan if grid.stop_loss is None else grid.stop_loss
    to_stop = _in_atr(price - stop, atr)
    latches = seen.latches(grid)
    nearest = latches.nearest_to_stop.at(evaluated_ms)

    def constant(name: str, value: object, dtype: Type) -> pl.Series:
        return constant_column(name, value, len(evaluated_ms), dtype)

    return pl.DataFrame(
        [
            constant("grid", grid.id, pl.String),
            times_of(evaluated_ms, "evaluated_at"),
            constant("grid_version", grid.version_hash, pl.String),
            constant("is_enabled", grid.enabled, pl.Boolean),
            constant("started_at", grid.started_at, TIME),
            constant("lower", grid.lower, pl.Float64),
            constant("upper", grid.upper, pl.Float64),
            constant("stop_loss", grid.stop_loss, pl.Float64),
            constant("fee", grid.fee, pl.Float64),
            constant("spacing", grid.spacing.value, pl.String),
            _unwatched(version, evaluated_ms),
            constant("unearned", unprofitable(grid) if grid.enabled else None, pl.String),
            float_column("price", price),
            float_column("atr_14", atr),
            _position_health(grid, price),
            float_column("distance_to_lower_atr", _in_atr(price - grid.lower, atr)),
            float_column("distance_to_upper_atr", _in_atr(grid.upper - price, atr)),
            float_column("distance_to_stop_atr", to_stop),
            _stop_loss_risk(grid, price, to_stop, policy.stop_loss_risk),
            integer_column(
                "closes_outside", latches.closes_outside_at(evaluated_ms, enough=policy.closes_outside.count)
            ),
            float_column("range_excess_atr", market.four_hourly.at(evaluated_ms).pick(latches.range_excess_atr)),
            float_column("lowest_low", nearest.price),
            float_column("lowest_low_stop", nearest.stop),
            constant("has_history", market.bars.reaches_back_to(grid.started_at_ms), pl.Boolean),
        ]
    )


def _unwatched(version: GridVersion, evaluated_ms: Times) -> pl.Series:
    """Why an enabled grid is not watched at each evaluation."""
    may_be = version.grid.enabled and (version.is_gone or (evaluated_ms < version.grid.started_at_ms).any())
    if not may_be:
        return constant_column("unwatched", None, len(evaluated_ms), pl.String)
    reasons = [unwatched(version, from_epoch_ms(at_ms)) for at_ms in evaluated_ms.tolist()]
    return pl.Series("unwatched", reasons, dtype=pl.String)


def _in_atr(distance: Floats, atr: Floats) -> Floats:
    """Distance in ATR; null where ATR is not known, or 0 in a market that does not move."""
    return np.divide(distance, atr, out=np.full_like(distance, np.nan), where=atr > 0)


def _position_health(grid: Grid, price: Floats) -> pl.Series:
    codes = np.select([price > grid.upper, price < grid.lower, ~np.isnan(price)], [0, 1, 2], -1)
    return name_column("position_health", codes, ("ABOVE_GRID", "BELOW_GRID", "IN_GRID"))


def _stop_loss_risk(grid: Grid, price: Floats, to_stop_atr: Floats, policy: StopLossRiskPolicy) -> pl.Series:
    if grid.stop_loss is None:
        return constant_column("stop_loss_risk", NO_STOP, len(price), pl.String)
    bounds = (policy.critical_atr, policy.high_atr, policy.medium_atr, np.inf)
    levels = [price <= grid.stop_loss, *(to_stop_atr < bound for bound in bounds)]
    codes = np.select(levels, list(range(len(levels))), -1)
    return name_column("stop_loss_risk", codes, ("BREACHED", "CRITICAL", "HIGH", "MEDIUM", "SAFE"))


@dataclass(frozen=True)
class _NearestToStop:
    """The price that came nearest to the stop in force at it, or went farthest below, as time passed.

    Once a stop is breached, prices are those of the newest stop that was: a breach of an edited stop is a fact of its
    own, however deep the earlier one was.

    Attributes
    ----------
    known_ms
        When each price was known, ascending.
    price, stop
        Quote; of the nearest so far.
    """

    known_ms: Times
    price: Floats
    stop: Floats

    @classmethod
    def of(cls, bars: Timeline, history: RangeHistory, started_at_ms: int) -> _NearestToStop:
        """From the lows of bars opened since the start, and every close that an evaluation since the start knew.

        The newest close is a fact at the first evaluation of a range, and of an edited stop, too.
        """
        low, close = bars.floats("low"), bars.floats("close")
        counted = np.flatnonzero(bars.opened_ms >= started_at_ms)
        counted = counted[history.is_on_through(bars.opened_ms[counted], bars.closed_ms(Timeframe.M15)[counted])]
        is_newest = np.append(np.diff(bars.known_ms) > 0, True)[: len(close)]
        closed = np.flatnonzero((bars.known_ms >= started_at_ms) & is_newest)
        closed = closed[history.is_on_at(bars.known_ms[closed])]
        begun = history.first_evaluations(started_at_ms)
        known = np.concatenate([bars.known_ms[counted], bars.known_ms[closed], begun])
        price = np.concatenate([low[counted], close[closed], bars.at(begun).floats("close")])
        judged_ms = np.concatenate([bars.opened_ms[counted], bars.known_ms[closed], begun])
        stop, edits = history.stops_at(judged_ms), history.stop_edits_at(judged_ms)
        order = np.argsort(known, kind="stable")
        order = order[~np.isnan(stop[order] - price[order])]
        known, price, stop, edits = known[order], price[order], stop[order], edits[order]
        past = stop - price
        farthest = np.maximum.accumulate(past)
        is_new = np.append(True, past[1:] > farthest[:-1])[: len(past)]
        newest = np.maximum.accumulate(np.where(is_new, np.arange(len(past)), 0))
        for edit in np.unique(edits).tolist():
            _show_breach(newest, np.flatnonzero(edits == edit), past)
        return cls(known, price[newest], stop[newest])

    def at(self, evaluated_ms: Times) -> _NearestToStop:
        """The nearest by each evaluation; NaN where there is none."""
        index = np.searchsorted(self.known_ms, evaluated_ms, side="right") - 1
        return _NearestToStop(evaluated_ms, np.append(self.price, np.nan)[index], np.append(self.stop, np.nan)[index])


def _show_breach(newest: Times, judged: Times, past: Floats) -> None:
    """Let the rows of ``newest`` from the first breach of one stop on point at its deepest one so far.

    ``judged`` are the prices judged by that stop; ``past`` is how far each price is beyond its stop.
    """
    breached = judged[past[judged] >= 0]
    if not len(breached):
        return
    depth = past[breached]
    is_deeper = np.append(True, depth[1:] > np.maximum.accumulate(depth)[:-1])[: len(depth)]
    deepest = np.maximum.accumulate(np.where(is_deeper, np.arange(len(depth)), 0))
    later = np.arange(breached[0], len(newest))
    newest[later] = breached[deepest[np.searchsorted(breached, later, side="right") - 1]]


@dataclass(frozen=True)
class _Latches:
    """What has happened to a range since its start, as its bars became known.

    Attributes
    ----------
    nearest_to_stop
        See there.
    outside
        How many closes in a row are outside.
    range_excess_atr
        One value a 4h bar, so far.
    """

    nearest_to_stop: _NearestToStop
    outside: _ClosesOutside
    range_excess_atr: Floats

    def closes_outside_at(self, evaluated_ms: Times, *, enough: int) -> Floats:
        """Closes in a row outside, by each evaluation; NaN where a hole hides some and those seen are not enough."""
        known_count = np.searchsorted(self.outside.known_ms, evaluated_ms, side="right")
        run = np.concatenate([[0], self.outside.run])[known_count]
        settled_ms = np.concatenate([[np.iinfo(np.int64).min], self.outside.settled_ms])[known_count]
        holes_ms = np.concatenate([[np.iinfo(np.int64).min], self.outside.hole_closed_ms])
        newest_hole_ms = holes_ms[np.searchsorted(holes_ms, evaluated_ms, side="right") - 1]
        return np.where((newest_hole_ms > settled_ms) & (run < enough), np.nan, run)


class _SeenRanges:
    """The latches of each range of one grid in one market, each worked out once."""

    def __init__(self, versions: Sequence[GridVersion], market: MarketView, timeframe: Timeframe) -> None:
        self.versions, self.market, self._timeframe = versions, market, timeframe
        self._found: list[tuple[Grid, _Latches]] = []

    def latches(self, grid: Grid) -> _Latches:
        """Those of the range that a declaration belongs to."""
        for known, latches in self._found:
            if is_same_range(known, grid):
                return latches
        history = RangeHistory.of(self.versions, grid)
        made = _Latches(
            _NearestToStop.of(self.market.bars, history, grid.started_at_ms),
            _closes_outside(self.market, history, grid, self._timeframe),
            _range_excess_atr(grid, self.market, history),
        )
        self._found.append((grid, made))
        return made


def _range_excess_atr(grid: Grid, market: MarketView, history: RangeHistory) -> Floats:
    """Farthest 4h close beyond the bounds in force, widened by the 1h range known at the start, so far, in ATR(4h).

    Where no range was known then, the bounds stand alone: that fires sooner, and a range that cannot be known must not
    switch the trigger off. For the same reason closes before the first known ATR are measured by that one, once it is
    known.
    """
    known = market.hourly.at(np.array([grid.started_at_ms]))
    four_hourly = market.four_hourly
    closed_ms = four_hourly.closed_ms(Timeframe.H4)
    top = np.fmax(history.uppers_at(closed_ms), known.floats("range_high")[0])
    bottom = np.fmin(history.lowers_at(closed_ms), known.floats("range_low")[0])
    close, atr = four_hourly.floats("close"), four_hourly.floats("atr_14")
    beyond = np.maximum(close - top, bottom - close)
    is_counted = four_hourly.opened_ms >= grid.started_at_ms
    beyond[~(is_counted & history.is_on_through(four_hourly.opened_ms, closed_ms))] = np.nan
    excess = _in_atr(beyond, atr)
    first_known = int(np.argmax(atr > 0)) if (atr > 0).any() else 0
    excess[first_known : first_known + 1] = _in_atr(np.fmax.accumulate(beyond), atr)[first_known : first_known + 1]
    return np.fmax.accumulate(excess)


@dataclass(frozen=True)
class _ClosesOutside:
    """Closes in a row, strictly outside on one side, of bars opened since the start.

    Attributes
    ----------
    known_ms
        When each bar that counts was known, ascending.
    run
        How many closes in a row are outside by it.
    settled_ms
        Close of the newest bar by it that is not on its side, or of itself where it is inside: nothing that was hidden
        up to then can belong to the run. The least number there is where there is no such bar.
    hole_closed_ms
        Closes of the bars that are not there at all, ascending.
    """

    known_ms: Times
    run: Times
    settled_ms: Times
    hole_closed_ms: Times


def _closes_outside(market: MarketView, history: RangeHistory, grid: Grid, timeframe: Timeframe) -> _ClosesOutside:
    """Closes in a row outside, as they became known.

    Synthetic bars are passed over; a bar that is not there at all (a quarantined candle) breaks the run, as nobody
    knows where it closed; one in which the grid was off ends it.
    """
    bars = market.timeline(timeframe)
    closed_ms = bars.closed_ms(timeframe)
    is_on = history.is_on_through(bars.opened_ms, closed_ms)
    is_real = ~bars.frame["is_synthetic"].to_numpy()
    is_counted = (is_real | ~is_on) & (bars.opened_ms >= grid.started_at_ms)
    close, at = bars.floats("close")[is_counted], closed_ms[is_counted]
    side = (close > history.uppers_at(at)).astype(np.int64) - (close < history.lowers_at(at))
    side[~is_on[is_counted]] = 0
    stretch = np.cumsum(np.diff(bars.opened_ms, prepend=0) != timeframe.ms)[is_counted]
    position = np.arange(len(side))
    is_new = (np.diff(side, prepend=0) != 0) | (np.diff(stretch, prepend=0) != 0)
    began = np.maximum.accumulate(np.where(is_new, position, 0))
    side_began = np.maximum.accumulate(np.where(np.diff(side, prepend=0) != 0, position, 0))
    last_other = np.where(side == 0, position, side_began - 1)
    hidden_ms = np.unique(holes_of(market) // timeframe.ms * timeframe.ms)
    return _ClosesOutside(
        known_ms=bars.known_ms[is_counted],
        run=(position - began + 1) * np.abs(side),
        settled_ms=np.append(at, np.iinfo(np.int64).min)[last_other],
        hole_closed_ms=hidden_ms[hidden_ms >= grid.started_at_ms] + timeframe.ms,
    )
