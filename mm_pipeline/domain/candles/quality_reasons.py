"""The sentences beside a data-quality row: each names the value it saw and the threshold it broke."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import polars as pl

from mm_pipeline.domain.candles.data_policy import DataPolicy
from mm_pipeline.domain.market import Timeframe

QUALITY_BREAKS: Final = ("is_stale", "is_sparse", "is_sparse_24h", "lacks_warm_up", "has_quarantine")
"""What makes data not good, in the order in which it is told."""
LIQUIDITY_BREAKS: Final = ("is_low_volume", "is_seldom_traded")


def quality_reasons(policy: DataPolicy, *, lookback_ms: int) -> pl.Expr:
    """List of sentences, one for each of ``QUALITY_BREAKS``."""
    sentences = (
        _stale(policy),
        _coverage(policy),
        _coverage_24h(policy),
        _warm_up(policy, lookback_ms),
        _quarantine(policy),
    )
    return _told(QUALITY_BREAKS, sentences)


def liquidity_reasons(policy: DataPolicy) -> pl.Expr:
    """List of sentences, one for each of ``LIQUIDITY_BREAKS``."""
    return _told(LIQUIDITY_BREAKS, (_low_volume(policy), _seldom_traded(policy)))


def _told(breaks: Sequence[str], sentences: Sequence[pl.Expr]) -> pl.Expr:
    told = [pl.when(name).then(sentence) for name, sentence in zip(breaks, sentences, strict=True)]
    return pl.concat_list(told).list.drop_nulls()


def _stale(policy: DataPolicy) -> pl.Expr:
    age_min = (pl.col("evaluated_at") - pl.col("newest_real_close_at")).dt.total_minutes()
    limit = _span(policy.max_age)
    return pl.coalesce(
        pl.format("newest bar closed {} min ago, more than {} (data.max_age)", age_min, pl.lit(limit)),
        pl.lit(f"no bar in the last {policy.warm_up_days} days; the newest may be {limit} old (data.max_age)"),
    )


def _coverage(policy: DataPolicy) -> pl.Expr:
    expected = policy.warm_up_days * Timeframe.M15.bars_per_day
    return pl.format(
        f"{{}} of {expected} bars in the last {policy.warm_up_days} days ({{}}), "
        f"less than {policy.min_coverage} (data.min_coverage)",
        "real_bars",
        pl.col("coverage").round(3),
    )


def _coverage_24h(policy: DataPolicy) -> pl.Expr:
    return pl.format(
        f"{{}} of {Timeframe.M15.bars_per_day} bars in the last 24 h ({{}}), "
        f"less than {policy.min_coverage_24h} (data.min_coverage_24h)",
        "real_bars_24h",
        pl.col("coverage_24h").round(3),
    )


def _warm_up(policy: DataPolicy, lookback_ms: int) -> pl.Expr:
    needed_days = lookback_ms / 86_400_000
    return pl.format(
        f"bars reach back {{}} days, less than {needed_days:g} within data.warm_up_days ({policy.warm_up_days})",
        pl.col("days_back").round(2),
    )


def _quarantine(policy: DataPolicy) -> pl.Expr:
    return pl.format(
        f"the bar of {{}} UTC is quarantined, within {_span(policy.quarantine_window)} (data.quarantine_window)",
        pl.col("newest_quarantined_at").dt.strftime("%Y-%m-%d %H:%M"),
    )


def _low_volume(policy: DataPolicy) -> pl.Expr:
    return pl.format(
        "median volume of the last 24 h is {} quote per 15m bar, less than {} (data.min_median_quote_volume_24h)",
        pl.col("median_quote_volume_24h").round(0).cast(pl.Int64).cast(pl.String).fill_null("unknown"),
        pl.lit(f"{policy.min_median_quote_volume_24h:.0f}"),
    )


def _seldom_traded(policy: DataPolicy) -> pl.Expr:
    return pl.format(
        "{} of 96 bars of the last 24 h had no trades ({}), more than {} (data.max_synthetic_share_24h)",
        "synthetic_bars_24h",
        pl.col("synthetic_share_24h").round(3),
        pl.lit(policy.max_synthetic_share_24h),
    )


def _span(length: timedelta) -> str:
    minutes = int(length.total_seconds() // 60)
    return f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"
