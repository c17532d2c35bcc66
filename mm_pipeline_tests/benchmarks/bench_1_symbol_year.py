"""A symbol-year: all metrics on 1h and 4h, verdicts and exit states, against TA-Lib's five on the 15m bars."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import talib

from mm_pipeline.domain.candles import fill_gaps
from mm_pipeline.domain.pipeline import evaluate, market_view
from mm_pipeline_tests.benchmarks.side_by_side import compare, report, symbol_year
from mm_pipeline_tests.markets import NOTHING_QUARANTINED, grid_around, settings_of, version_of


def talib_five(candles: pl.DataFrame) -> None:
    """BBANDS, ATR, EMA twice and ADX: the peer of benchmarks 1 and 3."""
    high, low, close = (candles[name].to_numpy() for name in ("high", "low", "close"))
    talib.BBANDS(close, 20), talib.ATR(high, low, close, 14), talib.EMA(close, 20), talib.EMA(close, 50)
    talib.ADX(high, low, close, 14)


def main() -> None:
    """Print the ratio."""
    candles, settings = symbol_year(), settings_of("seed")
    bars = fill_gaps(candles, quarantined_ms=None)
    started_at = candles["open_time"][0] + timedelta(days=1)
    versions = version_of(grid_around(float(np.median(candles["close"].to_numpy())), started_at, width=0.3))
    end_ms = int(bars["close_time"].dt.epoch("ms")[-1])

    def ours() -> None:
        view = market_view(bars, NOTHING_QUARANTINED, settings.market)
        evaluate(versions, view, settings.advice, first_ms=versions[0].grid.started_at_ms, last_ms=end_ms)

    ours_s, peer_s = compare(ours, lambda: talib_five(candles), rounds=9)
    report("symbol-year", ours_s, peer_s, "TA-Lib's five", wanted="<= 25 x and <= 30 ms")
