"""Regime metrics of a market per closed bar of one timeframe: the table of SPEC section 3.

Each metric declares its lookback in ``LOOKBACK_BARS``. Verdicts are made of them elsewhere.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mm_pipeline.domain.arrays import Floats
from mm_pipeline.domain.columns import epoch_ms, float_column, floats_of, name_column, times_of
from mm_pipeline.domain.indicators.mean_reversion import median_before, ornstein_uhlenbeck, variance_ratio
from mm_pipeline.domain.indicators.swings import Swings, range_behaviour, swing_highs, swing_lows, swing_structure
from mm_pipeline.domain.indicators.trend import adx, efficiency_ratio, ema
from mm_pipeline.domain.indicators.volatility import (
    average_true_range,
    bollinger,
    rank_strictly_below,
    realised_volatility,
    simple_mean,
    true_range,
)
from mm_pipeline.domain.indicators.windows import lagged
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.policy import Policy, threshold

SWING_WINDOW_BARS: Final = 72
RANK_DAYS: Final = 30
OU_CLOSES: Final = 240
OU_BASELINE_BARS: Final = 720

LOOKBACK_BARS: Final = {
    "efficiency_ratio_10": 11,
    "efficiency_ratio_24": 25,
    "bollinger_middle": 20,
    "bollinger_upper": 20,
    "bollinger_lower": 20,
    "bollinger_bandwidth": 20,
    "zscore_20": 20,
    "atr_14": 126,
    "atr_baseline_200": 201,
    "volatility_expansion": 201,
    "realised_volatility_24": 25,
    "realised_volatility_168": 169,
    "ema_20": 93,
    "ema_50": 231,
    "ema_gap_atr": 231,
    "adx_14": 250,
    "variance_ratio_10": 241,
    "swing_high": 74,
    "swing_low": 74,
    "swing_structure": 74,
    "range_high": 74,
    "range_low": 74,
    "ou_kappa": 240,
    "ou_kappa_upper": 240,
    "ou_half_life_bars": 240,
    "ou_kappa_baseline": 960,
    "containment_72": 126,
    "touches_upper_72": 126,
    "touches_lower_72": 126,
    "midline_crossings_72": 126,
}
"""Bars of its own timeframe that each metric is a function of, the present one included.

``bandwidth_rank`` depends on the timeframe: 30 days of bars + 19.
"""

SWING_STRUCTURES: Final = ("DOWN", "MIXED", "UP")
OU_STATUSES: Final = ("INCONCLUSIVE", "MEAN_REVERTING", "NOT_MEAN_REVERTING")


class MetricsPolicy(Policy):
    """Constants inside the metrics that are judgements, not part of their names."""

    touch_atr: float = threshold(
        unit="ATR", source="SPEC 3: nearness that counts as touching a bound of the range", ge=0, le=2
    )
    dickey_fuller_critical: float = threshold(
        unit="t statistic", source="Fuller 1976, table 8.5.2: 5 % point with a constant, n = 250", ge=-10, le=0
    )
    kappa_upper_z: float = threshold(unit="sigma", source="one-sided 95 % normal quantile", ge=0, le=4)


def market_metrics(bars: pl.DataFrame, timeframe: Timeframe, policy: MetricsPolicy) -> pl.DataFrame:
    """Compute every metric of SPEC 3 for each bar.

    Parameters
    ----------
    bars
        Closed, complete bars of one market, sorted; lookbacks count rows, so a quarantined bar lengthens none.
    timeframe
        Length of the bars; OU columns are null except at 1h.
    policy
        Judgement constants.

    Returns
    -------
    One row per bar: ``open_time, close_time, known_at, high, low, close, is_synthetic``, then SPEC 3's names with their
    units; null where the lookback is not there or the metric has no value (flat window, no confirmed swing).
    """
    high, low, close = (floats_of(bars[name]) for name in ("high", "low", "close"))
    columns = _trend_and_volatility(high, low, close, timeframe) | _mean_reversion_columns(close, timeframe, policy)
    highs, lows = swing_highs(high, SWING_WINDOW_BARS), swing_lows(low, SWING_WINDOW_BARS)
    columns |= _range_columns((high, low, close), highs, lows, policy.touch_atr * columns["atr_14"])
    closed_ms = epoch_ms(bars["close_time"])
    return pl.DataFrame(
        [
            *(bars[name] for name in ("open_time", "close_time", "known_at", "high", "low", "close", "is_synthetic")),
            *(float_column(name, values) for name, values in columns.items()),
            _swing_structure(highs, lows),
            _ou_status(columns["ou_rho"], columns["ou_t"], policy, timeframe),
            _confirmed_at("swing_high_confirmed_at", highs, closed_ms),
            _confirmed_at("swing_low_confirmed_at", lows, closed_ms),
        ]
    )


def _trend_and_volatility(high: Floats, low: Floats, close: Floats, timeframe: Timeframe) -> dict[str, Floats]:
    bars_per_year = 365.0 * timeframe.bars_per_day
    middle, sigma = bollinger(close, 20)
    bandwidth = 4.0 * sigma / middle
    ranges = true_range(high, low, close)
    atr, baseline = average_true_range(ranges, 14), simple_mean(ranges, 200)
    fast, slow = ema(close, 20), ema(close, 50)
    log_return = np.log(close) - lagged(np.log(close), 1)
    ratio, ratio_z = variance_ratio(log_return, 10, 240)
    return {
        "efficiency_ratio_10": efficiency_ratio(close, 10),
        "efficiency_ratio_24": efficiency_ratio(close, 24),
        "bollinger_middle": middle,
        "bollinger_upper": middle + 2.0 * sigma,
        "bollinger_lower": middle - 2.0 * sigma,
        "bollinger_bandwidth": bandwidth,
        "bandwidth_rank": rank_strictly_below(bandwidth, RANK_DAYS * timeframe.bars_per_day),
        "zscore_20": _ratio(close - middle, sigma, at_zero=0.0),
        "atr_14": atr,
        "atr_baseline_200": baseline,
        "volatility_expansion": _ratio(atr, baseline, at_zero=np.nan),
        "realised_volatility_24": realised_volatility(log_return, 24, bars_per_year),
        "realised_volatility_168": realised_volatility(log_return, 168, bars_per_year),
        "ema_20": fast,
        "ema_50": slow,
        "ema_gap_atr": _ratio(fast - slow, atr, at_zero=0.0),
        "adx_14": adx(high, low, ranges, 14),
        "variance_ratio_10": ratio,
        "variance_ratio_10_z": ratio_z,
    }


def _mean_reversion_columns(close: Floats, timeframe: Timeframe, policy: MetricsPolicy) -> dict[str, Floats]:
    if timeframe is not Timeframe.H1:
        none = np.full(len(close), np.nan)
        return dict.fromkeys(
            ("ou_rho", "ou_kappa", "ou_kappa_upper", "ou_half_life_bars", "ou_t", "ou_kappa_baseline"), none
        )
    process = ornstein_uhlenbeck(close, OU_CLOSES, policy.kappa_upper_z)
    return {
        "ou_rho": process.rho,
        "ou_kappa": process.kappa,
        "ou_kappa_upper": process.kappa_upper,
        "ou_half_life_bars": process.half_life_bars,
        "ou_t": process.t,
        "ou_kappa_baseline": median_before(process.kappa, OU_BASELINE_BARS, OU_CLOSES + OU_BASELINE_BARS),
    }


def _ou_status(rho: Floats, t: Floats, policy: MetricsPolicy, timeframe: Timeframe) -> pl.Series:
    has_value = (np.arange(len(rho)) >= OU_CLOSES - 1) & (timeframe is Timeframe.H1)
    codes = np.select([~has_value, rho >= 1.0, t < policy.dickey_fuller_critical], [-1, 2, 1], 0)
    return name_column("ou_status", codes, OU_STATUSES)


def _range_columns(
    prices: tuple[Floats, Floats, Floats], highs: Swings, lows: Swings, tolerance: Floats
) -> dict[str, Floats]:
    high, low, close = prices
    behaviour = range_behaviour(
        high=high,
        low=low,
        close=close,
        range_high=highs.extreme,
        range_low=lows.extreme,
        tolerance=tolerance,
        n=SWING_WINDOW_BARS,
    )
    return {
        "swing_high": highs.newest,
        "swing_low": lows.newest,
        "range_high": highs.extreme,
        "range_low": lows.extreme,
        "containment_72": behaviour.containment,
        "touches_upper_72": behaviour.touches_upper,
        "touches_lower_72": behaviour.touches_lower,
        "midline_crossings_72": behaviour.crossings,
    }


def _swing_structure(highs: Swings, lows: Swings) -> pl.Series:
    direction = swing_structure(highs, lows)
    has_value = np.arange(len(direction)) >= LOOKBACK_BARS["swing_structure"] - 1
    return name_column("swing_structure", np.where(has_value, direction + 1, -1), SWING_STRUCTURES)


def _confirmed_at(name: str, swings: Swings, closed_ms: NDArray[np.int64]) -> pl.Series:
    bar = swings.confirmed_bar
    return times_of(closed_ms[bar], name, is_there=bar >= 0)


def _ratio(numerator: Floats, denominator: Floats, *, at_zero: float) -> Floats:
    """Quotient; ``at_zero`` where the denominator is exactly 0, NaN where either is NaN."""
    zero = denominator == 0
    value = numerator / np.where(zero, 1.0, denominator)
    return np.where(zero & ~np.isnan(numerator), at_zero, value)
