"""Markets to compare on: stretches of recorded candles around events, and simulated ones with every oddity at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl

from mm_pipeline_tests.reference.bars import MS_1H, MS_4H, MS_15M, Bars, epoch_ms, filled, resampled
from mm_pipeline_tests.reference.metrics import MarketMetrics

SIMULATED_FROM_MS = epoch_ms(2024, 1, 1)

ETH = "binance_ETH-USDT_15m_2022-01-01_2025-09-30.parquet"
BTC = "binance_BTC-USDT_15m_2022-01-01_2025-09-30.parquet"
KUCOIN_ETH = "kucoin_ETH-USDT_15m_2025-01-01_2025-09-30.parquet"
KUCOIN_BTC = "kucoin_BTC-USDT_15m_2025-01-01_2025-09-30.parquet"

STRETCHES = {
    "eth-usdc-off-its-peg-and-exchange-halt": (ETH, date(2023, 2, 1), date(2023, 4, 12)),
    "eth-luna-collapse": (ETH, date(2022, 4, 1), date(2022, 5, 31)),
    "kucoin-eth-tariff-sell-off": (KUCOIN_ETH, date(2025, 2, 20), date(2025, 4, 25)),
}
"""Recorded stretches, each long enough for every lookback at 1h and most at 4h (days)."""
SIMULATED = "simulated"
EVERY_SAMPLE = (*STRETCHES, SIMULATED)


@dataclass(frozen=True, eq=False)
class Sample:
    """One market's bars at the three timeframes."""

    quarters: Bars
    hours: Bars
    coarse: Bars


def sample_of(raw: pl.DataFrame) -> Sample:
    """Fill and resample raw 15m candles."""
    quarters = filled(raw)
    return Sample(quarters, resampled(quarters, MS_1H), resampled(quarters, MS_4H))


@lru_cache(maxsize=8)
def loops_of(sample: Sample) -> tuple[MarketMetrics, MarketMetrics]:
    """Plain-loop metrics of a sample's 1h and 4h bars, each row computed once."""
    return MarketMetrics(sample.hours, MS_1H), MarketMetrics(sample.coarse, MS_4H)


@lru_cache(maxsize=8)
def recorded(path: Path, first: date = date.min, last: date = date.max) -> Sample:
    """The days ``first`` to ``last`` (inclusive) of a file of recorded 15m candles."""
    raw = pl.read_parquet(path)
    return sample_of(raw.filter(pl.col("open_time").dt.date().is_between(first, last)))


@lru_cache(maxsize=4)
def simulated(*, seed: int, days: int) -> Sample:
    """A seeded market that ranges, trends, jumps, stands still for days and has bars without trades."""
    return sample_of(simulated_candles(seed=seed, days=days))


def simulated_candles(*, seed: int, days: int) -> pl.DataFrame:
    """Raw 15m candles in cycles of 60 days: 40 ranging, 7 trending, 7 with jumps, 3 standing still, 3 random."""
    random = np.random.default_rng(seed)
    count = days * 96
    log_price = level = np.log(2000.0)
    prices = []
    for i in range(count):
        cycle, day = divmod(i // 96, 60)
        if day == 0:
            level = log_price
        step = random.normal(0, 0.002)
        if day < 40:
            step += 0.02 * (level - log_price)
        elif day < 47:
            step += 0.0004 * (-1) ** cycle
        elif day < 54:
            step += random.choice((-0.06, 0.06)) if random.random() < 0.004 else 0.0
        elif day < 57:
            step = 0.0
        log_price += step
        prices.append(round(float(np.exp(log_price)), 2))
    close = np.array(prices)
    opened = np.concatenate(([2000.0], close[:-1]))
    wick = np.where(opened == close, 0.0, np.abs(random.normal(0, 1.5, (2, count))))
    frame = pl.DataFrame(
        {
            "open_time": SIMULATED_FROM_MS + MS_15M * np.arange(count),
            "open": opened,
            "high": np.round(np.maximum(opened, close) + wick[0], 2),
            "low": np.round(np.minimum(opened, close) - wick[1], 2),
            "close": close,
            "volume": random.exponential(10.0, count),
        }
    ).with_columns(pl.col("open_time").cast(pl.Datetime("ms", "UTC")))
    has_traded = random.random(count) > 0.02
    has_traded[count // 2 : count // 2 + 11] = False
    has_traded[[0, -1]] = True
    return frame.filter(pl.Series(has_traded))


def sample_named(name: str, recorded_data: Path | None) -> Sample:
    """A recorded stretch or the simulated market, by name."""
    if name == SIMULATED:
        return simulated(seed=1, days=75)
    file, first, last = STRETCHES[name]
    assert recorded_data is not None
    return recorded(recorded_data / file, first, last)
