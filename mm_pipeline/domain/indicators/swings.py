"""Swings: Williams fractals, the confirmed-swing range, and how price has behaved against it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mm_pipeline.domain.arrays import Floats
from mm_pipeline.domain.indicators.windows import by_rows, count_true, from_first_window, lagged, moving, rows

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
    extreme = lagged(moving(np.maximum, np.where(fractal, high, -np.inf), n - k), k)
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

    def behaviour(*windows_and_range: Floats) -> Floats:
        high_n, low_n, close_n, top, bottom, near = windows_and_range
        counts = [
            count_true((close_n >= bottom) & (close_n <= top)),
            count_true(high_n >= top - near),
            count_true(low_n <= bottom + near),
            _sign_changes(close_n - (top + bottom) / 2),
        ]
        return np.column_stack(counts)

    windows = [rows(values, n) for values in (high, low, close)]
    known = [values[n - 1 :, None] for values in (range_high, range_low, tolerance)]
    result = from_first_window(by_rows(behaviour, *windows, *known), len(close))
    result[~(range_high > range_low) | np.isnan(tolerance)] = np.nan
    return RangeBehaviour(result[:, 0] / n, *result.T[1:])


def _sign_changes(values: Floats) -> Floats:
    """Sign changes along each row, zeros skipped: a zero takes the sign before it."""
    sign = (values > 0).astype(np.int8) - (values < 0)
    has_zero = (sign == 0).any(axis=1)
    if has_zero.any():
        sign[has_zero] = _carried_on(sign[has_zero])
    return count_true(sign[:, 1:] * sign[:, :-1] < 0)


def _carried_on(sign: NDArray[np.int8]) -> NDArray[np.int8]:
    column = np.where(sign != 0, np.arange(sign.shape[1]), 0)
    return np.take_along_axis(sign, np.maximum.accumulate(column, axis=1), axis=1)


def _price_at(price: Floats, bar: NDArray[np.int64]) -> Floats:
    return np.where(bar >= 0, price[bar], np.nan)
