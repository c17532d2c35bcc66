"""The compiled paths against the plain ones: the same pool, and the same figures to 1e-9."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from mm_pipeline.domain.position import GridLadder, simulate_grid, worst_case_quote
from mm_pipeline.domain.risk import GridPositions, RiskPolicy, StandardisedBars, path_seeds, position_risk, risk_rows
from mm_pipeline_tests.grid_samples import random_grid
from mm_pipeline_tests.markets import version_of
from mm_pipeline_tests.reference import risk as plain
from mm_pipeline_tests.risk_samples import (
    candles_of,
    grid_in,
    known_ms,
    quick_policy,
    reference_settings,
    simulated_bars,
)

EXACT = 1e-9
LENGTH = 14 * 96
HORIZONS = ("15m", "1h", "4h")


def stretch_at(start: int) -> pl.DataFrame:
    return simulated_bars().slice(start, LENGTH)


def check_rows(bars: pl.DataFrame, grid: Any, policy: RiskPolicy) -> pl.DataFrame:
    """Figures of the last evaluation equal those of the plain loops; the row."""
    evaluated_ms = known_ms(bars)
    row = risk_rows(version_of(grid), StandardisedBars.of(bars, policy), evaluated_ms, policy)
    candles, settings = candles_of(bars), reference_settings(policy)
    newest = len(candles) - 1
    simulation = simulate_grid(grid, bars)
    if simulation.trades.stopped_bar >= 0:
        assert row.select(pl.col("^(capital_at|giveback|worst).*$")).row(0) == (0.0,) * 10
        return row
    rung = simulation.trades.rung
    figures = plain.risk_of(
        grid.level_prices().tolist(),
        [i >= rung for i in range(grid.interval_count)],
        stop=grid.stop_loss,
        capital=grid.capital,
        fee=grid.fee,
        beside=0.0,
        moves=plain.moves_before(candles, newest, settings),
        price=candles[newest].close,
        volatility=plain.volatility_at(candles, newest, settings.volatility_bars) or 0.0,
        seed=plain.seed_of(grid.id, int(evaluated_ms[0])),
        settings=settings,
    )
    for horizon in HORIZONS:
        wanted = {
            f"capital_at_risk_{horizon}_quote": figures.capital_at_risk[horizon],
            f"giveback_p50_{horizon}_quote": figures.p50[horizon],
            f"giveback_p90_{horizon}_quote": figures.p90[horizon],
        }
        for name, value in wanted.items():
            assert row[name][0] == pytest.approx(value, rel=EXACT, abs=EXACT * max(grid.capital, 1.0)), name
    return row


def test_random_grids_risk_the_same_as_in_the_plain_loops() -> None:
    random = np.random.default_rng(5)
    policy = quick_policy()
    met = {"holds": 0, "empty": 0, "stopped": 0, "near the stop": 0}
    for number in range(12):
        bars = stretch_at(int(random.integers(0, len(simulated_bars()) - LENGTH)))
        start = int(random.integers(LENGTH - 60, LENGTH))
        price = bars["close"][-1]
        grid = random_grid(random, bars.slice(start)).model_copy(update={"started_at": bars["open_time"][start]})
        if number % 3 == 0:
            shifted = {"lower": 0.992 * price, "upper": 1.02 * price, "stop_loss": 0.985 * price}
            grid = grid.model_copy(update=shifted)
        row = check_rows(bars, grid, policy)
        met["holds"] += row["inventory_base"][0] > 0
        met["empty"] += row["inventory_base"][0] == 0
        met["stopped"] += row["worst_case_quote"][0] == 0
        met["near the stop"] += row["capital_at_risk_4h_quote"][0] > 0.8 * row["worst_case_quote"][0] > 0
    assert min(met.values()) >= 2, met


def test_blocks_shorter_than_the_longest_horizon_are_joined_as_in_the_plain_loops() -> None:
    bars = stretch_at(2000)
    check_rows(bars, grid_in(bars, LENGTH - 100), quick_policy(block="45min"))


def test_gaps_and_holes_leave_the_same_bars_to_draw_from() -> None:
    random = np.random.default_rng(8)
    policy = quick_policy()
    bars = stretch_at(4000)
    holed = bars.filter(~pl.Series(np.isin(np.arange(LENGTH), random.choice(LENGTH, 3, replace=False))))
    for frame in (bars, holed):
        assert frame["is_synthetic"].any()
        history, candles = StandardisedBars.of(frame, policy), candles_of(frame)
        newest = len(frame) - 1
        window = history.windows(known_ms(frame), policy)
        moves = plain.moves_before(candles, newest, reference_settings(policy))
        pool = slice(int(window.first[0]), int(window.end[0]))
        assert history.bars.opened_ms[history.pool[pool]].tolist() == [move.opened_ms for move in moves]
        wanted = [[move.open, move.high, move.low, move.close] for move in moves]
        np.testing.assert_allclose(history.moves[pool], wanted, rtol=1e-9, atol=1e-12)
        assert history.is_low_first[pool].tolist() == [move.is_low_first for move in moves]


def test_inventory_beside_the_intervals_is_sold_at_the_stop_only() -> None:
    bars, policy = stretch_at(500), quick_policy()
    newest = LENGTH - 1
    price = bars["close"][-1]
    grid = grid_in(bars, newest, width=0.02, stop_loss=0.985 * price, lower=0.99 * price, upper=1.01 * price)
    ladder, rung, beside = GridLadder.of(grid), 2, 0.4
    history = StandardisedBars.of(bars, policy)
    at = known_ms(bars)
    positions = GridPositions(ladder, np.array([rung]), np.array([ladder.held_base[rung] + beside]), np.array([False]))
    found = position_risk(positions, history, history.windows(at, policy), path_seeds(grid.id, at), policy)
    candles, settings = candles_of(bars), reference_settings(policy)
    wanted = plain.risk_of(
        ladder.levels.tolist(),
        [i >= rung for i in range(grid.interval_count)],
        stop=grid.stop_loss,
        capital=grid.capital,
        fee=grid.fee,
        beside=beside,
        moves=plain.moves_before(candles, newest, settings),
        price=price,
        volatility=plain.volatility_at(candles, newest, settings.volatility_bars) or 0.0,
        seed=plain.seed_of(grid.id, int(at[0])),
        settings=settings,
    )
    np.testing.assert_allclose(found.capital_at_risk[0], list(wanted.capital_at_risk.values()), rtol=EXACT)
    np.testing.assert_allclose(found.giveback[0, :, 1], list(wanted.p90.values()), rtol=EXACT)
    resting = slice(0, rung)
    assert found.worst_case[0] == pytest.approx(
        worst_case_quote(
            inventory_base=ladder.held_base[rung] + beside,
            resting_quantity_base=ladder.quantity_base[resting],
            resting_price=ladder.levels[resting],
            price=price,
            stop_loss=grid.stop_loss,
            fee=grid.fee,
        ),
        rel=1e-12,
    )
