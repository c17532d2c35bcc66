"""A market's own past as material for paths: whole 15m bars, each divided by the volatility known before it (SPEC 7).

What a grid makes of a path does not belong here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mm_pipeline.domain.arrays import Bools, Floats, Integers, Times
from mm_pipeline.domain.indicators.windows import lagged, moving
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.market_view import Timeline
from mm_pipeline.domain.risk.policy import RiskPolicy

Seeds = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class DrawWindow:
    """What each of n evaluations may draw from, and where its paths start.

    Attributes
    ----------
    row
        The newest known bar; -1 where there is none.
    first, end
        Bars of the pool that may be drawn: ``first <= bar < end``.
    price
        Close of the newest known bar, quote; NaN where there is none.
    volatility
        Root mean square of the trailing 15m log returns, the newest one included; NaN where bars are missing.
    """

    row: Integers
    first: Integers
    end: Integers
    price: Floats
    volatility: Floats


@dataclass(frozen=True, eq=False)
class StandardisedBars:
    """Bars of one market as multiples of the volatility before them.

    A bar is kept whole, so that its extremes stay in it and in their order. Not kept are flat bars in which nothing was
    traded, and the bar after them, whose return took more than 15 minutes: the bars about a gap are drawn as if they
    were neighbours. The volatility counts all of them, as together they moved as far as the price did.

    Attributes
    ----------
    bars
        All 15m bars.
    volatility
        Shape ``(bars,)``: as in :class:`DrawWindow`, at each close.
    pool
        Shape ``(kept,)``: rows of the kept bars.
    moves
        Shape ``(kept, 4)``: log of open, high, low and close over the close before, divided by the volatility at it.
    is_low_first
        Shape ``(kept,)``: whether the bar's path went to its low first (see
        :func:`~mm_pipeline.domain.position.trading.trade`).
    """

    bars: Timeline
    volatility: Floats
    pool: Integers
    moves: Floats
    is_low_first: Bools

    @classmethod
    def of(cls, bars: pl.DataFrame, policy: RiskPolicy) -> StandardisedBars:
        """Standardise a 15m Bars frame (sorted, holes allowed)."""
        timeline = Timeline(bars)
        close = timeline.floats("close")
        before = lagged(close, 1)
        volatility = _volatility(timeline, np.log(close / before), policy.volatility_bars)
        unit = lagged(volatility, 1)
        is_real = ~bars["is_synthetic"].to_numpy()
        # A volatility is known only where no bar is missing before it, so the bar before is the one 15 minutes earlier.
        is_next = np.diff(timeline.opened_ms, prepend=0) == Timeframe.M15.ms
        was_real = np.concatenate([[False], is_real[:-1]])[: len(is_real)]
        pool = np.flatnonzero(is_real & was_real & is_next & (unit > 0))
        opened, high, low = (timeline.floats(name)[pool] for name in ("open", "high", "low"))
        ratios = np.column_stack([opened, high, low, close[pool]]) / before[pool, None]
        moves = np.ascontiguousarray(np.log(ratios) / unit[pool, None])
        return cls(timeline, volatility, pool, moves, opened - low <= high - opened)

    def windows(self, evaluated_ms: Times, policy: RiskPolicy) -> DrawWindow:
        """What evaluations (epoch ms) may draw from: the last ``history_days`` of bars that are known by then."""
        known = self.bars.at(evaluated_ms)
        close_ms = np.append(self.bars.opened_ms, 0)[known.index] + Timeframe.M15.ms
        oldest_ms = close_ms - policy.history_ms
        return DrawWindow(
            row=known.index,
            first=np.searchsorted(self.bars.opened_ms[self.pool], oldest_ms, side="left"),
            end=np.searchsorted(self.pool, known.index, side="right"),
            price=known.floats("close"),
            volatility=known.pick(self.volatility),
        )


def path_seeds(grid_id: str, evaluated_ms: Times) -> Seeds:
    """Seed of each evaluation's paths: a hash of grid and time that is the same in every process and version."""
    digests = [hashlib.blake2b(f"{grid_id}@{at}".encode(), digest_size=8).digest() for at in evaluated_ms.tolist()]
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def _volatility(bars: Timeline, log_return: Floats, count: int) -> Floats:
    """Root mean square of the last ``count`` returns; NaN where a bar among them, or the one before them, is missing.

    Summed in the same order wherever they stand, so that a live evaluation and a replay find the same bits.
    """
    volatility = np.sqrt(moving(np.add, np.square(log_return), count) / count)
    span_ms = bars.opened_ms - np.concatenate([np.zeros(count, dtype=np.int64), bars.opened_ms])[: len(log_return)]
    return np.where(span_ms == count * Timeframe.M15.ms, volatility, np.nan)
