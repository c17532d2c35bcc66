"""The compiled paths against the plain ones: the same windows, and the same figures to 1e-9."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.position import GridLadder, simulate_grid, worst_case_quote
from mm_pipeline.domain.risk import GridPositions, RiskHistory, RiskPolicy, position_risk, risk_rows
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
FIGURES = r"^(capital_at|giveback|worst).*$"


def stretch_at(start: int) -> pl.DataFrame:
    return simulated_bars().slice(start, LENGTH)


class PlainMarket:
    """Windows and forecast of the plain loops when the last bar is the newest."""

    def __init__(self, bars: pl.DataFrame, policy: RiskPolicy) -> None:
        self.settings = reference_settings(policy)
        candles = candles_of(bars)
        newest = len(candles) - 1
        self.windows = plain.windows_before(candles, newest, self.settings)
        self.price = candles[newest].close
        self.volatility = plain.volatility_at(candles, newest, self.settings) or 0.0

    def risk_of(self, grid: Grid, rung: int, beside: float = 0.0) -> plain.Risk:
        return plain.risk_of(
            grid.level_prices().tolist(),
            [i >= rung for i in range(grid.interval_count)],
            stop=grid.stop_price,
            capital=grid.capital,
            fee=grid.fee,
            beside=beside,
            windows=self.windows,
            price=self.price,
            volatility=self.volatility,
            settings=self.settings,
        )


def check_row(bars: pl.DataFrame, grid: Grid, policy: RiskPolicy) -> dict[str, Any]:
    """Figures of the last evaluation equal those of the plain loops; the row."""
    found = risk_rows(version_of(grid), RiskHistory.of(bars, policy), known_ms(bars), policy)
    row = found.row(0, named=True)
    simulation = simulate_grid(grid, bars)
    if simulation.trades.stopped_bar >= 0:
        assert set(found.select(pl.col(FIGURES)).row(0)) == {0.0}
        return row
    market = PlainMarket(bars, policy)
    figures = market.risk_of(grid, simulation.trades.rung)
    wanted = {f"capital_at_risk_{name}_quote": value for name, value in figures.capital_at_risk.items()}
    wanted |= {f"giveback_{share}_{name}_quote": value for (name, share), value in figures.giveback.items()}
    for name, value in wanted.items():
        assert row[name] == pytest.approx(value, rel=EXACT, abs=EXACT * max(grid.capital, 1.0)), name
    for name, hours in (("p_stop_4h", 4), ("p_stop_24h", 24)):
        args = (market.windows, market.price, market.volatility, grid.stop_price, 4 * hours)
        assert row[name] == plain.stop_probability(*args), name
    return row


def test_random_grids_risk_the_same_as_in_the_plain_loops() -> None:
    random = np.random.default_rng(5)
    policy = quick_policy(draw_every_bars=29)
    met = {"holds": 0, "empty": 0, "stopped": 0, "stop within a day": 0}
    for number in range(12):
        bars = stretch_at(int(random.integers(0, len(simulated_bars()) - LENGTH)))
        start = int(random.integers(LENGTH - 60, LENGTH))
        price = bars["close"][-1]
        grid = random_grid(random, bars.slice(start)).model_copy(update={"started_at": bars["open_time"][start]})
        if number % 3 == 0:
            shifted = {"lower": 0.992 * price, "upper": 1.02 * price, "stop_loss": 0.985 * price}
            grid = grid.model_copy(update=shifted)
        row = check_row(bars, grid, policy)
        met["holds"] += row["inventory_base"] > 0
        met["empty"] += row["inventory_base"] == 0
        met["stopped"] += row["worst_case_quote"] == 0
        met["stop within a day"] += 0.0 < row["p_stop_24h"] < 1.0
    assert min(met.values()) >= 2, met


def test_gaps_and_holes_leave_the_same_windows() -> None:
    random = np.random.default_rng(8)
    policy = quick_policy(draw_every_bars=7)
    bars = stretch_at(4000)
    holed = bars.filter(~pl.Series(np.isin(np.arange(LENGTH), random.choice(LENGTH, 3, replace=False))))
    for frame in (bars, holed):
        assert frame["is_synthetic"].any()
        history, market = RiskHistory.of(frame, policy), PlainMarket(frame, policy)
        known = history.known_at(known_ms(frame), policy)
        starts = history.starts[int(known.first[0]) : int(known.end[0])]
        assert history.bars.opened_ms[starts].tolist() == [window.before.opened_ms for window in market.windows]
        np.testing.assert_allclose(history.forecast[starts], [one.volatility for one in market.windows], rtol=1e-12)
    assert len(market.windows) < len(PlainMarket(bars, policy).windows)


def test_newest_table_that_was_valid_makes_the_forecast() -> None:
    bars = stretch_at(0)
    middle = bars["close_time"][LENGTH // 2]
    tables = [
        {"valid_from": "2020-01-01T00:00:00Z", "day": 1.0, "week": 0.0, "month": 0.0},
        {"valid_from": middle.isoformat(), "day": 0.0, "week": 0.5, "month": 0.25},
    ]
    policy = quick_policy(volatility=tables)
    history, candles, settings = RiskHistory.of(bars, policy), candles_of(bars), reference_settings(policy)
    for row in (95, 96, 300, LENGTH // 2 - 1, LENGTH // 2, LENGTH - 1):
        wanted = plain.volatility_at(candles, row, settings)
        assert history.forecast[row] == pytest.approx(np.nan if wanted is None else wanted, rel=1e-12, nan_ok=True), row
    first, second = (history.variances[row] for row in (LENGTH // 2 - 1, LENGTH // 2))
    assert history.forecast[LENGTH // 2 - 1] == pytest.approx(first[0] ** 0.5)
    assert history.forecast[LENGTH // 2] == pytest.approx((0.5 * second[1] + 0.25 * second[2]) ** 0.5)


def test_inventory_beside_the_intervals_is_sold_at_the_stop_only() -> None:
    bars, policy = stretch_at(500), quick_policy()
    price = bars["close"][-1]
    grid = grid_in(bars, LENGTH - 1, width=0.02, stop_loss=0.985 * price, lower=0.99 * price, upper=1.01 * price)
    ladder, rung, beside = GridLadder.of(grid), 2, 0.4
    history = RiskHistory.of(bars, policy)
    positions = GridPositions(ladder, np.array([rung]), np.array([ladder.held_base[rung] + beside]), np.array([False]))
    found = position_risk(positions, history, history.known_at(known_ms(bars), policy), policy)
    wanted = PlainMarket(bars, policy).risk_of(grid, rung, beside)
    np.testing.assert_allclose(found.capital_at_risk[0], list(wanted.capital_at_risk.values()), rtol=EXACT)
    np.testing.assert_allclose(found.giveback[0].ravel(), list(wanted.giveback.values()), rtol=EXACT, atol=EXACT)
    resting = slice(0, rung)
    assert found.worst_case[0] == pytest.approx(
        worst_case_quote(
            inventory_base=ladder.held_base[rung] + beside,
            resting_quantity_base=ladder.quantity_base[resting],
            resting_price=ladder.levels[resting],
            price=price,
            stop_loss=grid.stop_price,
            fee=grid.fee,
        ),
        rel=1e-12,
    )
