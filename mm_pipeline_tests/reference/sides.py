"""The package's computation and the plain loop behind one shape, so that a test can ask either the same question."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.metrics import MetricsPolicy, market_metrics
from mm_pipeline_tests.reference.bars import Bars, frame_of
from mm_pipeline_tests.reference.metrics import MarketMetrics

Columns = dict[str, list[Any]]
MetricsOf = Callable[[Bars, Timeframe, Sequence[int]], Columns]

METRICS_POLICY = MetricsPolicy(touch_atr=0.25, dickey_fuller_critical=-2.88, kappa_upper_z=1.645)

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
