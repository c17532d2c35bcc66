"""Any candles: metrics and 4h verdicts equal the plain loop. Any set of fired triggers: so does the state."""

from __future__ import annotations

from dataclasses import asdict
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_pipeline.domain.exit_state import STATES
from mm_pipeline.domain.exit_state.states import decide_state
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.metrics import market_metrics
from mm_pipeline.domain.regime.verdict import market_regime
from mm_pipeline_tests.reference.bars import Bars, frame_of
from mm_pipeline_tests.reference.exit_sides import POLICIES
from mm_pipeline_tests.reference.exit_state import TRIGGERS, state_of
from mm_pipeline_tests.reference.metrics import MarketMetrics
from mm_pipeline_tests.reference.sides import METRICS_POLICY, REGIME_POLICY, columns_of
from mm_pipeline_tests.reference.verdict import RegimeJudge

BARS = 290
MOODS = ("walk", "flat", "jumps", "drift", "range")
# where the ATR has almost died away a gap of EMAs is a rounding error over a rounding error
NEAR_ZERO = 1e-9

pieces = st.lists(st.tuples(st.sampled_from(MOODS), st.integers(20, 150)), min_size=1, max_size=5)
ticks = st.sampled_from([None, 0.01, 1.0, 25.0])


def bars_made_of(parts: list[tuple[str, int]], *, seed: int, tick: float | None, length_ms: int) -> Bars:
    """Bars that walk, stand still, jump, drift or range by turns; prices on a grid of ticks or any float."""
    random = np.random.default_rng(seed)
    moods = [mood for mood, count in parts for _ in range(count)]
    moods = (moods * (BARS // len(moods) + 1))[:BARS]
    log_price = level = np.log(2000 * random.uniform(0.5, 2))
    rows: list[tuple[float, float, float, float]] = []
    for mood in moods:
        before = log_price
        step = random.normal(0, 0.005)
        if mood == "flat":
            step = 0.0
        if mood == "jumps":
            step = random.choice((0.0, 0.0, 0.0, 0.03, -0.03))
        if mood == "drift":
            step += 0.003
        if mood == "range":
            step += 0.3 * (level - log_price)
        log_price = before + step
        wicks = np.zeros(2) if mood == "flat" else np.abs(random.normal(0, 0.003, 2))
        logs = (before, max(before, log_price) + wicks[0], min(before, log_price) - wicks[1], log_price)
        rows.append(tuple(_on_grid(float(np.exp(x)), tick) for x in logs))  # type: ignore[arg-type]
    times = [length_ms * i for i in range(BARS)]
    closes = [time + length_ms for time in times]
    opened, high, low, close = ([row[i] for row in rows] for i in range(4))
    return Bars(times, closes, closes, opened, high, low, close, [1.0] * BARS, [False] * BARS)


def _on_grid(price: float, tick: float | None) -> float:
    return price if tick is None else max(tick, round(price / tick) * tick)


def _endless(values: Any) -> Any:
    """A statistic of a residual that is nothing but rounding is endless, whether the last bit makes it so or not."""
    return np.where(np.abs(values) > 1e9, np.copysign(np.inf, values), values)


def assert_same(package: dict[str, list[Any]], loop: list[dict[str, Any]]) -> None:
    for name in loop[0]:
        expected = [row[name] for row in loop]
        if any(isinstance(value, str) for value in expected):
            assert package[name] == expected, name
        else:
            values, wanted = (_endless(np.array(column, dtype=float)) for column in (package[name], expected))
            np.testing.assert_allclose(values, wanted, rtol=1e-9, atol=NEAR_ZERO, err_msg=name)


@settings(max_examples=40, deadline=None)
@given(parts=pieces, seed=st.integers(0, 2**32 - 1), tick=ticks)
def test_metrics_of_any_candles_equal_the_plain_loop(parts: list[tuple[str, int]], seed: int, tick: float) -> None:
    bars = bars_made_of(parts, seed=seed, tick=tick, length_ms=Timeframe.H1.ms)
    package = columns_of(market_metrics(frame_of(bars), Timeframe.H1, METRICS_POLICY))
    assert_same(package, MarketMetrics(bars, Timeframe.H1.ms).rows())


@settings(max_examples=20, deadline=None)
@given(parts=pieces, seed=st.integers(0, 2**32 - 1), tick=ticks)
def test_4h_verdicts_of_any_candles_equal_the_plain_loop(parts: list[tuple[str, int]], seed: int, tick: float) -> None:
    bars = bars_made_of(parts, seed=seed, tick=tick, length_ms=Timeframe.H4.ms)
    metrics = market_metrics(frame_of(bars), Timeframe.H4, METRICS_POLICY)
    package = columns_of(market_regime(metrics, policy=REGIME_POLICY)[-30:])
    judge = RegimeJudge(MarketMetrics(bars, Timeframe.H4.ms))
    assert_same(package, [asdict(judge.at(t)) for t in range(BARS - 30, BARS)])


def test_flat_market_has_the_values_agreed_for_one() -> None:
    bars = bars_made_of([("flat", BARS)], seed=1, tick=None, length_ms=Timeframe.H1.ms)
    package = columns_of(market_metrics(frame_of(bars), Timeframe.H1, METRICS_POLICY)[-1:])
    zeros = ("zscore_20", "efficiency_ratio_24", "atr_14", "ema_gap_atr", "adx_14", "realised_volatility_24")
    nulls = ("volatility_expansion", "variance_ratio_10", "ou_kappa", "ou_half_life_bars", "ou_t", "range_high")
    assert {name: package[name] for name in zeros} == {name: [0.0] for name in zeros}
    assert {name: package[name] for name in nulls} == {name: [None] for name in nulls}
    assert package["ou_status"] == ["INCONCLUSIVE"]


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize(("is_good", "is_fresh"), list(product((False, True), repeat=2)))
def test_state_of_every_set_of_triggers_equals_the_plain_table(name: str, is_good: bool, is_fresh: bool) -> None:
    package_policy, rules = POLICIES[name]
    sets = list(product((False, True), repeat=len(TRIGGERS)))
    fired = {trigger: np.array([chosen[i] for chosen in sets]) for i, trigger in enumerate(TRIGGERS)}
    good, fresh = (np.full(len(sets), flag) for flag in (is_good, is_fresh))
    codes = decide_state(
        fired,
        is_good=good,
        is_fresh=fresh,
        has_metrics=np.ones_like(good),
        has_hole=np.zeros_like(good),
        policy=package_policy,
    )
    expected = [
        state_of([t for t, on in zip(TRIGGERS, chosen, strict=True) if on], rules, is_good=is_good, is_fresh=is_fresh)
        for chosen in sets
    ]
    assert [STATES[code] for code in codes] == expected
