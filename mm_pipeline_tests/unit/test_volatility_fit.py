"""The volatility forecast: its shares are found again, from the past alone."""

import numpy as np
import pytest

from mm_pipeline.domain.errors import PipelineError
from mm_pipeline.domain.risk.volatility import realised_variances
from mm_pipeline.domain.risk.volatility_fit import (
    VolatilitySample,
    VolatilitySchedule,
    fit_volatility,
    har_shares,
    qlike,
)
from mm_pipeline_tests.risk_samples import quick_policy, simulated_bars

DAY_MS = 86_400_000
SCHEDULE = VolatilitySchedule(first_fit_days=60, step_days=30)


def sample(days: int = 200, *, size: float = 1e-6, seed: int = 2) -> VolatilitySample:
    """Closes whose next day has 0.5 of the day's variance, 0.3 of the week's and 0.2 of the month's, about."""
    random = np.random.default_rng(seed)
    variances = size * random.uniform(0.5, 2.0, (days * 12, 3))
    came = variances @ np.array([0.5, 0.3, 0.2]) * random.uniform(0.9, 1.1, len(variances))
    return VolatilitySample(np.arange(len(variances)) * DAY_MS // 12, variances, came)


def test_shares_are_found_again_whatever_the_size_of_moves() -> None:
    for size in (1e-10, 1e-6, 1e-2):
        assert har_shares(sample(size=size)) == pytest.approx((0.5, 0.3, 0.2), abs=0.01)


def test_few_crashes_do_not_make_the_fit() -> None:
    calm = sample()
    came = calm.came.copy()
    came[100] *= 1e4
    crashed = VolatilitySample(calm.closed_ms, calm.variances, came)
    assert har_shares(crashed) == pytest.approx((0.5, 0.3, 0.2), abs=0.03)


def test_table_knows_no_close_whose_next_day_was_not_over() -> None:
    whole = sample()
    fitted = fit_volatility([whole], SCHEDULE)
    assert len(fitted) == 5
    for one in fitted:
        at_ms = one.table.valid_from_ms
        changed = whole.came.copy()
        changed[whole.closed_ms + DAY_MS > at_ms] *= 1.5
        again = fit_volatility([VolatilitySample(whole.closed_ms, whole.variances, changed)], SCHEDULE)
        assert next(other.table for other in again if other.table.valid_from_ms == at_ms) == one.table
        assert one.fit_rows == np.count_nonzero(whole.closed_ms + DAY_MS <= at_ms)


def test_jump_that_no_forecast_explains_is_refused() -> None:
    whole = sample()
    with pytest.raises(PipelineError, match="no forecast"):
        fit_volatility([VolatilitySample(whole.closed_ms, whole.variances, 9 * whole.came)], SCHEDULE)


def test_each_table_is_judged_up_to_the_next() -> None:
    fitted = fit_volatility([sample()], SCHEDULE)
    assert sum(one.judged_rows for one in fitted) == 200 * 12 - 60 * 12
    assert all(one.loss is not None and one.loss_of_day is not None and one.loss < one.loss_of_day for one in fitted)


def test_qlike_is_nothing_where_every_forecast_is_right() -> None:
    came = np.array([1e-6, 4e-6])
    assert qlike(came, came) == pytest.approx(0.0)
    assert qlike(2 * came, came) == pytest.approx(0.5 + np.log(2) - 1)


def test_sample_is_of_closes_with_a_whole_day_before_and_after() -> None:
    from mm_pipeline.domain.risk import RiskHistory

    bars = simulated_bars().head(20 * 96)
    history = RiskHistory.of(bars, quick_policy())
    made = VolatilitySample.of(history)
    closed_ms = history.bars.opened_ms + 900_000
    assert made.closed_ms.min() >= closed_ms[96]
    assert made.closed_ms.max() <= closed_ms[-97]
    rows = np.searchsorted(closed_ms, made.closed_ms)
    close = bars["close"].to_numpy()
    for place in (0, len(rows) // 2, len(rows) - 1):
        row = int(rows[place])
        returns = np.diff(np.log(close[row : row + 97]))
        assert made.came[place] == pytest.approx(np.mean(returns**2))


def test_return_that_ends_a_hole_counts_nowhere() -> None:
    opened_ms = np.arange(300) * 900_000
    close = 100.0 * np.exp(0.001 * (np.arange(300) % 2))
    close[200:] *= 3.0
    is_kept = np.arange(300) != 200
    whole, holed = (realised_variances(opened_ms[kept], close[kept]) for kept in (np.full(300, True), is_kept))
    assert whole[-1, 1] > 1000 * holed[-1, 1]
    assert np.isnan(holed[205]).all()  # a return of the last day is missing
    assert holed[150, 1] == whole[150, 1]
