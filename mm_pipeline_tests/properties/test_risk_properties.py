"""One evaluation and many give the same bits, and neither the future nor the past beyond the look-back changes any."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mm_pipeline.domain.candles import fill_gaps
from mm_pipeline.domain.columns import epoch_ms
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.pipeline import evaluations
from mm_pipeline.domain.risk import HORIZONS, RISK_SCHEMA, RiskHistory, RiskPolicy, risk_rows
from mm_pipeline_tests.markets import ETH_2022_2025, grid_around, recorded_candles, simulated_candles, version_of
from mm_pipeline_tests.risk_samples import risk_policy

DAY_MS = 86_400_000
LOSSES = [name for name in RISK_SCHEMA if name.startswith(("capital_at_risk", "giveback"))]


def policy_of(days: int) -> RiskPolicy:
    return risk_policy(history_days=days, min_history_days=7, draw_every_bars=11)


def live(candles: pl.DataFrame, grid: Grid, at_ms: int, policy: RiskPolicy) -> pl.DataFrame:
    """One evaluation from the candles that were there: back to the look-back or the grid's start, none after it."""
    opened = epoch_ms(candles["open_time"])
    closed = opened[opened + 900_000 <= at_ms] + 900_000
    first_ms = min(int(closed[-1]) - policy.lookback_ms, grid.started_at_ms)
    there = candles.filter(pl.Series((opened >= first_ms) & (opened + 900_000 <= at_ms)))
    history = RiskHistory.of(fill_gaps(there, quarantined_ms=None), policy)
    return risk_rows(version_of(grid), history, np.array([at_ms]), policy)


def check_live_equals_replay(candles: pl.DataFrame, *, grids: int, evaluated: int, days: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    policy = policy_of(days)
    history = RiskHistory.of(fill_gaps(candles, quarantined_ms=None), policy)
    seen = holding = 0
    for _ in range(grids):
        row = int(random.integers((days + 3) * 96, len(candles) - 10 * 96))
        start = candles["open_time"][row] - timedelta(minutes=int(random.integers(0, 15)))
        grid = grid_around(candles["close"][row], start, width=float(random.uniform(0.02, 0.2)), levels=11)
        times = evaluations(grid.started_at_ms, grid.started_at_ms + 8 * DAY_MS)
        replay = risk_rows(version_of(grid), history, times, policy)
        for place in random.choice(len(times), evaluated, replace=False):
            alone = live(candles, grid, int(times[place]), policy)
            assert alone.equals(replay[int(place)]), f"grid started at {start}, evaluated at {times[place]}"
            seen += alone[LOSSES[0]][0] is not None
            holding += (alone["inventory_base"][0] or 0) > 0
    assert seen > grids * evaluated // 2
    assert holding > grids * evaluated // 5


def test_live_evaluation_of_a_recorded_market_equals_the_replay_bit_for_bit(recorded_data: Path) -> None:
    candles = recorded_candles(recorded_data / ETH_2022_2025)
    check_live_equals_replay(candles, grids=6, evaluated=6, days=60, seed=1)


def test_live_evaluation_of_a_simulated_market_with_gaps_equals_the_replay_bit_for_bit() -> None:
    check_live_equals_replay(simulated_candles(), grids=4, evaluated=12, days=20, seed=2)


def test_live_evaluation_around_a_halt_equals_the_replay_bit_for_bit(recorded_data: Path) -> None:
    """Five candles are missing after 12:30 on 2023-03-24: filled bars are known only when the gap has ended."""
    candles = recorded_candles(recorded_data / ETH_2022_2025)
    policy = policy_of(30)
    grid = grid_around(1800.0, candles["open_time"][42_900], width=0.1, levels=21)
    history = RiskHistory.of(fill_gaps(candles, quarantined_ms=None), policy)
    halt_ms = 1_679_660_100_000  # 12:15 on that day
    times = np.arange(halt_ms, halt_ms + 16 * 900_000, 900_000)
    replay = risk_rows(version_of(grid), history, times, policy)
    assert replay.equals(pl.concat(live(candles, grid, int(at), policy) for at in times))
    assert replay["price"].n_unique() < len(times) - 4


@pytest.mark.parametrize("seed", range(3))
def test_losses_scale_with_capital_and_are_ordered(seed: int) -> None:
    candles, policy = simulated_candles(), policy_of(20)
    history = RiskHistory.of(fill_gaps(candles, quarantined_ms=None), policy)
    row = 40 * 96 + 500 * seed
    grid = grid_around(candles["close"][row], candles["open_time"][row], width=0.08, levels=9)
    times = evaluations(grid.started_at_ms + DAY_MS, grid.started_at_ms + 2 * DAY_MS)
    plain = risk_rows(version_of(grid), history, times, policy)
    scaled = risk_rows(version_of(grid.model_copy(update={"capital": 7 * grid.capital})), history, times, policy)
    for name in (*LOSSES, "worst_case_quote"):
        np.testing.assert_allclose(scaled[name].to_numpy(), 7 * plain[name].to_numpy(), rtol=1e-9, atol=1e-9)
    for horizon in HORIZONS:
        assert (plain[f"giveback_p50_{horizon}_quote"] <= plain[f"giveback_p90_{horizon}_quote"]).all()
        # The worst twentieth is worse than the worst tenth, and selling costs a fee.
        assert (plain[f"giveback_p90_{horizon}_quote"] <= plain[f"capital_at_risk_{horizon}_quote"] + 1e-9).all()
