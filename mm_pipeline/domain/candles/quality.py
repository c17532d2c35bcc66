"""Whether an evaluation may trust its candles: freshness, coverage, warm-up, quarantine, liquidity at that moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from mm_pipeline.domain.arrays import Bools, Floats, Integers
from mm_pipeline.domain.candles.data_policy import DataPolicy
from mm_pipeline.domain.candles.quality_reasons import (
    LIQUIDITY_BREAKS,
    QUALITY_BREAKS,
    liquidity_reasons,
    quality_reasons,
)
from mm_pipeline.domain.columns import TIME, constant_column, epoch_ms, float_column, times_of
from mm_pipeline.domain.indicators.windows import from_first_window, moving_sum, rows
from mm_pipeline.domain.market import Timeframe

DAY_MS = 86_400_000

QUALITY_SCHEMA: dict[str, pl.DataType] = {
    "evaluated_at": TIME,
    "newest_real_close_at": TIME,
    "is_stale": pl.Boolean(),
    "coverage": pl.Float64(),
    "coverage_24h": pl.Float64(),
    "has_warm_up": pl.Boolean(),
    "has_quarantine": pl.Boolean(),
    "synthetic_share_24h": pl.Float64(),
    "median_quote_volume_24h": pl.Float64(),
    "is_low_liquidity": pl.Boolean(),
    "is_good": pl.Boolean(),
    "reasons": pl.List(pl.String()),
    "liquidity_reasons": pl.List(pl.String()),
}


def data_quality(
    bars_15m: pl.DataFrame,
    *,
    quarantined_ms: Integers | None,
    evaluated_ms: Integers,
    policy: DataPolicy,
    lookback_ms: int,
    told_from_ms: int | None = None,
) -> pl.DataFrame:
    """Judge the candles as each evaluation saw them (SPEC 2).

    A row depends only on the real bars that closed in ``(evaluated_at - warm_up_days, evaluated_at]`` and on the
    quarantined times of that window: neither later bars nor earlier ones change it. "The last 24 h" are the bars that
    closed in ``(evaluated_at - 24 h, evaluated_at]``. Filled bars count from the first real bar of the window to the
    newest one, so a gap that straddles the start of the window counts the same whether its beginning is there or not.

    Parameters
    ----------
    bars_15m
        15m Bars frame of one market.
    quarantined_ms
        Epoch milliseconds of refused open times, any order.
    evaluated_ms
        Epoch milliseconds of the evaluations, any order; one row each, in the same order.
    policy
        Thresholds.
    lookback_ms
        Longest lookback of the metrics in use. Warm-up is there when the first real bar of the window opens at least
        this long before the evaluation.
    told_from_ms
        Evaluations before it get no sentences: they are only looked back on. All get them, without it.

    Returns
    -------
    pl.DataFrame
        ``QUALITY_SCHEMA``. Shares are 0..1 of the bars expected; ``median_quote_volume_24h`` is the median of
        close x volume over real bars (quote; null without any); ``reasons`` is empty where ``is_good``;
        ``liquidity_reasons`` says why ENTER is off and does not touch ``is_good``.
    """
    evaluated_ms = np.asarray(evaluated_ms, dtype=np.int64)
    windows = _windows(bars_15m, evaluated_ms=evaluated_ms, warm_up_ms=policy.warm_up_days * DAY_MS)
    quarantine = _newest_quarantined(quarantined_ms, evaluated_ms, policy)
    volume = _median_quote_volume_24h(bars_15m, evaluated_ms)
    breaks = _breaks(windows, evaluated_ms, policy, lookback_ms) | {
        "has_quarantine": quarantine.is_there,
        "is_low_volume": ~(volume >= policy.min_median_quote_volume_24h),
    }
    facts = pl.DataFrame(
        [
            times_of(evaluated_ms, "evaluated_at"),
            windows.newest_real_close.column("newest_real_close_at"),
            quarantine.column("newest_quarantined_at"),
            float_column("median_quote_volume_24h", volume),
            *(pl.Series(name, values) for name, values in windows.measures(policy).items()),
            *(pl.Series(name, values) for name, values in breaks.items()),
            pl.Series("has_warm_up", ~breaks["lacks_warm_up"]),
        ]
    )
    is_bad, is_low_liquidity = (
        np.any([breaks[name] for name in names], axis=0) for names in (QUALITY_BREAKS, LIQUIDITY_BREAKS)
    )
    is_told = evaluated_ms >= (np.iinfo(np.int64).min if told_from_ms is None else told_from_ms)
    judged = [
        pl.Series("is_good", ~is_bad),
        pl.Series("is_low_liquidity", is_low_liquidity),
        _sentences("reasons", facts, is_bad & is_told, lambda: quality_reasons(policy, lookback_ms=lookback_ms)),
        _sentences("liquidity_reasons", facts, is_low_liquidity & is_told, lambda: liquidity_reasons(policy)),
    ]
    columns = facts.hstack(judged)
    return pl.DataFrame([columns[name] for name in QUALITY_SCHEMA])


@dataclass(frozen=True)
class _Times:
    """A time (epoch ms) at each evaluation, where there is one."""

    values_ms: Integers
    is_there: Bools

    def column(self, name: str) -> pl.Series:
        return times_of(self.values_ms, name, is_there=self.is_there)


@dataclass(frozen=True)
class _Windows:
    """What the two windows before each evaluation hold; the times are there where the longer one has a real bar."""

    newest_real_close: _Times
    first_real_open: _Times
    days_back: Floats
    real_bars: Integers
    real_bars_24h: Integers
    synthetic_bars_24h: Integers

    def measures(self, policy: DataPolicy) -> dict[str, Floats | Integers]:
        """Counts and shares, by column.

        Shares are divided by numpy: polars divides a column by a constant through its reciprocal, but not in a frame of
        one row, and a live row would differ from the same row of a backfill in its last digit.
        """
        bars_per_day = Timeframe.M15.bars_per_day
        return {
            "days_back": self.days_back,
            "real_bars": self.real_bars,
            "real_bars_24h": self.real_bars_24h,
            "synthetic_bars_24h": self.synthetic_bars_24h,
            "coverage": self.real_bars / (policy.warm_up_days * bars_per_day),
            "coverage_24h": self.real_bars_24h / bars_per_day,
            "synthetic_share_24h": self.synthetic_bars_24h / bars_per_day,
        }


def _breaks(windows: _Windows, evaluated_ms: Integers, policy: DataPolicy, lookback_ms: int) -> dict[str, Bools]:
    """Which thresholds of the windows are broken at each evaluation."""
    newest, first, measures = windows.newest_real_close, windows.first_real_open, windows.measures(policy)
    max_age_ms = int(policy.max_age.total_seconds() * 1000)
    return {
        "is_stale": ~newest.is_there | (evaluated_ms - newest.values_ms > max_age_ms),
        "is_sparse": measures["coverage"] < policy.min_coverage,
        "is_sparse_24h": measures["coverage_24h"] < policy.min_coverage_24h,
        "lacks_warm_up": ~first.is_there | (first.values_ms > evaluated_ms - lookback_ms),
        "is_seldom_traded": measures["synthetic_share_24h"] > policy.max_synthetic_share_24h,
    }


def _sentences(name: str, facts: pl.DataFrame, is_broken: Bools, sentences: Callable[[], pl.Expr]) -> pl.Series:
    """What is told of the rows where something is broken, mostly none; an empty list for the others."""
    silent = constant_column(name, [], len(facts), pl.List(pl.String))
    if not is_broken.any():
        return silent
    told = facts.filter(pl.Series(is_broken)).select(sentences().alias(name)).to_series()
    return pl.concat([told, silent.new_from_index(0, 1)])[np.where(is_broken, np.cumsum(is_broken) - 1, -1)]


def _windows(bars_15m: pl.DataFrame, *, evaluated_ms: Integers, warm_up_ms: int) -> _Windows:
    closes_ms = epoch_ms(bars_15m["close_time"])
    is_synthetic = bars_15m["is_synthetic"].to_numpy()
    real_ms, synthetic_ms = closes_ms[~is_synthetic], closes_ms[is_synthetic]
    end = np.searchsorted(real_ms, evaluated_ms, side="right")
    start = np.searchsorted(real_ms, evaluated_ms - warm_up_ms, side="right")
    start_24h = np.searchsorted(real_ms, evaluated_ms - DAY_MS, side="right")
    has_real = end > start
    padded_ms = np.append(real_ms, 0)
    first_ms = np.where(has_real, padded_ms[start], 0)
    newest_ms = np.where(has_real, padded_ms[end - 1], 0)
    filled_until = np.searchsorted(synthetic_ms, newest_ms, side="right")
    filled_from = np.searchsorted(synthetic_ms, np.maximum(first_ms, evaluated_ms - DAY_MS), side="right")
    return _Windows(
        newest_real_close=_Times(newest_ms, has_real),
        first_real_open=_Times(first_ms - Timeframe.M15.ms, has_real),
        days_back=np.where(has_real, evaluated_ms - first_ms + Timeframe.M15.ms, 0) / DAY_MS,
        real_bars=end - start,
        real_bars_24h=end - start_24h,
        synthetic_bars_24h=np.maximum(filled_until - filled_from, 0),
    )


def _median_quote_volume_24h(bars_15m: pl.DataFrame, evaluated_ms: Integers) -> Floats:
    """Median over a regular 15m time line, where a slot without a real bar counts for nothing; NaN without any."""
    if len(evaluated_ms) == 0:
        return np.empty(0)
    step = Timeframe.M15.ms
    first_slot = (evaluated_ms.min() - DAY_MS) // step
    line = np.full(evaluated_ms.max() // step - first_slot + 1, np.nan)
    slot_of_bar = epoch_ms(bars_15m["close_time"]) // step - first_slot
    is_on_line = (slot_of_bar >= 0) & (slot_of_bar < len(line)) & ~bars_15m["is_synthetic"].to_numpy()
    quote_volume = bars_15m["close"].to_numpy() * bars_15m["volume"].to_numpy()
    line[slot_of_bar[is_on_line]] = quote_volume[is_on_line]
    return np.asarray(_median_of_day(line)[evaluated_ms // step - first_slot])


def _median_of_day(line: Floats) -> Floats:
    """Median of the last 24 h of each slot, NaN left out.

    polars takes four times as long once a single value is missing, so it only gets the days without a gap; those with
    one are sorted, which puts their NaN last.
    """
    bars = Timeframe.M15.bars_per_day
    days = rows(line, bars)
    medians = pl.Series(np.nan_to_num(line)).rolling_median(bars).to_numpy()[bars - 1 :].copy()
    has_gap = np.isnan(moving_sum(line, bars))[bars - 1 :]
    medians[has_gap] = _median_of_sorted(np.sort(days[has_gap], axis=1))
    return from_first_window(medians, len(line))


def _median_of_sorted(days: Floats) -> Floats:
    count = np.isfinite(days).sum(axis=1)
    row = np.arange(len(days))
    return np.where(count > 0, (days[row, (count - 1) // 2] + days[row, count // 2]) / 2, np.nan)


def _newest_quarantined(quarantined_ms: Integers | None, evaluated_ms: Integers, policy: DataPolicy) -> _Times:
    """Newest refused open time whose bar closed inside the quarantine window."""
    given = np.empty(0, dtype=np.int64) if quarantined_ms is None else np.asarray(quarantined_ms, dtype=np.int64)
    opened_ms = np.sort(given)
    closed_ms = opened_ms + Timeframe.M15.ms
    window_ms = int(policy.quarantine_window.total_seconds() * 1000)
    last = np.searchsorted(closed_ms, evaluated_ms, side="right") - 1
    padded_ms = np.append(opened_ms, np.iinfo(np.int64).min // 2)
    newest_ms = padded_ms[last]
    return _Times(newest_ms, newest_ms + Timeframe.M15.ms > evaluated_ms - window_ms)
