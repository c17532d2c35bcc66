"""Thresholds of data quality: settings key ``data``."""

from __future__ import annotations

from datetime import timedelta

from mm_pipeline.domain.policy import Duration, Policy, threshold


class DataPolicy(Policy):
    """When a market's candles are good enough to say anything at all (SPEC 2)."""

    max_age: Duration = threshold(
        unit="duration",
        source="two 15m bars and 5 min for the tick and the exchange",
        ge=timedelta(minutes=15),
        le=timedelta(hours=4),
    )
    max_failed_fetches: int = threshold(
        unit="evaluations in a row whose newest bar is missing because the fetch failed",
        source="SPEC 2: one is told beside the state that it keeps, the second is UNKNOWN",
        ge=1,
        le=8,
    )
    warm_up_days: int = threshold(
        unit="days", source="longest lookback 42.5 days (255 4h bars) + 7 days of `since`, rounded up", ge=2, le=400
    )
    min_coverage: float = threshold(unit="0..1 of 15m bars in warm_up_days", source="SPEC 2", ge=0.5, le=1.0)
    min_coverage_24h: float = threshold(unit="0..1 of 15m bars in 24 h", source="SPEC 2", ge=0.5, le=1.0)
    quarantine_window: Duration = threshold(
        unit="duration", source="SPEC 2", ge=timedelta(minutes=15), le=timedelta(days=7)
    )
    min_median_quote_volume_24h: float = threshold(
        unit="quote per 15m bar",
        source="selling 1,000 USDT within a bar is then at most 5 % of what half of the bars trade; a tenth of the "
        "quietest 24 h of KuCoin ETH-USDT, January to September 2025 (194,449)",
        ge=0.0,
        le=1e12,
    )
    max_synthetic_share_24h: float = threshold(
        unit="0..1 of 15m bars in 24 h", source="the other side of min_coverage_24h, half of it", ge=0.0, le=1.0
    )
