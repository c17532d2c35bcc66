"""Grids and bars for the tests of positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from mm_pipeline.domain.candles import fill_gaps
from mm_pipeline.domain.columns import times_of
from mm_pipeline.domain.grid import Grid
from mm_pipeline_tests.candle_samples import STEP_MS, T0_MS
from mm_pipeline_tests.markets import grid_around
from mm_pipeline_tests.reference.simulation import Bar


def bars_of(rows: Sequence[Bar]) -> pl.DataFrame:
    """Bars frame of ``(open, high, low, close)`` rows from ``T0_MS`` on, exactly as given."""
    prices = np.array(rows, dtype=np.float64).reshape(-1, 4)
    candles = pl.DataFrame(
        [
            times_of(T0_MS + STEP_MS * np.arange(len(prices)), "open_time"),
            *(pl.Series(name, prices[:, i]) for i, name in enumerate(("open", "high", "low", "close"))),
            pl.Series("volume", np.ones(len(prices))),
        ]
    )
    return fill_gaps(candles, quarantined_ms=None)


def rows_of(bars: pl.DataFrame) -> list[Bar]:
    """``(open, high, low, close)`` of each bar."""
    return bars.select("open", "high", "low", "close").rows()


def hundreds_grid(**changes: Any) -> Grid:
    """Levels 100, 110, 120, 130, stop 90, 300 quote of capital without fee: each interval buys 100 quote's worth."""
    declared: dict[str, Any] = {"lower": 100.0, "upper": 130.0, "levels": 4, "stop_loss": 90.0, "capital": 300.0}
    declared |= {"fee": 0.0, "started_at": times_of(np.array([T0_MS]), "start")[0]}
    return grid_around(115.0, **(declared | changes))


def random_grid(random: np.random.Generator, bars: pl.DataFrame) -> Grid:
    """A grid about the bars' prices, its start above, inside or below it, with every kind of spacing, fee and size."""
    prices = bars["close"].to_numpy()
    centre = float(random.choice(prices)) * random.uniform(0.97, 1.03)
    half_width = random.choice([0.005, 0.02, 0.05, 0.15]) * random.uniform(0.5, 1.5)
    lower = centre * (1 - half_width)
    return grid_around(
        centre,
        bars["open_time"][0],
        lower=lower,
        upper=centre * (1 + half_width),
        levels=int(random.choice([2, 3, 4, 6, 11, 21, 60])),
        spacing=str(random.choice(["arithmetic", "geometric"])),
        stop_loss=lower * (1 - random.choice([0.0005, 0.01, 0.05, 0.5])),
        capital=float(random.choice([0.0, 10.0, 1000.0, 100_000.0])),
        fee=float(random.choice([0.0, 0.0002, 0.001, 0.05])),
    )
