"""Trend: efficiency ratio, exponential means, directional movement."""

from __future__ import annotations

import numpy as np

from mm_pipeline.domain.arrays import Floats
from mm_pipeline.domain.indicators.windows import (
    ema_decay,
    finite_mean,
    from_first_window,
    lagged,
    moving,
    wilder_decay,
)


def efficiency_ratio(close: Floats, n: int) -> Floats:
    """Kaufman's (1995) efficiency ratio: net move over path length of the last ``n`` moves, 0..1.

    0 where nothing moved. A random walk has mean about 1/sqrt(n). Lookback n + 1 bars.
    """
    path = moving(np.add, np.abs(close - lagged(close, 1)), n)
    net = np.abs(close - lagged(close, n))
    return np.minimum(net / np.where(path == 0, 1.0, path), 1.0)


def ema(close: Floats, n: int) -> Floats:
    """Finite exponential mean of span ``n`` (quote). Lookback 93 bars for n = 20, 231 for n = 50."""
    return finite_mean(close, ema_decay(n))


def directional_movement(high: Floats, low: Floats) -> tuple[Floats, Floats]:
    """Wilder's +DM and -DM (quote), NaN on the first bar."""
    up, down = high - lagged(high, 1), lagged(low, 1) - low
    plus = np.where((up > down) & (up > 0), up, 0.0)
    minus = np.where((down > up) & (down > 0), down, 0.0)
    plus[:1] = minus[:1] = np.nan
    return plus, minus


def adx(high: Floats, low: Floats, true_range: Floats, n: int) -> Floats:
    """Wilder's (1978) average directional index, 0..100, from finite smoothed +DM, -DM, TR and finite smoothed DX.

    DX is 0 where nothing moved. Lookback 250 bars for n = 14.
    """
    decay = wilder_decay(n)
    plus, minus = (finite_mean(movement, decay) for movement in directional_movement(high, low))
    smoothed_range = finite_mean(true_range, decay)
    total = plus + minus
    moved = (smoothed_range > 0) & (total > 0)
    index = np.divide(100 * np.abs(plus - minus), total, out=np.zeros_like(total), where=moved)
    return finite_mean(np.where(np.isnan(total), np.nan, index), decay)


def linear_drop(values: Floats, n: int) -> tuple[Floats, Floats]:
    """How far the last ``n`` values fell: by their least-squares line, and from the first to the last.

    Both in the unit of the values, positive when falling. Lookback n.
    """
    position = np.arange(n) - (n - 1) / 2
    weights = position * (n - 1) / np.square(position).sum()

    fitted = np.correlate(values, -weights, "valid") if len(values) >= n else np.empty(0)
    return from_first_window(fitted, len(values)), lagged(values, n - 1) - values
