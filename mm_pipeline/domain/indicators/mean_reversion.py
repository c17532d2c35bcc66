"""Mean reversion: rolling AR(1) as an Ornstein-Uhlenbeck process, variance ratio."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from mm_pipeline.domain.indicators.windows import Floats, is_flat, trailing

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


def _slopes(level: Floats, change: Floats) -> Floats:
    """Least squares of change on level in each window: columns b, se(b); NaN where the level is flat."""
    n = level.shape[1]
    centred = level - level.mean(axis=1, keepdims=True)
    change = change - change.mean(axis=1, keepdims=True)
    flat = is_flat(level)
    sum_xx = np.where(flat, np.nan, np.square(centred).sum(axis=1))
    slope = (centred * change).sum(axis=1) / sum_xx
    residual = change - slope[:, None] * centred
    standard_error = np.sqrt(np.square(residual).sum(axis=1) / (n - 2) / sum_xx)
    return np.column_stack([slope, standard_error])


def ornstein_uhlenbeck(close: Floats, n_closes: int, upper_z: float) -> OrnsteinUhlenbeck:
    """Fit dx = a + b x_{t-1} over the last ``n_closes`` log closes. Lookback ``n_closes`` bars.

    ``upper_z`` is the normal quantile of the one-sided interval of kappa (1.645: 95 %).
    """
    log_close = np.log(close)
    pairs = n_closes - 1
    fitted = trailing(_slopes, pairs, log_close[:-1], np.diff(log_close))
    slope, standard_error = np.concatenate([np.full((1, 2), np.nan), fitted]).T[:, : len(close)]
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
    median = pl.Series(values).fill_nan(None).to_frame("v").select(pl.col("v").rolling_median(n, min_samples=1))
    result = np.concatenate([[np.nan], median.to_series().to_numpy()])[: len(values)]
    result[: lookback - 1] = np.nan
    return np.where(result == 0, np.nan, result)


def variance_ratio(log_return: Floats, q: int, n: int) -> tuple[Floats, Floats]:
    """Lo & MacKinlay's (1988) variance ratio and its heteroscedasticity-robust z over the last ``n`` log returns.

    Overlapping, debiased (their equations 12b and 13, 18 to 20). NaN where the returns do not vary.
    Lookback n + 1 bars.
    """
    unbiased = (n - q + 1) * (1.0 - q / n)

    def ratio(window: Floats) -> Floats:
        mean = window.mean(axis=1, keepdims=True)
        squared = np.square(window - mean)
        total = np.where(is_flat(window), np.nan, squared.sum(axis=1))
        sums = np.cumsum(np.concatenate([np.zeros((len(window), 1)), window - mean], axis=1), axis=1)
        long_variance = np.square(sums[:, q:] - sums[:, :-q]).sum(axis=1) / (q * unbiased)
        value = long_variance / (total / (n - 1))
        theta = np.zeros(len(window))
        for lag in range(1, q):
            delta = n * (squared[:, lag:] * squared[:, :-lag]).sum(axis=1) / np.square(total)
            theta += (2.0 * (1.0 - lag / q)) ** 2 * delta
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.sqrt(n) * (value - 1.0) / np.sqrt(theta)
        return np.column_stack([value, z])

    result = trailing(ratio, n, log_return)
    return result[:, 0], result[:, 1]
