"""The fast simulator against the plain one: the same fills, and the same money to 1e-9."""

from pathlib import Path

import numpy as np
import polars as pl

from mm_pipeline.domain.candles import fill_gaps
from mm_pipeline.domain.grid import GridVersion
from mm_pipeline.domain.grid_history import RangeHistory
from mm_pipeline.domain.position import GridSimulation, simulate_grid
from mm_pipeline_tests.grid_samples import random_grid, rows_of
from mm_pipeline_tests.markets import ETH_2022_2025, recorded_candles, simulated_candles
from mm_pipeline_tests.reference.simulation import Simulation, simulate

BTC_2022_2025 = ETH_2022_2025.replace("ETH", "BTC")
EXACT = 1e-9
RESIDUAL = 1e-8
SIDES = {"interval": "interval", "price": "price", "quantity_base": "quantity", "fee_quote": "fee"}
PARTS = ("cash", "inventory", "equity", "grid_profit", "unrealised", "unmatched_fees", "total_pnl")


def check_equal(fast: GridSimulation, plain: Simulation) -> None:
    """Equal in every fill and at every close."""
    assert fast.trades.bar.tolist() == [fill.bar for fill in plain.fills]
    assert fast.fills["side"].to_list() == [fill.side for fill in plain.fills]
    for column, name in SIDES.items():
        wanted = [getattr(fill, name) for fill in plain.fills]
        np.testing.assert_allclose(fast.fills[column].to_numpy(), wanted, rtol=EXACT, atol=0)
    for part in PARTS:
        column = f"{part}_base" if part == "inventory" else f"{part}_quote"
        wanted = [getattr(close, part) for close in plain.closes]
        np.testing.assert_allclose(fast.equity[column].to_numpy(), wanted, rtol=EXACT, atol=EXACT, err_msg=column)
    assert fast.trades.stopped_bar == (-1 if plain.stopped_bar is None else plain.stopped_bar)
    assert fast.equity["residual_quote"].abs().max() <= RESIDUAL  # type: ignore[operator]


def compare(bars: pl.DataFrame, *, grids: int, seed: int, longest: int) -> dict[str, int]:
    """Run random grids over random stretches both ways; how many of them met what."""
    random = np.random.default_rng(seed)
    met = {"stopped": 0, "above": 0, "below": 0, "traded": 0}
    for _ in range(grids):
        length = int(random.integers(1, longest))
        stretch = bars.slice(int(random.integers(0, len(bars) - length)), length)
        grid = random_grid(random, stretch)
        fast = simulate_grid(grid, stretch)
        check_equal(
            fast, simulate(grid.level_prices().tolist(), grid.stop_loss, grid.capital, grid.fee, rows_of(stretch))
        )
        met["stopped"] += fast.trades.stopped_bar >= 0
        met["above"] += stretch["open"][0] > grid.upper
        met["below"] += stretch["open"][0] < grid.lower
        met["traded"] += len(fast.fills) > 2 * grid.levels
    return met


def test_500_random_grids_over_recorded_candles_equal_the_plain_loop(recorded_data: Path) -> None:
    for seed, name in enumerate((ETH_2022_2025, BTC_2022_2025)):
        bars = fill_gaps(recorded_candles(recorded_data / name), quarantined_ms=None)
        met = compare(bars, grids=250, seed=seed, longest=700)
        assert min(met.values()) >= 20, met


def test_random_grids_over_a_simulated_market_equal_the_plain_loop() -> None:
    bars = fill_gaps(simulated_candles(), quarantined_ms=None)
    met = compare(bars, grids=100, seed=3, longest=500)
    assert min(met.values()) >= 5, met


def test_random_grids_whose_stop_is_edited_equal_the_plain_loop() -> None:
    bars = fill_gaps(simulated_candles(), quarantined_ms=None)
    random, stopped, spared = np.random.default_rng(11), 0, 0
    for _ in range(60):
        length = int(random.integers(20, 500))
        stretch = bars.slice(int(random.integers(0, len(bars) - length)), length)
        opened = stretch["open_time"].to_list()
        first = random_grid(random, stretch).model_copy(update={"started_at": opened[0]})
        edits = sorted(int(bar) for bar in random.choice(np.arange(1, length), size=2, replace=False))
        stops = [first.stop_loss, *(first.lower * float(share) for share in random.uniform(0.9, 0.999, size=2))]
        versions = [
            GridVersion(first.model_copy(update={"stop_loss": stop}), opened[bar])
            for stop, bar in zip(stops, [0, *edits], strict=True)
        ]
        newest = versions[-1].grid
        per_bar = [stops[sum(bar >= edit for edit in edits)] for bar in range(length)]
        fast = simulate_grid(newest, stretch, history=RangeHistory.of(versions, newest))
        levels = newest.level_prices().tolist()
        plain = simulate(levels, stops[-1], newest.capital, newest.fee, rows_of(stretch), stops=per_bar)
        check_equal(fast, plain)
        stopped += fast.trades.stopped_bar >= 0
        spared += simulate_grid(newest, stretch).trades.stopped_bar not in (-1, fast.trades.stopped_bar)
    assert min(stopped, spared) >= 5, (stopped, spared)


def test_years_of_trading_leave_no_residual_and_no_drift(recorded_data: Path) -> None:
    bars = fill_gaps(recorded_candles(recorded_data / ETH_2022_2025), quarantined_ms=None)
    random = np.random.default_rng(5)
    grid = random_grid(random, bars).model_copy(
        update={"lower": 900.0, "upper": 5000.0, "levels": 400, "stop_loss": 10.0, "capital": 100_000.0, "fee": 0.001}
    )
    simulation = simulate_grid(grid, bars)
    assert len(simulation.fills) > 20_000
    assert simulation.equity["residual_quote"].abs().max() <= RESIDUAL  # type: ignore[operator]
