"""Sums of windows: equal windows have equal bits, wherever they stand and whatever stands before them."""

import math

import numpy as np
import pytest

from mm_pipeline.domain.candles import fill_gaps, resample
from mm_pipeline.domain.indicators.mean_reversion import ornstein_uhlenbeck
from mm_pipeline.domain.indicators.windows import finite_mean, moving_sum
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.metrics import market_metrics
from mm_pipeline_tests.markets import settings_of, simulated_candles

VALUES = np.random.default_rng(5).lognormal(7, 2, 1000)


@pytest.mark.parametrize("n", [1, 2, 3, 24, 93, 168, 231])
@pytest.mark.parametrize("decay", [1.0, 0.93])
def test_sum_is_that_of_a_plain_loop_and_hangs_on_its_window_alone(n: int, decay: float) -> None:
    sums = moving_sum(VALUES, n, decay=decay)
    assert np.isnan(sums[: n - 1]).all()
    plain = [math.fsum(decay**k * VALUES[t - k] for k in range(n)) for t in range(n - 1, len(VALUES))]
    np.testing.assert_allclose(sums[n - 1 :], plain, rtol=1e-14)
    for first in (1, 7, 100):
        np.testing.assert_array_equal(moving_sum(VALUES[first:], n, decay=decay)[n - 1 :], sums[first + n - 1 :])


def test_inputs_shorter_than_the_window_have_no_sum() -> None:
    assert np.isnan(moving_sum(VALUES[:5], 24)).all()
    assert len(moving_sum(VALUES[:0], 24)) == 0
    assert np.isnan(finite_mean(VALUES[:50], 0.9)).all()


def test_window_of_zeros_sums_to_zero_after_a_large_value() -> None:
    values = np.concatenate([[1e18], np.zeros(50)])
    assert (moving_sum(values, 24)[24:] == 0.0).all()


def test_half_life_hangs_on_its_window_alone() -> None:
    whole = ornstein_uhlenbeck(VALUES, 100, 1.645)
    for first in (1, 33):
        part = ornstein_uhlenbeck(VALUES[first:], 100, 1.645)
        for name in ("rho", "kappa", "kappa_upper", "t"):
            np.testing.assert_array_equal(getattr(part, name)[100:], getattr(whole, name)[first + 100 :])


@pytest.mark.parametrize("timeframe", [Timeframe.H1, Timeframe.H4])
def test_metrics_have_the_same_bits_whatever_the_lookback(timeframe: Timeframe) -> None:
    bars = resample(fill_gaps(simulated_candles(days=160), quarantined_ms=None), timeframe)
    policy = settings_of().market.metrics
    whole = market_metrics(bars, timeframe, policy)
    lookback = len(bars) // 2
    for first in (1, 2, 3, 5, 8, 13):
        part = market_metrics(bars[first:], timeframe, policy)
        expected, found = whole[first + lookback :], part[lookback:]
        for name in whole.columns:
            assert found[name].equals(expected[name], null_equal=True), (first, name)
        assert found.equals(expected)
    assert whole["ema_gap_atr"][lookback:].null_count() == 0
