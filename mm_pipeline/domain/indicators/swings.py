"""Swings: Williams fractals, the confirmed-swing range, and how price has behaved against it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mm_pipeline.domain.indicators.windows import Floats, rows, trailing

CONFIRMATION_BARS = 2
"""A Williams fractal stands out over two bars on either side; it is known at the close of the second after it."""


@dataclass(frozen=True)
class Swings:
    """Confirmed swings of one side as known at each bar.

    Attributes
    ----------
    newest, before
        Price (quote) of the newest and the second newest swing whose centre is in the window; NaN when there is none.
    confirmed_bar
        Index of the bar at whose close the newest became known; -1 when there is none.
    extreme
        Highest (of highs) or lowest (of lows) swing whose centre is in the window (quote).
    """

    newest: Floats
    before: Floats
    confirmed_bar: NDArray[np.int64]
    extreme: Floats


def is_fractal_high(high: Floats) -> NDArray[np.bool_]:
    """Bars whose high is strictly above those of the two bars on either side."""
    k = CONFIRMATION_BARS
    window = rows(high, 2 * k + 1)
    centre = window[:, k]
    others = np.delete(window, k, axis=1)
    result = np.zeros(len(high), dtype=bool)
    result[k : len(high) - k] = (centre[:, None] > others).all(axis=1)
    return result


def swing_highs(high: Floats, n: int) -> Swings:
    """Confirmed swing highs whose centre is in the last ``n`` bars. Lookback n + 2 bars; NaN before."""
    length, k = len(high), CONFIRMATION_BARS
    bar = np.arange(length)
    fractal = is_fractal_high(high)
    centres = np.flatnonzero(fractal)
    known = np.searchsorted(centres, bar - k, side="right")
    ready = bar >= n + k - 1

    def nth_newest(nth: int) -> NDArray[np.int64]:
        there = (known >= nth) & ready
        centre = np.full(length, -1)
        centre[there] = centres[known[there] - nth]
        return np.where(centre >= bar - n + 1, centre, -1)

    newest, before = nth_newest(1), nth_newest(2)
    # The newest bars of the window are not confirmed yet, so the extreme runs over the n - k bars before them.
    highest = trailing(lambda window: window.max(axis=1), n - k, np.where(fractal, high, -np.inf))
    extreme = np.concatenate([np.full(k, np.nan), highest])[:length]
    return Swings(
        newest=_price_at(high, newest),
        before=_price_at(high, before),
        confirmed_bar=np.where(newest >= 0, newest + k, -1),
        extreme=np.where(np.isfinite(extreme) & ready, extreme, np.nan),
    )


def swing_lows(low: Floats, n: int) -> Swings:
    """Confirmed swing lows whose centre is in the last ``n`` bars: the highs of the mirrored series."""
    mirrored = swing_highs(-low, n)
    return Swings(
        newest=-mirrored.newest,
        before=-mirrored.before,
        confirmed_bar=mirrored.confirmed_bar,
        extreme=-mirrored.extreme,
    )


def swing_structure(highs: Swings, lows: Swings) -> NDArray[np.int64]:
    """+1 where the last two highs and the last two lows both rise (UP), -1 where both fall (DOWN), else 0 (MIXED)."""
    up = (highs.newest > highs.before) & (lows.newest > lows.before)
    down = (highs.newest < highs.before) & (lows.newest < lows.before)
    return up.astype(np.int64) - down.astype(np.int64)


@dataclass(frozen=True)
class RangeBehaviour:
    """How the last bars behaved against the range known now; NaN where there is no range.

    ``containment`` is a share (0..1), the others are counts of bars and of sign changes.
    """

    containment: Floats
    touches_upper: Floats
    touches_lower: Floats
    crossings: Floats


def range_behaviour(
    *, high: Floats, low: Floats, close: Floats, range_high: Floats, range_low: Floats, tolerance: Floats, n: int
) -> RangeBehaviour:
    """Measure containment, touches and midline crossings of the last ``n`` bars against the range known at each bar.

    ``tolerance`` (quote) is how near to a bound counts as touching it. There is a range only where both bounds are
    known and the upper is above the lower.
    """
    length = len(close)
    result = np.full((length, 4), np.nan)
    bars = np.flatnonzero((range_high > range_low) & ~np.isnan(tolerance) & (np.arange(length) >= n - 1))
    windows = [rows(values, n) for values in (high, low, close)]
    for block in np.array_split(bars, max(1, len(bars) // 2048)):
        high_n, low_n, close_n = (view[block - n + 1] for view in windows)
        top, bottom, near = range_high[block, None], range_low[block, None], tolerance[block, None]
        result[block, 0] = ((close_n >= bottom) & (close_n <= top)).mean(axis=1)
        result[block, 1] = (high_n >= top - near).sum(axis=1)
        result[block, 2] = (low_n <= bottom + near).sum(axis=1)
        result[block, 3] = _sign_changes(close_n - (top + bottom) / 2)
    return RangeBehaviour(*result.T)


def _sign_changes(values: Floats) -> NDArray[np.int64]:
    """Sign changes along each row, zeros skipped."""
    sign = np.sign(values).astype(np.int8)
    column = np.where(sign != 0, np.arange(sign.shape[1]), 0)
    filled = np.take_along_axis(sign, np.maximum.accumulate(column, axis=1), axis=1)
    return np.asarray((filled[:, 1:] * filled[:, :-1] < 0).sum(axis=1))


def _price_at(price: Floats, bar: NDArray[np.int64]) -> Floats:
    return np.where(bar >= 0, price[bar], np.nan)
