"""Every metric of the package equals a plain loop over bars and windows, written from SPEC 3 alone, to 1e-9."""

from __future__ import annotations

from typing import Any

import pytest

from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.metrics import market_metrics
from mm_pipeline_tests.reference.bars import frame_of
from mm_pipeline_tests.reference.samples import EVERY_SAMPLE, SIMULATED, Sample, loops_of, sample_named
from mm_pipeline_tests.reference.sides import METRICS_POLICY, columns_of, differences

BARS_TO_FIRST_VALUE = {
    "efficiency_ratio_24": 25,
    "ema_20": 93,
    "ema_50": 231,
    "atr_14": 126,
    "volatility_expansion": 201,
    "adx_14": 250,
    "zscore_20": 20,
    "realised_volatility_168": 169,
    "variance_ratio_10": 241,
    "ou_kappa": 240,
    "ou_kappa_baseline": 960,
    "swing_structure": 74,
    "bandwidth_rank": 739,
}
"""Lookbacks in bars worked out by hand from SPEC 1 and 3: windows, Wilder 125, EMA 93 and 231, compositions added."""


@pytest.fixture(scope="module", params=EVERY_SAMPLE)
def sample(request: pytest.FixtureRequest) -> Sample:
    recorded_data = None if request.param == SIMULATED else request.getfixturevalue("recorded_data")
    return sample_named(request.param, recorded_data)


@pytest.mark.parametrize("timeframe", [Timeframe.H1, Timeframe.H4])
def test_every_metric_of_every_bar_equals_the_plain_loop(sample: Sample, timeframe: Timeframe) -> None:
    loop = loops_of(sample)[0 if timeframe is Timeframe.H1 else 1]
    package = columns_of(market_metrics(frame_of(loop.bars), timeframe, METRICS_POLICY))
    rows = loop.rows()
    found = {name: differences(package[name], [row[name] for row in rows]) for name in rows[0]}
    assert {name: pairs for name, pairs in found.items() if pairs} == {}


def test_stretches_reach_every_metric_and_every_category(sample: Sample) -> None:
    rows: list[dict[str, Any]] = loops_of(sample)[0].rows()
    assert [name for name in rows[0] if all(row[name] is None for row in rows)] == []
    assert {row["swing_structure"] for row in rows} >= {"UP", "DOWN", "MIXED"}
    assert len({row["ou_status"] for row in rows} - {None}) >= 2


def test_first_value_appears_when_the_lookback_is_complete() -> None:
    bars = sample_named(SIMULATED, None).hours
    package = columns_of(market_metrics(frame_of(bars), Timeframe.H1, METRICS_POLICY))
    first = {name: next(i + 1 for i, v in enumerate(package[name]) if v is not None) for name in BARS_TO_FIRST_VALUE}
    assert first == BARS_TO_FIRST_VALUE


def test_mean_reversion_is_absent_from_4h_bars() -> None:
    bars = sample_named(SIMULATED, None).coarse
    package = columns_of(market_metrics(frame_of(bars), Timeframe.H4, METRICS_POLICY))
    assert all(value is None for name in package if name.startswith("ou_") for value in package[name])
