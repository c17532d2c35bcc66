"""Volatility: true range and its means, Bollinger bands, realised volatility."""

from __future__ import annotations

import numpy as np
import polars as pl

from mm_pipeline.domain.indicators.windows import Floats, finite_mean, is_flat, trailing, wilder_decay


def true_range(high: Floats, low: Floats, close: Floats) -> Floats:
    """Wilder's true range (quote), NaN on the first bar, which has no previous close."""
    previous = np.concatenate([[np.nan], close[:-1]])
    return np.asarray(np.maximum(high, previous) - np.minimum(low, previous))


def average_true_range(true_range: Floats, n: int) -> Floats:
    """Wilder's (1978) ATR in its finite form (quote). Lookback 126 bars for n = 14."""
    return finite_mean(true_range, wilder_decay(n))


def simple_mean(values: Floats, n: int) -> Floats:
    """Mean of the last ``n`` values. Lookback n."""
    return trailing(lambda window: window.mean(axis=1), n, values)


def bollinger(close: Floats, n: int) -> tuple[Floats, Floats]:
    """Mean and population standard deviation (quote) of the last ``n`` closes; sigma is exactly 0 on a flat window."""

    def moments(window: Floats) -> Floats:
        mean = window.mean(axis=1)
        sigma = np.sqrt(np.square(window - mean[:, None]).mean(axis=1))
        return np.column_stack([mean, np.where(is_flat(window), 0.0, sigma)])

    result = trailing(moments, n, close)
    return result[:, 0], result[:, 1]


def rank_strictly_below(values: Floats, n: int) -> Floats:
    """Share (0..1) of the last ``n`` values, the present one included, that are strictly below the present one."""
    rank = pl.Series(values).fill_nan(None).to_frame("v").select(pl.col("v").rolling_rank(n, method="min"))
    return np.asarray((rank.to_series().cast(pl.Float64).to_numpy() - 1.0) / n)


def realised_volatility(log_return: Floats, n: int, bars_per_year: float) -> Floats:
    """Annualised root mean square of the last ``n`` log returns (1/yr^0.5). Lookback n + 1 bars."""
    return np.asarray(np.sqrt(simple_mean(np.square(log_return), n) * bars_per_year))
