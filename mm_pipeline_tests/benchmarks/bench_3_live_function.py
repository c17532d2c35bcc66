"""The live function on one new bar of one market, 51 days of look-back, against TA-Lib's five over the same bars."""

from __future__ import annotations

from datetime import timedelta

from mm_pipeline.domain.candles import fill_gaps
from mm_pipeline.domain.pipeline import evaluate, market_view
from mm_pipeline_tests.benchmarks.bench_1_symbol_year import talib_five
from mm_pipeline_tests.benchmarks.side_by_side import compare, report, symbol_year
from mm_pipeline_tests.markets import NOTHING_QUARANTINED, grid_around, settings_of, version_of


def main() -> None:
    """Print the ratio."""
    settings = settings_of("seed")
    candles = symbol_year().tail(settings.data.warm_up_days * 96)
    versions = version_of(grid_around(candles["close"][-1], candles["open_time"][-1] - timedelta(days=3)))
    at_ms = int(candles["open_time"].dt.epoch("ms")[-1]) + 900_000

    def live() -> None:
        view = market_view(fill_gaps(candles, quarantined_ms=None), NOTHING_QUARANTINED, settings.market)
        evaluate(versions, view, settings.advice, first_ms=at_ms, last_ms=at_ms)

    ours_s, peer_s = compare(live, lambda: talib_five(candles), rounds=25)
    report("one evaluation", ours_s, peer_s, "TA-Lib's five", wanted="<= 25 x and <= 2 ms")
