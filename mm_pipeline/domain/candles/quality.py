"""Whether an evaluation may trust its candles: freshness, coverage, warm-up, quarantine, liquidity at that moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from mm_pipeline.domain.candles.data_policy import DataPolicy
from mm_pipeline.domain.candles.frames import TIME, Int64Array, epoch_ms, times_of
from mm_pipeline.domain.candles.quality_reasons import liquidity_reasons, quality_reasons
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
    quarantined_ms: Int64Array | None,
    evaluated_ms: Int64Array,
    policy: DataPolicy,
    lookback_ms: int,
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

    Returns
    -------
    pl.DataFrame
        ``QUALITY_SCHEMA``. Shares are 0..1 of the bars expected; ``median_quote_volume_24h`` is the median of
        close x volume over real bars (quote; null without any); ``reasons`` is empty where ``is_good``;
        ``liquidity_reasons`` says why ENTER is off and does not touch ``is_good``.
    """
    evaluated_ms = np.asarray(evaluated_ms, dtype=np.int64)
    windows = _windows(bars_15m, evaluated_ms=evaluated_ms, warm_up_ms=policy.warm_up_days * DAY_MS)
    bars_per_day = Timeframe.M15.bars_per_day
    # Shares are divided by numpy: polars divides a column by a constant through its reciprocal, but not in a frame of
    # one row, and a live row would differ from the same row of a backfill in its last digit.
    facts = pl.DataFrame(
        {
            "evaluated_at": times_of(evaluated_ms, "evaluated_at"),
            "newest_real_close_at": windows.newest_real_close_at,
            "first_real_open_at": windows.first_real_open_at,
            "days_back": windows.days_back,
            "real_bars": windows.real_bars,
            "coverage": windows.real_bars / (policy.warm_up_days * bars_per_day),
            "coverage_24h": windows.real_bars_24h / bars_per_day,
            "synthetic_share_24h": windows.synthetic_bars_24h / bars_per_day,
            "real_bars_24h": windows.real_bars_24h,
            "synthetic_bars_24h": windows.synthetic_bars_24h,
            "median_quote_volume_24h": _median_quote_volume_24h(bars_15m, evaluated_ms),
            "newest_quarantined_at": _newest_quarantined(quarantined_ms, evaluated_ms, policy),
        }
    )
    return _judge(facts, policy=policy, lookback_ms=lookback_ms).select(list(QUALITY_SCHEMA))


def _judge(facts: pl.DataFrame, *, policy: DataPolicy, lookback_ms: int) -> pl.DataFrame:
    age = pl.col("evaluated_at") - pl.col("newest_real_close_at")
    warmed_by = pl.col("evaluated_at") - pl.duration(milliseconds=lookback_ms)
    judged = facts.with_columns(
        is_stale=(age > policy.max_age).fill_null(True),
        has_warm_up=(pl.col("first_real_open_at") <= warmed_by).fill_null(False),
        has_quarantine=pl.col("newest_quarantined_at").is_not_null(),
    )
    judged = judged.with_columns(
        reasons=quality_reasons(policy, lookback_ms=lookback_ms), liquidity_reasons=liquidity_reasons(policy)
    )
    return judged.with_columns(
        is_good=pl.col("reasons").list.len() == 0, is_low_liquidity=pl.col("liquidity_reasons").list.len() > 0
    )


@dataclass(frozen=True)
class _Windows:
    """What the two windows before each evaluation hold; times are null where the longer one has no real bar."""

    newest_real_close_at: pl.Series
    first_real_open_at: pl.Series
    days_back: np.ndarray[Any, np.dtype[np.float64]]
    real_bars: Int64Array
    real_bars_24h: Int64Array
    synthetic_bars_24h: Int64Array


def _windows(bars_15m: pl.DataFrame, *, evaluated_ms: Int64Array, warm_up_ms: int) -> _Windows:
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
        newest_real_close_at=_times_where(newest_ms, has_real),
        first_real_open_at=_times_where(first_ms - Timeframe.M15.ms, has_real),
        days_back=np.where(has_real, evaluated_ms - first_ms + Timeframe.M15.ms, 0) / DAY_MS,
        real_bars=end - start,
        real_bars_24h=end - start_24h,
        synthetic_bars_24h=np.maximum(filled_until - filled_from, 0),
    )


def _median_quote_volume_24h(bars_15m: pl.DataFrame, evaluated_ms: Int64Array) -> pl.Series:
    """Median over a regular 15m time line, where a slot without a real bar is null and counts for nothing."""
    name, step = "median_quote_volume_24h", Timeframe.M15.ms
    if len(evaluated_ms) == 0:
        return pl.Series(name, [], dtype=pl.Float64)
    first_slot = (evaluated_ms.min() - DAY_MS) // step
    slots = evaluated_ms.max() // step - first_slot + 1
    real = bars_15m.filter(~pl.col("is_synthetic"))
    slot_of_bar = epoch_ms(real["close_time"]) // step - first_slot
    is_inside = (slot_of_bar >= 0) & (slot_of_bar < slots)
    quote_volume = np.full(slots, np.nan)
    quote_volume[slot_of_bar[is_inside]] = (real["close"] * real["volume"]).to_numpy()[is_inside]
    line = pl.Series(name, quote_volume).fill_nan(None)
    medians = line.rolling_median(Timeframe.M15.bars_per_day, min_samples=1)
    return medians.gather(evaluated_ms // step - first_slot)


def _newest_quarantined(quarantined_ms: Int64Array | None, evaluated_ms: Int64Array, policy: DataPolicy) -> pl.Series:
    """Newest refused open time whose bar closed inside the quarantine window, else null."""
    given = np.empty(0, dtype=np.int64) if quarantined_ms is None else np.asarray(quarantined_ms, dtype=np.int64)
    opened_ms = np.sort(given)
    closed_ms = opened_ms + Timeframe.M15.ms
    window_ms = int(policy.quarantine_window.total_seconds() * 1000)
    last = np.searchsorted(closed_ms, evaluated_ms, side="right") - 1
    padded_ms = np.append(opened_ms, np.iinfo(np.int64).min // 2)
    newest_ms = padded_ms[last]
    return _times_where(newest_ms, newest_ms + Timeframe.M15.ms > evaluated_ms - window_ms)


def _times_where(values_ms: Int64Array, is_there: np.ndarray[Any, np.dtype[np.bool_]]) -> pl.Series:
    return pl.Series(values_ms).set(pl.Series(~is_there), None).cast(TIME)
