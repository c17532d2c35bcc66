"""Mean reversion: rolling AR(1) as an Ornstein-Uhlenbeck process, variance ratio."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from mm_pipeline.domain.arrays import Floats
from mm_pipeline.domain.indicators.windows import (
    by_rows,
    doubled,
    from_first_window,
    is_flat,
    lagged,
    moving,
    moving_sum,
    rows,
)

RHO_FLOOR = 0.01
"""Lowest autoregressive coefficient taken a logarithm of: below it the half-life is shorter than a bar anyway."""


@dataclass(frozen=True)
class OrnsteinUhlenbeck:
    """Rolling AR(1) on log close; each array has one value per bar, NaN without lookback and on flat windows.

    Attributes
    ----------
    rho
        Bias-corrected autoregressive coefficient, ``rho + (1 + 3 rho) / n`` (Marriott & Pope 1954).
    kappa
        Speed of reversion ``max(0, -ln rho)``, 1/bar; 0 means that it does not revert.
    kappa_upper
        Upper end of its one-sided interval, 1/bar.
    half_life_bars
        ``ln 2 / kappa``, +inf where kappa is 0.
    t
        Dickey-Fuller t statistic of the uncorrected slope.
    """

    rho: Floats
    kappa: Floats
    kappa_upper: Floats
    half_life_bars: Floats
    t: Floats


def _log_ratio(price: Floats, reference: Floats) -> Floats:
    """``ln(price / reference)`` as exact as the prices: a difference of logarithms loses what a quiet market does."""
    return np.log1p((price - reference) / reference)


def _autoregression(close: Floats, pairs: int) -> tuple[Floats, Floats]:
    """Least squares of the change on the level of log close in each window of ``pairs`` pairs: slope and its error.

    One value for each pair, NaN before the first window and where the levels are flat. The cross product follows from
    ``2 x dx = (x + dx)^2 - x^2 - dx^2`` about the mean level, of which the first two telescope.
    """
    level, after = close[:-1], close[1:]
    mean, sum_xx = _mean_and_squares(level, pairs)
    first = from_first_window(rows(level, pairs)[:, 0], len(level))
    sum_y, sum_yy = _log_ratio(after, first), moving_sum(np.square(_log_ratio(after, level)), pairs)
    sum_xy = (np.square(sum_y - mean) - np.square(mean) - sum_yy) / 2
    sum_xx = np.where(is_flat(level, pairs), np.nan, sum_xx)
    slope = sum_xy / sum_xx
    residual = np.maximum(0.0, sum_yy - sum_y * sum_y / pairs - slope * sum_xy)
    return slope, np.sqrt(residual / (pairs - 2) / sum_xx)


def _mean_and_squares(price: Floats, n: int) -> tuple[Floats, Floats]:
    """Mean of log price over the first of its window, and sum of squares about that mean, for each window of ``n``.

    Two stretches are joined as Chan, Golub and LeVeque (1979) do: every term is positive, so no digit is lost.
    """
    windows = max(0, len(price) - n + 1)
    alone = np.stack([price, np.zeros(len(price)), np.zeros(len(price))], axis=1)
    whole, count = np.empty((windows, 3)), 0
    for start, size, part in doubled(alone, n, lambda older, newer, size: _joined(older, newer, size, size)):
        found = part[start : start + windows]
        whole, count = (found, size) if not count else (_joined(found, whole, size, count), count + size)
    values = from_first_window(whole[:, 1:], len(price))
    return values[:, 0], values[:, 1]


def _joined(older: Floats, newer: Floats, older_count: int, newer_count: int) -> Floats:
    """First price, mean over it and squares about that of two stretches of so many bars."""
    count = older_count + newer_count
    apart = _log_ratio(newer[:, 0], older[:, 0]) + newer[:, 1] - older[:, 1]
    mean = older[:, 1] + apart * (newer_count / count)
    squares = older[:, 2] + newer[:, 2] + np.square(apart) * (older_count * newer_count / count)
    return np.stack([older[:, 0], mean, squares], axis=1)


def ornstein_uhlenbeck(close: Floats, n_closes: int, upper_z: float) -> OrnsteinUhlenbeck:
    """Fit dx = a + b x_{t-1} over the last ``n_closes`` log closes. Lookback ``n_closes`` bars.

    ``upper_z`` is the normal quantile of the one-sided interval of kappa (1.645: 95 %).
    """
    pairs = n_closes - 1
    slope, standard_error = (from_first_window(fit, len(close)) for fit in _autoregression(close, pairs))
    rho = 1.0 + slope
    rho = np.maximum(RHO_FLOOR, rho + (1.0 + 3.0 * rho) / pairs)
    kappa = np.maximum(0.0, -np.log(rho))
    with np.errstate(divide="ignore", invalid="ignore"):
        half_life = np.where(kappa == 0, np.inf, np.log(2.0) / kappa)
        t = slope / standard_error
    upper = np.maximum(0.0, -np.log(np.maximum(RHO_FLOOR, rho - upper_z * standard_error)))
    return OrnsteinUhlenbeck(rho=rho, kappa=kappa, kappa_upper=upper, half_life_bars=half_life, t=t)


def median_before(values: Floats, n: int, lookback: int) -> Floats:
    """Median of the ``n`` values before the present one, NaN (flat windows) left out; NaN where it is 0.

    ``lookback`` is the number of bars that must exist, the present one included.
    """
    first = int(np.argmax(~np.isnan(values))) if len(values) else 0  # without nulls in front polars is twice as fast
    median = pl.Series(values[first:], nan_to_null=True).rolling_median(n, min_samples=1).to_numpy()
    before = lagged(from_first_window(median, len(values)), 1)
    before[: lookback - 1] = np.nan
    return np.where(before == 0, np.nan, before)


def variance_ratio(log_return: Floats, q: int, n: int) -> tuple[Floats, Floats]:
    """Lo & MacKinlay's (1988) variance ratio and its heteroscedasticity-robust z over the last ``n`` log returns.

    Overlapping, debiased (their equations 12b and 13, 18 to 20). NaN where the returns do not vary.
    Lookback n + 1 bars.
    """
    unbiased = (n - q + 1) * (1.0 - q / n)
    weights = [(2.0 * (1.0 - lag / q)) ** 2 for lag in range(1, q)]

    def ratio(window: Floats, long_window: Floats) -> Floats:
        mean = window.mean(axis=1, keepdims=True)
        squared = np.square(window - mean)
        total = squared.sum(axis=1)
        long = long_window - q * mean
        value = np.vecdot(long, long) / (q * unbiased) / (total / (n - 1))
        theta = np.zeros(len(window))
        for lag, weight in enumerate(weights, start=1):
            theta += weight * np.vecdot(squared[:, lag:], squared[:, :-lag])
        z = np.sqrt(n) * (value - 1.0) / np.sqrt(n * theta / np.square(total))
        return np.column_stack([value, z])

    long_return = moving(np.add, log_return, q)[q - 1 :]
    with np.errstate(divide="ignore", invalid="ignore"):
        result = from_first_window(by_rows(ratio, rows(log_return, n), rows(long_return, n - q + 1)), len(log_return))
    result[is_flat(log_return, n)] = np.nan
    return result[:, 0], result[:, 1]
