"""Small made-up markets and settings to calibrate on."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mm_pipeline.domain.candles import RAW_SCHEMA, fill_gaps, resample
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.metrics import market_metrics
from mm_pipeline.domain.regime.samples import MarketHistory
from mm_pipeline.settings import load_settings

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
SETTINGS = load_settings()


def random_walk(*, days: int, seed: int) -> pl.DataFrame:
    """Raw 15m candles from 1970 on: a walk pulled back to its start, whose volatility comes in waves."""
    rng = np.random.default_rng(seed)
    bars = days * 96
    sigma = 0.003 * np.exp(0.5 * np.sin(np.arange(bars) / 700.0))
    log_close = np.empty(bars)
    level = 0.0
    for bar, move in enumerate((rng.normal(size=bars) * sigma).tolist()):
        level = level * 0.999 + move
        log_close[bar] = level
    close: NDArray[np.float64] = 100.0 * np.exp(log_close)
    opened = np.concatenate([[100.0], close[:-1]])
    wick = np.abs(rng.normal(size=(2, bars))) * 0.05
    return pl.DataFrame(
        {
            "open_time": np.arange(bars, dtype=np.int64) * Timeframe.M15.ms,
            "open": opened,
            "high": np.maximum(opened, close) + wick[0],
            "low": np.minimum(opened, close) - wick[1],
            "close": close,
            "volume": np.ones(bars),
        }
    ).cast(RAW_SCHEMA)


def history_of(candles: pl.DataFrame, *, warm_days: int = 45, quarantined_ms: int | None = None) -> MarketHistory:
    """Metrics of candles under the default settings, as the command computes them; one bar may be refused."""
    opened = pl.col("open_time").to_physical()
    refused = np.array([] if quarantined_ms is None else [quarantined_ms], dtype=np.int64)
    bars = fill_gaps(candles.filter(~opened.is_in(refused)), quarantined_ms=refused)
    metrics_1h, metrics_4h = (
        market_metrics(resample(bars, timeframe), timeframe, SETTINGS.metrics)
        for timeframe in (Timeframe.H1, Timeframe.H4)
    )
    return MarketHistory(metrics_1h, metrics_4h, warm_from_ms=warm_days * DAY_MS)
