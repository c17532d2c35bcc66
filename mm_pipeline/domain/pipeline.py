"""The whole flow as pure functions: bars -> metrics -> regime -> grid analysis -> advice.

Live tick, backfill, replay and studies all call these; there is no second copy of the logic for any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from mm_pipeline.domain.advice import Advice, AdvicePolicy, advise
from mm_pipeline.domain.arrays import Times
from mm_pipeline.domain.candles import resample
from mm_pipeline.domain.grid import GridVersion
from mm_pipeline.domain.grid_analysis import grid_analysis
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.market_view import MarketView, Timeline
from mm_pipeline.domain.metrics import MetricsPolicy, market_metrics
from mm_pipeline.domain.regime import Calibration, RegimePolicy, market_regime
from mm_pipeline.domain.risk import RiskPolicy, StopOutlook

COARSE = (Timeframe.H1, Timeframe.H4)


@dataclass(frozen=True)
class MarketPolicy:
    """What a market is judged by."""

    metrics: MetricsPolicy
    regime: RegimePolicy
    calibration: Calibration
    risk: RiskPolicy


Frames = dict[Timeframe, pl.DataFrame]
"""One frame for 1h and one for 4h."""


def metrics_of(bars_15m: pl.DataFrame, policy: MarketPolicy) -> Frames:
    """Metrics of every closed 1h and 4h bar of 15m bars."""
    return {timeframe: market_metrics(resample(bars_15m, timeframe), timeframe, policy.metrics) for timeframe in COARSE}


def regime_of(metrics: Frames, policy: MarketPolicy) -> Frames:
    """Verdicts of every closed 1h and 4h bar."""
    hourly, four_hourly = metrics[Timeframe.H1], metrics[Timeframe.H4]
    return {
        Timeframe.H1: market_regime(hourly, policy=policy.regime, higher=four_hourly, calibration=policy.calibration),
        Timeframe.H4: market_regime(four_hourly, policy=policy.regime),
    }


def view_of(bars_15m: pl.DataFrame, metrics: Frames, regime: Frames, quarantined_ms: Times) -> MarketView:
    """Bring bars, metrics and verdicts of one market together."""
    joined = {
        timeframe: metrics[timeframe].hstack(regime[timeframe].drop("open_time", "close_time", "known_at"))
        for timeframe in COARSE
    }
    return MarketView(
        bars=Timeline(bars_15m),
        hourly=Timeline(joined[Timeframe.H1]),
        four_hourly=Timeline(joined[Timeframe.H4]),
        quarantined_ms=quarantined_ms,
    )


def market_view(bars_15m: pl.DataFrame, quarantined_ms: Times, policy: MarketPolicy) -> MarketView:
    """Everything that is known of one market from its 15m bars."""
    metrics = metrics_of(bars_15m, policy)
    view = view_of(bars_15m, metrics, regime_of(metrics, policy), quarantined_ms)
    return replace(view, stops=StopOutlook(bars_15m, policy.risk))


def evaluations(first_ms: int, last_ms: int) -> Times:
    """Times (epoch ms) of all evaluations in ``[first_ms, last_ms]``: every 15m close."""
    step = Timeframe.M15.ms
    return np.arange(-(-first_ms // step) * step, last_ms + 1, step, dtype=np.int64)


def evaluate(
    versions: Sequence[GridVersion],
    market: MarketView,
    policy: AdvicePolicy,
    *,
    first_ms: int,
    last_ms: int,
    problems: pl.DataFrame | None = None,
) -> Advice:
    """Advice for one grid at every evaluation in ``[first_ms, last_ms]``: the live function with both at the tick.

    Evaluations of the ``since`` window before ``first_ms`` are made too, so that runs are seen, and left out.
    """
    window_ms = int(policy.exit_state.since_window.total_seconds() * 1000)
    times = evaluations(first_ms - window_ms, last_ms)
    analysis = grid_analysis(versions, market, times, policy.exit_state)
    return advise(analysis, market, policy, problems, from_ms=first_ms)
