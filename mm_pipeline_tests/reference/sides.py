"""The package's computation and the plain loop behind one shape, so that a test can ask either the same question."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import polars as pl

from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.metrics import MetricsPolicy, market_metrics
from mm_pipeline.domain.regime.confidence import CONFIDENCE_FEATURES
from mm_pipeline.domain.regime.features import TRANSITION_FEATURES
from mm_pipeline.domain.regime.logistic import LogisticSeries, LogisticTable
from mm_pipeline.domain.regime.policy import (
    RangePolicy,
    RegimePolicy,
    ShownVerdictPolicy,
    TransitionPolicy,
    TrendPolicy,
    WeakeningPolicy,
)
from mm_pipeline.domain.regime.verdict import Calibration, market_regime
from mm_pipeline_tests.reference.bars import Bars, frame_of
from mm_pipeline_tests.reference.metrics import MarketMetrics
from mm_pipeline_tests.reference.samples import Sample, loops_of
from mm_pipeline_tests.reference.verdict import RegimeJudge

Columns = dict[str, list[Any]]
MetricsOf = Callable[[Bars, Timeframe, Sequence[int]], Columns]


def _series(features: Sequence[str], *, intercept: float, weight: float) -> LogisticSeries:
    coefficients = tuple(weight * (-1) ** i for i in range(len(features)))
    return LogisticSeries(tuple(features), (LogisticTable(0, intercept, coefficients),))


METRICS_POLICY = MetricsPolicy(touch_atr=0.25, dickey_fuller_critical=-2.88, kappa_upper_z=1.645)

REGIME_POLICY = RegimePolicy(
    trend=TrendPolicy(
        min_confirmations=3,
        min_confirmations_4h=3,
        leaning_confirmations=2,
        efficiency_ratio=0.49,
        ema_gap_atr=0.25,
    ),
    transition=TransitionPolicy(
        p_transition=0.5, min_signals=2, efficiency_ratio=0.42, rising_bars=6, volatility_expansion=1.25
    ),
    range=RangePolicy(min_score=0.6, full_touches=3, full_crossings=6, full_dickey_fuller_t=2.88),
    shown=ShownVerdictPolicy(window_bars=24),
    weakening=WeakeningPolicy(p_transition=0.40, confidence_bars=6, confidence_drop=0.10),
)

CALIBRATION = Calibration(
    _series(TRANSITION_FEATURES, intercept=-0.9, weight=-0.6),
    _series(CONFIDENCE_FEATURES, intercept=0.3, weight=0.8),
)
"""Made-up tables that move p_transition and confidence across every threshold; nothing is claimed of their fit."""

_KEYS = ("open_time", "close_time", "known_at")
RELATIVE = 1e-9
NEAR_ZERO = 1e-12


def loop_metrics(bars: Bars, timeframe: Timeframe, rows: Sequence[int]) -> Columns:
    """Metrics of these bars by the plain loop; times in epoch ms."""
    found = MarketMetrics(bars, timeframe.ms).rows(rows)
    return {name: [row[name] for row in found] for name in found[0]}


def package_metrics(bars: Bars, timeframe: Timeframe, rows: Sequence[int]) -> Columns:
    """Metrics of these bars by the package; times in epoch ms."""
    return columns_of(market_metrics(frame_of(bars), timeframe, METRICS_POLICY)[list(rows)])


def columns_of(frame: pl.DataFrame) -> Columns:
    """A frame as lists, times in epoch ms."""
    return frame.with_columns(pl.selectors.datetime().dt.epoch("ms")).to_dict(as_series=False)


def is_same(value: Any, expected: Any) -> bool:
    """Equal; for numbers to 1e-9 relative, absolute near 0."""
    if isinstance(value, int | float) and isinstance(expected, int | float):
        return math.isclose(value, expected, rel_tol=RELATIVE, abs_tol=NEAR_ZERO)
    return bool(value == expected)


def differences(values: Sequence[Any], expected: Sequence[Any], *, limit: int = 5) -> list[tuple[int, Any, Any]]:
    """The first places where two columns differ: position, value, expected value."""
    pairs = enumerate(zip(values, expected, strict=True))
    return [(i, value, wanted) for i, (value, wanted) in pairs if not is_same(value, wanted)][:limit]


@lru_cache(maxsize=8)
def market_frames(sample: Sample) -> dict[Timeframe, pl.DataFrame]:
    """The package's metrics and verdicts of a sample, one frame a timeframe."""
    hours = market_metrics(frame_of(sample.hours), Timeframe.H1, METRICS_POLICY)
    coarse = market_metrics(frame_of(sample.coarse), Timeframe.H4, METRICS_POLICY)
    verdicts = market_regime(hours, policy=REGIME_POLICY, higher=coarse, calibration=CALIBRATION)
    verdicts_4h = market_regime(coarse, policy=REGIME_POLICY)
    return {
        Timeframe.H1: pl.concat([hours, verdicts.drop(_KEYS)], how="horizontal"),
        Timeframe.H4: pl.concat([coarse, verdicts_4h.drop(_KEYS)], how="horizontal"),
    }


@lru_cache(maxsize=8)
def judges_of(sample: Sample) -> tuple[RegimeJudge, RegimeJudge]:
    """The plain loop's verdicts at 1h and 4h, with the package's two modelled columns as inputs."""
    hours, coarse = loops_of(sample)
    modelled = columns_of(market_frames(sample)[Timeframe.H1].select("p_transition", "confidence"))
    hourly = RegimeJudge(hours, coarse, p_transition=modelled["p_transition"], confidence=modelled["confidence"])
    return hourly, RegimeJudge(coarse)
