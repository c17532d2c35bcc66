"""What is foretold, against a plain loop; and which bars may be asked about at all."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.regime.samples import HORIZON_BARS, leaves_range, stays_shown, transition_sample
from mm_pipeline_tests.reference.calibration import HOUR_MS, history_of, random_walk

PRICE = st.sampled_from([1.0, 2.0, 3.0, 4.0, 5.0])
BOUND = st.one_of(st.just(float("nan")), PRICE)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(PRICE, BOUND, BOUND), min_size=1, max_size=40))
def test_leaving_the_range_agrees_with_a_plain_loop(bars: list[tuple[float, float, float]]) -> None:
    close, high, low = (np.array(column) for column in zip(*bars, strict=True))
    found = leaves_range(close, high, low)
    for bar in range(len(bars)):
        ahead = close[bar + 1 : bar + 1 + HORIZON_BARS]
        if len(ahead) < HORIZON_BARS or not high[bar] > low[bar]:
            assert np.isnan(found[bar])
        else:
            assert found[bar] == float(any(c > high[bar] or c < low[bar] for c in ahead))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([-1, 0, 0, 0, 0, 0, 3]), min_size=1, max_size=40))
def test_an_unchanged_verdict_agrees_with_a_plain_loop(codes: list[int]) -> None:
    found = stays_shown(np.array(codes))
    for bar, code in enumerate(codes):
        ahead = codes[bar + 1 : bar + 1 + HORIZON_BARS]
        if len(ahead) < HORIZON_BARS or code < 0 or min(ahead) < 0:
            assert np.isnan(found[bar])
        else:
            assert found[bar] == float(all(later == code for later in ahead))


def test_a_close_on_the_bound_has_not_left_the_range() -> None:
    close = np.array([2.0] + [3.0, 1.0] * 4)
    assert leaves_range(close, np.full(9, 3.0), np.full(9, 1.0))[0] == 0.0


def test_bars_before_a_hole_are_not_asked_about() -> None:
    candles = random_walk(days=60, seed=1)
    hole_at = 1200 * HOUR_MS
    whole = transition_sample(history_of(candles))
    holed = transition_sample(history_of(candles, quarantined_ms=hole_at))
    missing = set(whole.close_ms.tolist()) - set(holed.close_ms.tolist())
    assert {hole_at + HOUR_MS - k * HOUR_MS for k in range(HORIZON_BARS + 1)} <= missing
    assert not missing & set(range(0, hole_at - HORIZON_BARS * HOUR_MS, HOUR_MS))


def test_an_outcome_behind_a_filled_gap_is_known_when_the_gap_ends() -> None:
    candles = random_walk(days=60, seed=2)
    gap_from, gap_until = 1200 * HOUR_MS, 1206 * HOUR_MS
    opened = pl.col("open_time").to_physical()
    sample = transition_sample(history_of(candles.filter((opened < gap_from) | (opened >= gap_until))))
    known = dict(zip(sample.close_ms.tolist(), sample.outcome_known_ms.tolist(), strict=True))
    ends = gap_until + Timeframe.M15.ms
    last_filled = gap_from - (HORIZON_BARS - 2) * HOUR_MS
    assert known[last_filled - 2 * HOUR_MS] == last_filled + (HORIZON_BARS - 2) * HOUR_MS
    assert known[last_filled] == ends
    assert known[gap_until + 3 * HOUR_MS] == gap_until + (3 + HORIZON_BARS) * HOUR_MS


@pytest.mark.parametrize("warm_days", [45, 55])
def test_bars_before_the_warm_up_are_not_asked_about(warm_days: int) -> None:
    sample = transition_sample(history_of(random_walk(days=60, seed=3), warm_days=warm_days))
    assert sample.close_ms.min() == warm_days * 24 * HOUR_MS
