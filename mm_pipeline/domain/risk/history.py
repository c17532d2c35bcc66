"""A market's own past as paths: windows of 24 h in units of the volatility forecast at their start (SPEC 7).

What a grid makes of a path does not belong here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import polars as pl

from mm_pipeline.domain.arrays import Bools, Floats, Integers, Times
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.market_view import Timeline
from mm_pipeline.domain.risk.policy import RiskPolicy
from mm_pipeline.domain.risk.volatility import realised_variances, volatility_forecast

HORIZONS: Final = ("15m", "1h", "4h", "12h", "24h")
"""How long an exit may be delayed: the horizons of SPEC 7."""
HORIZON_BARS: Final = (1, 4, 16, 48, 96)
"""The same in 15m bars."""
WINDOW_BARS: Final = HORIZON_BARS[-1]
_STEP: Final = Timeframe.M15.ms


@dataclass(frozen=True, eq=False)
class PastWindows:
    """What each of n evaluations knows of the market's past, and where its paths start.

    Attributes
    ----------
    row
        The newest known bar; -1 where there is none.
    first, end
        Windows that are known: ``first <= window < end``, as places in ``RiskHistory.starts``.
    price
        Close of the newest known bar, quote; NaN where there is none.
    volatility
        Forecast at that close: expected root mean square of 15m log returns; NaN where bars are missing.
    """

    row: Integers
    first: Integers
    end: Integers
    price: Floats
    volatility: Floats

    def is_enough(self, policy: RiskPolicy) -> Bools:
        """Whether there are windows enough to say anything."""
        return (self.row >= 0) & (self.end - self.first >= policy.min_windows)


@dataclass(frozen=True, eq=False)
class RiskHistory:
    """Bars of one market, the volatility forecast at each close, and the windows that a path may follow.

    A window is the 24 h after a close, with everything that happened in them: flat bars, jumps, and volatility that
    came and went. Windows begin every ``draw_every_bars`` bars of the calendar, at the same times in every market and
    whatever the grid, so that nothing is drawn at random and grids share their paths.

    Attributes
    ----------
    bars
        All 15m bars.
    variances
        :func:`~mm_pipeline.domain.risk.volatility.realised_variances`.
    forecast
        Shape ``(bars,)``: as in :class:`PastWindows`, at each close.
    starts
        Shape ``(windows,)``: rows at whose close a window begins.
    """

    bars: Timeline
    variances: Floats
    forecast: Floats
    starts: Integers

    @classmethod
    def of(cls, bars: pl.DataFrame, policy: RiskPolicy) -> RiskHistory:
        """Find the windows of a 15m Bars frame (sorted, holes allowed)."""
        timeline = Timeline(bars)
        closed_ms = timeline.closed_ms(Timeframe.M15)
        variances = realised_variances(timeline.opened_ms, timeline.floats("close"))
        forecast = volatility_forecast(variances, closed_ms, policy.volatility)
        count = max(len(closed_ms) - WINDOW_BARS, 0)
        is_whole = closed_ms[WINDOW_BARS:] - closed_ms[:count] == WINDOW_BARS * _STEP
        is_drawn = closed_ms[:count] // _STEP % policy.draw_every_bars == 0
        return cls(timeline, variances, forecast, np.flatnonzero(is_whole & is_drawn & (forecast[:count] > 0)))

    @cached_property
    def prices(self) -> Floats:
        """Shape ``(bars, 4)``: logarithms of open, high, low and close."""
        return np.log(np.column_stack([self.bars.floats(name) for name in ("open", "high", "low", "close")]))

    @cached_property
    def is_low_first(self) -> Bools:
        """Shape ``(bars,)``: whether the bar's path goes to its low first (see ``position.trading.trade``)."""
        opened, high, low = (self.bars.floats(name) for name in ("open", "high", "low"))
        return opened - low <= high - opened

    @cached_property
    def units(self) -> Floats:
        """Shape ``(windows,)``: the forecast at the start of each window."""
        return self.forecast[self.starts]

    @cached_property
    def stretches(self) -> Floats:
        """Shape ``(windows, horizons, 2)``: log of highest high and lowest low between two horizons."""
        high, low = self.prices[:, 1], self.prices[:, 2]
        found = np.empty((len(self.starts), len(HORIZON_BARS), 2))
        for place, (begin, end) in enumerate(zip((0, *HORIZON_BARS[:-1]), HORIZON_BARS, strict=True)):
            rows = self.starts[:, None] + np.arange(begin + 1, end + 1)
            found[:, place, 0], found[:, place, 1] = high[rows].max(axis=1), low[rows].min(axis=1)
        return found

    @cached_property
    def depths(self) -> Floats:
        """Shape ``(windows, horizons)``: how far below its start the low went by each horizon, in its own units."""
        lowest = np.minimum.accumulate(self.stretches[:, :, 1], axis=1)
        depths: Floats = (self.prices[self.starts, 3][:, None] - lowest) / self.units[:, None]
        return depths

    def known_at(self, evaluated_ms: Times, policy: RiskPolicy) -> PastWindows:
        """What evaluations (epoch ms) know: windows that begin in the last ``history_days`` and are over by then."""
        known = self.bars.at(evaluated_ms)
        close_ms = np.append(self.bars.closed_ms(Timeframe.M15), 0)[known.index]
        begun_ms = self.bars.closed_ms(Timeframe.M15)[self.starts]
        return PastWindows(
            row=known.index,
            first=np.searchsorted(begun_ms, close_ms - policy.history_ms, side="left"),
            end=np.searchsorted(self.starts, known.index - WINDOW_BARS, side="right"),
            price=known.floats("close"),
            volatility=known.pick(self.forecast),
        )
