"""The simulated grid in cases small enough to be followed by hand.

Levels 100, 110, 120, 130 and the stop at 90; 100 quote an interval, so without fee they buy 1, 10/11 and 5/6 base.
"""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from mm_pipeline.domain.position import GridSimulation, simulate_grid, worst_case_quote
from mm_pipeline_tests.candle_samples import STEP_MS, T0_MS
from mm_pipeline_tests.grid_samples import bars_of, hundreds_grid
from mm_pipeline_tests.reference.simulation import Bar

approx = pytest.approx
Q0, Q1, Q2 = 1.0, 10 / 11, 5 / 6


def run(*rows: Bar, **changes: Any) -> GridSimulation:
    return simulate_grid(hundreds_grid(**changes), bars_of(rows))


def fills(simulation: GridSimulation) -> list[tuple[str, int, float]]:
    return simulation.fills.select("side", "interval", "price").rows()


def flat(price: float) -> Bar:
    return (price, price, price, price)


def test_bar_up_through_three_levels_and_back_sells_and_buys_each() -> None:
    simulation = run((95, 131, 94, 99))
    assert fills(simulation) == [
        *(("buy", 2, 95.0), ("buy", 1, 95.0), ("buy", 0, 95.0)),
        *(("sell", 0, 110.0), ("sell", 1, 120.0), ("sell", 2, 130.0)),
        *(("buy", 2, 120.0), ("buy", 1, 110.0), ("buy", 0, 100.0)),
    ]
    spent, got, held = 95 * (Q0 + Q1 + Q2), 110 * Q0 + 120 * Q1 + 130 * Q2, Q0 + Q1 + Q2
    summary = simulation.summary
    assert (summary.buys, summary.sells, summary.fees, summary.stopped_at) == (6, 3, 0.0, None)
    assert summary.cash == approx(300 - spent + got - 300, rel=1e-12)
    assert summary.inventory == approx(held, rel=1e-12)
    assert summary.grid_profit == approx(got - spent, rel=1e-12)
    assert summary.unrealised == approx(99 * held - 300, rel=1e-12)
    assert summary.total_pnl == approx(got - spent + 99 * held - 300, rel=1e-12)
    assert summary.worst_case == approx((99 - 90) * held, rel=1e-12)
    assert summary.max_drawdown == 0.0


def test_fee_is_paid_in_quote_on_both_sides() -> None:
    simulation = run((105, 105, 100, 100), (100, 110, 100, 110), upper=110.0, levels=2, capital=101.0, fee=0.01)
    assert simulation.fills["quantity_base"].to_list() == approx([1.0, 1.0])
    assert simulation.fills["fee_quote"].to_list() == approx([1.0, 1.1])
    first, second = simulation.equity.rows(named=True)
    assert (first["cash_quote"], first["unmatched_fees_quote"], first["unrealised_quote"]) == approx((0, 1, 0))
    assert (first["equity_quote"], first["total_pnl_quote"]) == approx((100, -1))
    assert (second["cash_quote"], second["grid_profit_quote"], second["unmatched_fees_quote"]) == approx(
        (108.9, 7.9, 0)
    )
    assert second["inventory_base"] == 0.0
    assert simulation.summary.fees == approx(2.1)
    assert simulation.summary.max_drawdown == approx(1.0)
    assert simulation.summary.worst_case == approx(1.0 * (101 - 90 * 0.99)), "its one buy rests at 100"


@pytest.mark.parametrize(
    ("opened", "sold_at"), [(80.0, 80.0), (90.0, 90.0), (95.0, 90.0)], ids=["gap below", "at it", "within the bar"]
)
def test_stop_sells_everything_at_the_stop_or_at_an_open_below_it(opened: float, sold_at: float) -> None:
    simulation = run((115, 115, 105, 105), (opened, opened, 70, 125), (125, 135, 60, 100))
    assert fills(simulation) == [
        *(("buy", 2, 115.0), ("buy", 1, 110.0), ("buy", 0, 100.0)),
        *(("sell", 0, sold_at), ("sell", 1, sold_at), ("sell", 2, sold_at)),
    ]
    summary = simulation.summary
    assert summary.stopped_at == bars_of([flat(1)] * 2)["open_time"][1]
    assert summary.cash == approx(300 - 115 * Q2 - 100 - 100 + sold_at * (Q0 + Q1 + Q2))
    assert (summary.inventory, summary.worst_case) == (0.0, 0.0)
    assert (simulation.trades.stopped_bar, simulation.trades.rung) == (1, 3), "no interval holds after the stop"
    assert simulation.equity["equity_quote"][1] == simulation.equity["equity_quote"][2] == summary.cash
    assert summary.max_drawdown == approx(300 - summary.cash)


def test_way_from_close_to_open_fills_levels_at_their_own_prices() -> None:
    simulation = run(flat(115), flat(95), flat(140))
    assert fills(simulation) == [
        *(("buy", 2, 115.0), ("buy", 1, 110.0), ("buy", 0, 100.0)),
        *(("sell", 0, 110.0), ("sell", 1, 120.0), ("sell", 2, 130.0)),
    ]
    assert simulation.trades.bar.tolist() == [0, 1, 1, 2, 2, 2]


@pytest.mark.parametrize(
    ("price", "bought"),
    [(140.0, []), (120.5, []), (120.0, [2]), (115.0, [2]), (110.0, [2, 1]), (100.0, [2, 1, 0]), (95.0, [2, 1, 0])],
)
def test_start_buys_the_intervals_at_or_above_the_price(price: float, bought: list[int]) -> None:
    simulation = run(flat(price))
    assert fills(simulation) == [("buy", interval, price) for interval in bought]
    assert simulation.summary.equity == approx(300)


@pytest.mark.parametrize("price", [90.0, 85.0])
def test_start_at_or_below_the_stop_is_over_at_once(price: float) -> None:
    simulation = run(flat(price), flat(150), fee=0.01)
    assert [side for side, _, _ in fills(simulation)] == ["buy"] * 3 + ["sell"] * 3
    assert set(simulation.fills["price"]) == {price}
    assert simulation.summary.stopped_at == simulation.bars["open_time"][0]
    assert simulation.summary.total_pnl == approx(-simulation.summary.fees)


def test_tie_of_the_extremes_goes_to_the_low_first() -> None:
    simulation = run((115, 120, 110, 115))
    assert fills(simulation) == [("buy", 2, 115.0), ("buy", 1, 110.0), ("sell", 1, 120.0)]


def test_nearer_high_comes_before_the_low() -> None:
    simulation = run((115, 120, 109.875, 115))
    assert fills(simulation) == [("buy", 2, 115.0), ("buy", 1, 110.0)]


def test_nearer_low_comes_before_the_high() -> None:
    simulation = run((115, 120.125, 110, 115))
    assert fills(simulation) == [("buy", 2, 115.0), ("buy", 1, 110.0), ("sell", 1, 120.0)]


def test_level_touched_again_without_reaching_its_neighbour_fills_once() -> None:
    simulation = run((115, 115, 110, 112), (112, 113, 110, 112), (112, 112, 109, 111))
    assert fills(simulation) == [("buy", 2, 115.0), ("buy", 1, 110.0)]


def test_geometric_levels_have_equal_ratios_and_equal_cost() -> None:
    simulation = run(flat(399), flat(100), flat(400), lower=100.0, upper=400.0, levels=3, spacing="geometric")
    assert fills(simulation) == [
        *(("buy", 1, approx(200)), ("buy", 0, 100.0)),
        *(("sell", 0, approx(200)), ("sell", 1, 400.0)),
    ]
    assert simulation.fills["quantity_base"].to_list() == approx([0.75, 1.5, 1.5, 0.75])
    assert simulation.summary.grid_profit == approx(300.0)


def test_bars_before_the_start_and_outside_the_span_are_not_traded() -> None:
    bars = bars_of([flat(95), flat(115), flat(125), flat(105), flat(95)])
    started_at = bars["open_time"][0] + timedelta(milliseconds=1)
    grid = hundreds_grid(started_at=started_at)
    simulation = simulate_grid(grid, bars)
    assert simulation.fills["price"][0] == 115.0
    assert len(simulation.equity) == 4
    assert len(simulate_grid(grid, bars, start_ms=T0_MS).equity) == 4
    later = simulate_grid(grid, bars, start_ms=T0_MS + 2 * STEP_MS, end_ms=T0_MS + 4 * STEP_MS)
    assert later.fills["price"].to_list() == [120.0, 110.0]
    assert later.equity["close"].to_list() == [125.0, 105.0]


def test_grid_without_bars_has_its_capital() -> None:
    simulation = simulate_grid(hundreds_grid(), bars_of([flat(115)]), end_ms=T0_MS)
    summary = simulation.summary
    assert (len(simulation.fills), len(simulation.equity)) == (0, 0)
    assert (summary.buys, summary.sells, summary.cash, summary.equity, summary.total_pnl) == (0, 0, 300.0, 300.0, 0.0)
    assert (summary.max_drawdown, summary.worst_case, summary.stopped_at) == (0.0, 0.0, None)


def test_drawdown_is_from_the_highest_close_before() -> None:
    simulation = run(flat(115), flat(125), flat(115), flat(128))
    equity = simulation.equity["equity_quote"].to_numpy()
    np.testing.assert_allclose(equity, [300, 300 + 10 * Q2, 300, 300 + 13 * Q2])
    assert simulation.summary.max_drawdown == approx(10 * Q2)


@pytest.mark.parametrize(
    ("price", "stop", "loss"),
    [
        (100.0, 80.0, 2 * (100 - 72) + (95 * 1.1 - 72) + 3 * (90 * 1.1 - 72)),
        (92.0, 80.0, 2 * (92 - 72) + (92 * 1.1 - 72) + 3 * (90 * 1.1 - 72)),
        (70.0, 80.0, 2 * (70 - 63) + 4 * (70 * 1.1 - 63)),
    ],
    ids=["orders below the price", "an order above it", "a price below the stop"],
)
def test_worst_case_fills_every_order_and_sells_all_at_the_stop(price: float, stop: float, loss: float) -> None:
    worst = worst_case_quote(
        inventory_base=2.0,
        resting_quantity_base=np.array([1.0, 3.0]),
        resting_price=np.array([95.0, 90.0]),
        price=price,
        stop_loss=stop,
        fee=0.1,
    )
    assert worst == approx(loss)
