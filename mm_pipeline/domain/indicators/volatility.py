"""Volatility: true range and its means, Bollinger bands, realised volatility."""

from __future__ import annotations

import numpy as np

from mm_pipeline.domain.arrays import Floats
from mm_pipeline.domain.indicators.windows import (
    by_rows,
    count_true,
    finite_mean,
    from_first_window,
    is_flat,
    lagged,
    moving,
    moving_sum,
    rows,
    wilder_decay,
)

ROUNDING = 1e-12
"""Relative difference that a sum of the same values in another order can have."""


def true_range(high: Floats, low: Floats, close: Floats) -> Floats:
    """Wilder's true range (quote), NaN on the first bar, which has no previous close."""
    previous = lagged(close, 1)
    return np.asarray(np.maximum(high, previous) - np.minimum(low, previous))


def average_true_range(true_range: Floats, n: int) -> Floats:
    """Wilder's (1978) ATR in its finite form (quote). Lookback 126 bars for n = 14."""
    return finite_mean(true_range, wilder_decay(n))


def simple_mean(values: Floats, n: int) -> Floats:
    """Mean of the last ``n`` values, many. Lookback n."""
    return moving_sum(values, n) / n


def bollinger(close: Floats, n: int) -> tuple[Floats, Floats]:
    """Mean and population standard deviation (quote) of the last ``n`` closes; sigma is exactly 0 on a flat window."""
    mean = moving(np.add, close, n) / n
    centre = mean[n - 1 :]
    squares = np.zeros(len(centre))
    for first in range(n):
        squares += np.square(close[first : first + len(centre)] - centre)
    sigma = from_first_window(np.sqrt(squares / n), len(close))
    return mean, np.where(is_flat(close, n), 0.0, sigma)


def rank_strictly_below(values: Floats, n: int) -> Floats:
    """Share (0..1) of the last ``n`` values (none negative), the present one included, strictly below the present one.

    What differs by rounding alone is equal: the same closes in another order have the same bandwidth. NaN where one of
    the values is.
    """
    below = by_rows(lambda window: count_true(window < window[:, -1:] * (1.0 - ROUNDING)), rows(values, n))
    return np.where(np.isnan(moving_sum(values, n)), np.nan, from_first_window(below / n, len(values)))


def realised_volatility(log_return: Floats, n: int, bars_per_year: float) -> Floats:
    """Annualised root mean square of the last ``n`` log returns (1/yr^0.5). Lookback n + 1 bars."""
    return np.asarray(np.sqrt(simple_mean(np.square(log_return), n) * bars_per_year))
