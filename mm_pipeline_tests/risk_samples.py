"""Markets and thresholds for the tests of risk."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from mm_pipeline.domain.candles import fill_gaps
from mm_pipeline.domain.columns import epoch_ms
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.risk import RiskHistory, RiskPolicy
from mm_pipeline_tests.markets import grid_around, settings_of, simulated_candles
from mm_pipeline_tests.reference.risk import Candle, Settings


def risk_policy(**changes: Any) -> RiskPolicy:
    """The shipped thresholds with changes."""
    return RiskPolicy.model_validate(settings_of().risk.model_dump(mode="json") | changes)


def quick_policy(**changes: Any) -> RiskPolicy:
    """Few windows from two weeks."""
    return risk_policy(**({"history_days": 14, "min_history_days": 7, "draw_every_bars": 13} | changes))


@lru_cache(maxsize=1)
def simulated_bars() -> pl.DataFrame:
    """Bars of a simulated market with some filled gaps."""
    return fill_gaps(simulated_candles(), quarantined_ms=None)


def grid_in(bars: pl.DataFrame, row: int, *, width: float = 0.04, **changes: Any) -> Grid:
    """A grid about the price before a row, started at that row's open."""
    return grid_around(bars["close"][row - 1], bars["open_time"][row], width=width, **changes)


def candles_of(bars: pl.DataFrame) -> list[Candle]:
    """Bars for the plain reference."""
    columns = ("open", "high", "low", "close")
    times = zip(epoch_ms(bars["open_time"]).tolist(), epoch_ms(bars["known_at"]).tolist(), strict=True)
    return [Candle(*at, *row) for at, row in zip(times, bars.select(columns).rows(), strict=True)]


def reference_settings(policy: RiskPolicy) -> Settings:
    """Thresholds for the plain reference."""
    return Settings(
        history_days=policy.history_days,
        draw_every_bars=policy.draw_every_bars,
        quantile=policy.capital_at_risk_quantile,
        shares=tuple((table.valid_from_ms, table.shares) for table in policy.volatility),
    )


def history_of(bars: pl.DataFrame, policy: RiskPolicy) -> RiskHistory:
    """Standardised bars."""
    return RiskHistory.of(bars, policy)


def known_ms(bars: pl.DataFrame, row: int = -1) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The evaluation at which a row is known."""
    return epoch_ms(bars["known_at"])[row:][:1]
