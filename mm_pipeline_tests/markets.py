"""Markets for tests: recorded candles where they are, simulated ones with known truth everywhere."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl

from mm_pipeline.domain.candles import clean_candles, fill_gaps
from mm_pipeline.domain.grid import Grid, GridVersion
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.market_view import MarketView
from mm_pipeline.domain.pipeline import market_view
from mm_pipeline.paper.markets.simulation import simulate_market
from mm_pipeline.settings import Settings, load_settings

ETH_2022_2025 = "binance_ETH-USDT_15m_2022-01-01_2025-09-30.parquet"
NOTHING_QUARANTINED = np.empty(0, dtype=np.int64)
FOREVER_MS = 2**62


@lru_cache(maxsize=4)
def recorded_candles(path: Path) -> pl.DataFrame:
    """Raw candles of a recorded file."""
    return clean_candles(pl.read_parquet(path), timeframe=Timeframe.M15, now_ms=FOREVER_MS).candles


@lru_cache(maxsize=8)
def simulated_candles(seed: int = 7, days: int = 120) -> pl.DataFrame:
    """Raw candles of a simulated market with a few gaps."""
    market = simulate_market(seed=seed, start=datetime(2024, 1, 1, tzinfo=UTC), bars=days * 96, start_price=2000.0)
    candles = market.select("open_time", "open", "high", "low", "close", "volume")
    gone = np.random.default_rng(seed).choice(len(candles), size=len(candles) // 200, replace=False)
    return candles.filter(~pl.Series(np.isin(np.arange(len(candles)), gone[gone > 0])))


@lru_cache(maxsize=4)
def settings_of(policy: str = "seed") -> Settings:
    """Packaged settings under a policy."""
    return load_settings(policy=policy)


def view_of_candles(candles: pl.DataFrame, settings: Settings) -> MarketView:
    """Market view of raw, clean candles."""
    bars = fill_gaps(candles, quarantined_ms=None)
    return market_view(bars, NOTHING_QUARANTINED, settings.market)


def grid_around(price: float, started_at: datetime, *, width: float = 0.06, **changes: object) -> Grid:
    """A grid centred at a price, ``width`` of it wide, its stop a third of the width below."""
    declared: dict[str, object] = {
        "id": "around",
        "exchange": "binance",
        "symbol": "ETH/USDT",
        "enabled": True,
        "lower": price * (1 - width / 2),
        "upper": price * (1 + width / 2),
        "levels": 6,
        "spacing": "arithmetic",
        "stop_loss": price * (1 - width * 5 / 6),
        "capital": 1000.0,
        "fee": 0.001,
        "started_at": started_at,
    }
    return Grid.model_validate(declared | changes)


def version_of(grid: Grid) -> tuple[GridVersion, ...]:
    """The grid as its only version, in force since it started."""
    return (GridVersion(grid, grid.started_at),)
