"""Small raw candle frames and policies for the tests of candles."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl

from mm_pipeline.domain.candles import RAW_SCHEMA, DataPolicy, ExchangePolicy
from mm_pipeline.domain.market import Timeframe

STEP_MS = Timeframe.M15.ms
DAY_MS = 86_400_000
T0_MS = 1_735_689_600_000
"""2025-01-01 00:00 UTC."""

Row = tuple[int | None, float | None, float | None, float | None, float | None, float | None]


def raw(rows: Iterable[Row]) -> pl.DataFrame:
    """Raw candle frame of ``(open time ms, open, high, low, close, volume)`` rows, exactly as given."""
    times, *numbers = list(zip(*rows, strict=True)) or [()] * 6
    columns = [pl.Series("open_time", times, dtype=pl.Int64).cast(RAW_SCHEMA["open_time"])]
    names = list(RAW_SCHEMA)[1:]
    columns += [pl.Series(name, list(column), dtype=pl.Float64) for name, column in zip(names, numbers, strict=True)]
    return pl.DataFrame(columns)


def candle(slot: int, close: float = 100.0, volume: float = 10.0) -> Row:
    """A valid candle of the slot-th 15m bar after ``T0_MS``."""
    return (T0_MS + slot * STEP_MS, close - 0.5, close + 1.0, close - 1.0, close, volume)


def walk(slots: Iterable[int], *, seed: int = 0) -> pl.DataFrame:
    """Valid candles of these slots; the same slot has the same candle in every call with the same seed."""
    wanted = list(slots)
    steps, amounts = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    closes = 100.0 * np.exp(np.cumsum(steps.normal(0.0, 0.002, size=max(wanted, default=0) + 1)))
    volumes = amounts.uniform(1.0, 50.0, size=closes.size)
    return raw([candle(slot, float(closes[slot]), float(volumes[slot])) for slot in wanted])


def at_ms(slot: float) -> int:
    """Epoch milliseconds of a slot's open."""
    return T0_MS + int(slot * STEP_MS)


def data_policy(**changes: Any) -> DataPolicy:
    """SPEC's thresholds with changes."""
    values: dict[str, Any] = {
        "max_age": "35min",
        "max_failed_fetches": 2,
        "warm_up_days": 51,
        "min_coverage": 0.95,
        "min_coverage_24h": 0.90,
        "quarantine_window": "24h",
        "min_median_quote_volume_24h": 20_000.0,
        "max_synthetic_share_24h": 0.05,
    }
    return DataPolicy(**(values | changes))


def exchange_policy(**changes: Any) -> ExchangePolicy:
    """Limits fit for a loopback exchange: no real waiting, everything else as shipped."""
    values: dict[str, Any] = {
        "max_page_bars": 1500,
        "bars_per_fetch": 30_000,
        "reask_bars": 96,
        "quiet_after": "10min",
        "confirm_revision": 3,
        "cover_requests": 2,
        "requests_per_s": 100.0,
        "burst_requests": 100,
        "request_timeout": "5s",
        "deadline": "10s",
        "attempts": 3,
        "backoff_initial": timedelta(milliseconds=1),
        "backoff_max": timedelta(milliseconds=5),
        "backoff_jitter": timedelta(milliseconds=1),
        "breaker_failures": 3,
        "breaker_cool_down": "5min",
        "max_clock_offset": "30s",
        "clock_check_interval": "15min",
    }
    return ExchangePolicy(**(values | changes))
