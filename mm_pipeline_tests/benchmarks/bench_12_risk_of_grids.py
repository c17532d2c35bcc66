"""Modelled risk of 100 grids in one tick, against that of one grid; and what a fresh process pays for the loops."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import timedelta

import numpy as np
import polars as pl

from mm_pipeline.domain.candles import fill_gaps
from mm_pipeline.domain.columns import epoch_ms
from mm_pipeline.domain.grid import GridVersion
from mm_pipeline.domain.risk import RiskHistory, risk_of_grids
from mm_pipeline_tests.benchmarks.side_by_side import compare, report, symbol_year
from mm_pipeline_tests.markets import grid_around, settings_of, version_of

GRIDS = 100


def main() -> None:
    """Print the ratio, and the time to first figures of a fresh process."""
    bars = live_bars()
    ours_s, one_s = compare(lambda: tick(bars, GRIDS), lambda: tick(bars, 1), rounds=9)
    report(f"{GRIDS} grids of one market, standardising its bars included", ours_s, one_s, "one grid", wanted="< 1 s")
    child = subprocess.run([sys.executable, "-m", __name__], check=True, capture_output=True, text=True)
    print(f"  {child.stdout.splitlines()[-1]}", flush=True)


def live_bars() -> pl.DataFrame:
    """The bars that a live tick reads: the look-back and no more."""
    bars = fill_gaps(symbol_year(), quarantined_ms=None)
    return bars.tail(settings_of().risk.lookback_ms // 900_000)


def tick(bars: pl.DataFrame, grids: int) -> pl.DataFrame:
    """Risk at the newest close of grids of several widths that started up to a month before it."""
    policy = settings_of().risk
    history = RiskHistory.of(bars, policy)
    declared = [versions_of(bars, number) for number in range(grids)]
    return risk_of_grids([(versions, history) for versions in declared], epoch_ms(bars["close_time"])[-1:], policy)


def versions_of(bars: pl.DataFrame, number: int) -> tuple[GridVersion, ...]:
    """One of the grids, around the price now: none of them is sold out or stopped."""
    start = bars["open_time"][-1] - timedelta(hours=6 * (number + 1))
    price, width = float(bars["close"][-1]), 0.1 + 0.02 * (number % 10)
    return version_of(grid_around(price, start, id=f"g{number}", width=width, levels=11 + number % 30, stop_loss=1.0))


def first_figures() -> str:
    """What a process pays once: numba and the loops from their cache."""
    bars = live_bars()
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        assert np.isfinite(tick(bars, 1)["giveback_p90_4h_quote"].to_numpy()).all()
        seconds.append(time.perf_counter() - start)
    return f"a fresh process: {seconds[0] - seconds[1]:.2f} s for numba and the compiled loops, once"


if __name__ == "__main__":
    print(first_figures())
