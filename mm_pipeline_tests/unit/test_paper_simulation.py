"""Simulated markets: sane bars, the same for the same seed, and regimes that are what their labels say."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.paper.markets.regimes import (
    DEFAULT_PARAMETERS,
    RegimeParameters,
    Segment,
    SwitchingParameters,
    TrueRegime,
    mirrored,
)
from mm_pipeline.paper.markets.simulation import simulate_market

START = datetime(2025, 1, 1, tzinfo=UTC)
RANGE, TRANSITION, TREND = TrueRegime.RANGE, TrueRegime.TRANSITION, TrueRegime.TREND


def _hourly_closes(frame: pl.DataFrame) -> np.ndarray:
    return frame["close"].to_numpy()[3::4]


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    bars=st.integers(1, 600),
    increment=st.sampled_from([0.01, 0.1, 0.0001, 5.0]),
    quiet_share=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_bars_are_sane_whatever_the_seed(seed: int, bars: int, increment: float, quiet_share: float) -> None:
    frame = simulate_market(
        seed=seed, start=START, bars=bars, price_increment=increment, quiet_share=quiet_share, start_price=50.0
    )
    assert frame["open_time"].to_list() == [START + timedelta(minutes=15 * i) for i in range(bars)]
    body_high = pl.max_horizontal("open", "close")
    body_low = pl.min_horizontal("open", "close")
    assert frame.filter((pl.col("high") < body_high) | (pl.col("low") > body_low) | (pl.col("low") <= 0)).is_empty()
    ticks = frame.select("open", "high", "low", "close").to_numpy() / increment
    assert np.allclose(ticks, np.round(ticks), atol=1e-6)
    quiet = frame.with_columns(before=pl.col("close").shift(1)).filter(pl.col("volume") == 0)
    assert quiet.filter(~pl.all_horizontal(pl.col("open", "high", "low", "close") == pl.col("before"))).is_empty()
    assert frame["volume"][0] > 0


@pytest.mark.parametrize("scenario", [None, (Segment(regime=TRANSITION, hours=20), Segment(regime=TREND, hours=5))])
def test_more_bars_continue_the_same_market(scenario: tuple[Segment, ...] | None) -> None:
    short = simulate_market(seed=7, start=START, bars=300, scenario=scenario, quiet_share=0.1)
    longer = simulate_market(seed=7, start=START, bars=900, scenario=scenario, quiet_share=0.1)
    assert longer.head(300).equals(short)


def test_other_seed_or_start_gives_another_market() -> None:
    first = simulate_market(seed=7, start=START, bars=100)["close"]
    assert not simulate_market(seed=8, start=START, bars=100)["close"].equals(first)
    assert not simulate_market(seed=7, start=START + timedelta(hours=4), bars=100)["close"].equals(first)


def test_script_is_played_with_its_labels_and_its_last_segment_goes_on() -> None:
    scenario = (Segment(regime=RANGE, hours=3), Segment(regime=TRANSITION, hours=1), Segment(regime=TREND, hours=1))
    labels = simulate_market(seed=1, start=START, bars=40, scenario=scenario)["true_regime"].to_list()
    assert labels == ["RANGE"] * 12 + ["TRANSITION"] * 4 + ["TREND"] * 24


def test_range_reverts_to_its_level_with_its_half_life_and_spread() -> None:
    parameters = RegimeParameters(half_life_h=4, volatility_pct_per_h=0.5, level=2000.0)
    frame = simulate_market(
        seed=3, start=START, bars=40_000, scenario=(Segment(regime=RANGE, hours=1, parameters=parameters),)
    )
    deviation = np.log(_hourly_closes(frame)[200:] / 2000.0)
    decay = 0.5 ** (1 / 4)
    minute_decay = 0.5 ** (1 / 240)
    spread = 0.005 / math.sqrt(60) / math.sqrt(1 - minute_decay**2)
    assert abs(deviation.mean()) < 0.1 * spread
    assert deviation.std() == pytest.approx(spread, rel=0.05)
    assert np.corrcoef(deviation[:-1], deviation[1:])[0, 1] == pytest.approx(decay, abs=0.02)


def test_price_away_from_its_level_comes_back_by_half_in_a_half_life() -> None:
    still = RegimeParameters(half_life_h=4, volatility_pct_per_h=0, level=2000.0)
    scenario = (Segment(regime=RANGE, hours=1, parameters=still),)
    frame = simulate_market(seed=1, start=START, bars=32, scenario=scenario, start_price=2000.0 * 1.21)
    assert frame["open"][0] == 2420.0
    assert frame["close"][15] == pytest.approx(2000.0 * 1.1, abs=0.01)
    assert frame["close"][31] == pytest.approx(2000.0 * 1.1**0.5, abs=0.01)


def test_range_that_breaks_down_goes_through_a_stop_only_after_the_break() -> None:
    calm = RegimeParameters(half_life_h=4, volatility_pct_per_h=0.4, level=3000.0)
    down = RegimeParameters(volatility_pct_per_h=0.4, drift_pct_per_h=-0.5)
    scenario = (
        Segment(regime=RANGE, hours=240, parameters=calm),
        Segment(regime=TREND, hours=24, parameters=down),
    )
    lows = simulate_market(seed=1, start=START, bars=1056, scenario=scenario)["low"]
    stop = 2850.0
    assert lows[:960].min() > stop > lows[960:].min()


def test_trend_drifts_as_told_and_its_mirror_goes_the_other_way() -> None:
    up = RegimeParameters(volatility_pct_per_h=0.3, drift_pct_per_h=0.4)
    for parameters, sign in ((up, 1), (mirrored(up), -1)):
        segment = Segment(regime=TREND, hours=1, parameters=parameters)
        closes = _hourly_closes(simulate_market(seed=5, start=START, bars=1600, scenario=(segment,)))
        returns = np.diff(np.log(closes))
        assert returns.mean() == pytest.approx(sign * 0.004, abs=3 * 0.003 / math.sqrt(returns.size))
        assert returns.std() == pytest.approx(0.003, rel=0.1)


def test_transition_expands_volatility_over_its_hours() -> None:
    parameters = RegimeParameters(volatility_pct_per_h=0.3, volatility_growth=4)
    segment = Segment(regime=TRANSITION, hours=2000, parameters=parameters)
    closes = simulate_market(seed=5, start=START, bars=8000, scenario=(segment,))["close"].to_numpy()
    returns = np.diff(np.log(closes))
    assert returns[-800:].std() / returns[:800].std() == pytest.approx((1 + 3 * 0.95) / (1 + 3 * 0.05), rel=0.12)


def test_opening_jump_moves_the_price_in_a_flagged_bar() -> None:
    calm = RegimeParameters(volatility_pct_per_h=0.01, half_life_h=4)
    broken = replace(calm, opening_jump_pct=-6.0)
    scenario = (Segment(regime=RANGE, hours=5, parameters=calm), Segment(regime=TREND, hours=1, parameters=broken))
    frame = simulate_market(seed=2, start=START, bars=40, scenario=scenario, start_price=1000.0)
    assert frame["is_jump"].arg_true().to_list() == [20]
    assert frame["open"][20] == pytest.approx(1000, rel=0.002)
    assert frame["low"][20] == pytest.approx(940, rel=0.002)
    assert frame["close"][39] == pytest.approx(940, rel=0.002)


def test_jumps_come_as_often_as_told_and_only_in_flagged_bars() -> None:
    parameters = RegimeParameters(volatility_pct_per_h=0.01, jumps_per_day=4, jump_pct=3)
    segment = Segment(regime=TREND, hours=1, parameters=parameters)
    frame = simulate_market(seed=2, start=START, bars=9600, scenario=(segment,))
    assert frame["is_jump"].sum() == pytest.approx(400, rel=0.2)
    moves = frame.select((pl.col("close") / pl.col("open")).log().abs(), "is_jump")
    assert moves.filter(~pl.col("is_jump"))["close"].max() < 0.001
    assert moves.filter("is_jump")["close"].median() == pytest.approx(0.03 * 0.6745, rel=0.2)


def test_switching_visits_all_regimes_for_about_their_mean_times() -> None:
    labels = simulate_market(seed=11, start=START, bars=200_000)["true_regime"]
    runs = labels.rle().struct.unnest()
    mean_h = {row[0]: row[1] / 4 for row in runs.group_by("value").agg(pl.col("len").mean()).rows()}
    switching = SwitchingParameters()
    assert mean_h["RANGE"] == pytest.approx(switching.range_h, rel=0.15)
    assert mean_h["TREND"] == pytest.approx(switching.trend_h, rel=0.15)
    assert mean_h["TRANSITION"] == pytest.approx(switching.transition_h, rel=0.15)


def test_quiet_share_is_met() -> None:
    frame = simulate_market(seed=4, start=START, bars=5000, quiet_share=0.2)
    assert (frame["volume"] == 0).mean() == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"seed": -1}, "seed"),
        ({"bars": 0}, "bars"),
        ({"start": START + timedelta(minutes=1)}, "15m boundary"),
        ({"start": START.replace(tzinfo=None)}, "time zone"),
        ({"quiet_share": 1.5}, "quiet_share"),
        ({"scenario": ()}, "scenario"),
        ({"scenario": (Segment(regime=RANGE, hours=1),), "switching": SwitchingParameters()}, "scenario"),
    ],
)
def test_bad_argument_is_refused_by_name(argument: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        simulate_market(**{"seed": 1, "start": START, "bars": 10, **argument})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"half_life_h": 0},
        {"volatility_pct_per_h": -1},
        {"volatility_growth": 0},
        {"jumps_per_day": -1},
        {"jump_pct": float("nan")},
        {"opening_jump_pct": -100},
        {"level": 0},
    ],
)
def test_parameter_out_of_range_is_refused_by_name(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        replace(DEFAULT_PARAMETERS[RANGE], **change)
