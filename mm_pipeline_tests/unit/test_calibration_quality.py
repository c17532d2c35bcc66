"""Scores of probabilities: against plain loops and statsmodels, and at the ends of the scale."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mm_pipeline.domain.regime.forecast_quality import (
    BLOCK_DAYS,
    forecast_quality,
    reliability_curve,
    wilson_interval,
)

Floats = NDArray[np.float64]
HOUR_MS = 3_600_000


def forecasts(rows: int, seed: int = 0) -> tuple[Floats, Floats, Floats, NDArray[np.int64]]:
    """Well-calibrated probabilities with their outcomes, the base rate, and hourly closes."""
    rng = np.random.default_rng(seed)
    predicted = rng.uniform(size=rows)
    outcome = (rng.uniform(size=rows) < predicted).astype(float)
    return predicted, outcome, np.full(rows, 0.5), np.arange(rows, dtype=np.int64) * HOUR_MS


def test_scores_agree_with_a_plain_loop() -> None:
    predicted, outcome, climatology, at_ms = forecasts(2_000)
    quality = forecast_quality(predicted, outcome, climatology, at_ms)
    assert quality is not None
    brier = base = loss = 0.0
    for p, y, c in zip(predicted.tolist(), outcome.tolist(), climatology.tolist(), strict=True):
        brier += (p - y) ** 2 / 2_000
        base += (c - y) ** 2 / 2_000
        loss -= math.log(p if y else 1 - p) / 2_000
    assert quality.brier == pytest.approx(brier, rel=1e-12)
    assert quality.brier_of_base_rate == pytest.approx(base, rel=1e-12)
    assert quality.log_loss == pytest.approx(loss, rel=1e-12)
    assert quality.skill == pytest.approx(1 - brier / base, rel=1e-12)
    assert quality.skill_low < quality.skill < quality.skill_high


def test_no_bars_have_no_quality() -> None:
    nothing = np.empty(0)
    assert forecast_quality(nothing, nothing, nothing, np.empty(0, dtype=np.int64)) is None


def test_saying_what_happens_has_skill_one_and_saying_the_base_rate_none() -> None:
    _, outcome, climatology, at_ms = forecasts(1_000)
    perfect = forecast_quality(outcome, outcome, climatology, at_ms)
    idle = forecast_quality(climatology, outcome, climatology, at_ms)
    assert perfect is not None
    assert idle is not None
    assert (perfect.brier, perfect.skill, perfect.log_loss) == (0.0, 1.0, 0.0)
    assert (idle.skill, idle.skill_low, idle.skill_high) == (0.0, 0.0, 0.0)


def test_being_surely_wrong_costs_a_finite_log_loss() -> None:
    quality = forecast_quality(np.ones(10), np.zeros(10), np.full(10, 0.5), np.arange(10, dtype=np.int64))
    assert quality is not None
    assert quality.log_loss == pytest.approx(-math.log(1e-12))


def test_bars_that_share_a_fate_within_a_block_widen_the_interval() -> None:
    hours = BLOCK_DAYS * 24
    predicted, outcome, _, _ = forecasts(40, seed=2)
    at_ms = np.arange(40 * hours, dtype=np.int64) * HOUR_MS
    half = np.full(40 * hours, 0.5)
    together = forecast_quality(np.repeat(predicted, hours), np.repeat(outcome, hours), half, at_ms)
    apart = forecast_quality(np.tile(predicted, hours), np.tile(outcome, hours), half, at_ms)
    assert together is not None
    assert apart is not None
    assert together.brier == pytest.approx(apart.brier)
    assert together.skill_high - together.skill_low > 3 * (apart.skill_high - apart.skill_low)


def test_a_rerun_gives_the_same_interval() -> None:
    assert forecast_quality(*forecasts(500)) == forecast_quality(*forecasts(500))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_reliability_bins_hold_every_bar_once_in_its_tenth(said: list[tuple[float, bool]]) -> None:
    predicted, outcome = np.array([p for p, _ in said]), np.array([float(y) for _, y in said])
    curve = reliability_curve(predicted, outcome)
    assert sum(part.count for part in curve) == len(said)
    assert sum(part.count * part.observed_share for part in curve) == pytest.approx(outcome.sum())
    assert sum(part.count * part.mean_predicted for part in curve) == pytest.approx(predicted.sum())
    assert [part.mean_predicted for part in curve] == sorted(part.mean_predicted for part in curve)
    assert all(part.share_low <= part.observed_share <= part.share_high for part in curve)


def test_certainty_falls_into_the_last_bin() -> None:
    curve = reliability_curve(np.array([0.0, 0.95, 1.0]), np.array([0.0, 1.0, 1.0]))
    assert [part.count for part in curve] == [1, 2]


# statsmodels is built on decorators that its pandas deprecates
@pytest.mark.filterwarnings("ignore:(Substitution|Appender) is deprecated")
@pytest.mark.parametrize(("seen", "count"), [(0, 5), (5, 5), (1, 3), (37, 400), (9_999, 10_000)])
def test_wilson_interval_agrees_with_statsmodels(seen: int, count: int) -> None:
    from statsmodels.stats.proportion import proportion_confint

    expected = proportion_confint(seen, count, alpha=0.05, method="wilson")
    assert wilson_interval(seen / count, count) == pytest.approx(expected, abs=1e-9)
