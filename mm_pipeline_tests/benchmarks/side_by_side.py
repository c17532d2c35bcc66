"""Median times of interleaved rounds, so that a busy machine slows both sides alike; only the ratio means anything."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl

from mm_pipeline_tests.conftest import RECORDED
from mm_pipeline_tests.markets import ETH_2022_2025, recorded_candles, simulated_candles

YEAR_BARS = 35_040


def compare(ours: Callable[[], object], peer: Callable[[], object], *, rounds: int) -> tuple[float, float]:
    """Median seconds of one call of each."""
    ours(), peer()
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for kept, call in zip(seconds, (ours, peer), strict=True):
            start = time.perf_counter()
            call()
            kept.append(time.perf_counter() - start)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def report(what: str, ours_s: float, peer_s: float, peer: str, *, wanted: str) -> None:
    """Print one line: times, the ratio and what is wanted of it."""
    ratio = ours_s / peer_s
    shown = f"{ratio:.1f} x its time" if ratio >= 1 else f"{1 / ratio:.0f} times as fast"
    print(f"  {what}: {ours_s * 1e3:.2f} ms; {peer}: {peer_s * 1e3:.3f} ms; {shown} (wanted: {wanted})", flush=True)


def symbol_year() -> pl.DataFrame:
    """A year of 15m candles: ETH of 2024 where it is recorded, else a simulated market."""
    path = Path(RECORDED) / ETH_2022_2025
    candles = recorded_candles(path) if path.is_file() else simulated_candles(seed=4, days=800)
    print(f"  candles: {'recorded ETH' if path.is_file() else 'simulated'}")
    return candles.slice(2 * YEAR_BARS if path.is_file() else 0, YEAR_BARS)
