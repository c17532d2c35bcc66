"""What holds for every grid over every bars: conservation, continuity, and that only the path matters."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.position import GridSimulation, simulate_grid
from mm_pipeline_tests.grid_samples import bars_of, hundreds_grid, rows_of
from mm_pipeline_tests.reference.simulation import Bar, path_after

# Quarters, so that prices hit levels and the stop exactly, and extremes tie, as often as on a real tick ladder.
prices = st.integers(4 * 86, 4 * 136).map(lambda quarters: quarters / 4)
untimed = settings(deadline=None)  # the first example compiles the loops
closeness = 1e-9


@st.composite
def bars(draw: st.DrawFn) -> list[Bar]:
    corners = draw(st.lists(st.tuples(prices, prices, prices, prices), min_size=1, max_size=25))
    return [(o, max(o, a, b, c), min(o, a, b, c), c) for o, a, b, c in corners]


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    return hundreds_grid(
        levels=draw(st.integers(2, 13)),
        fee=draw(st.sampled_from([0.0, 0.001, 0.05])),
        spacing=draw(st.sampled_from(["arithmetic", "geometric"])),
        stop_loss=draw(st.sampled_from([10.0, 88.0, 90.0, 99.75])),
    )


def run(grid: Grid, rows: list[Bar]) -> GridSimulation:
    return simulate_grid(grid, bars_of(rows))


def traded(simulation: GridSimulation) -> list[tuple[str, int, float]]:
    return simulation.fills.select("side", "interval", "price").rows()


@untimed
@given(grids(), bars())
def test_cash_and_inventory_are_what_fills_left(grid: Grid, rows: list[Bar]) -> None:
    simulation = run(grid, rows)
    amount = pl.col("price") * pl.col("quantity_base")
    sign = pl.when(pl.col("side") == "buy").then(1).otherwise(-1)
    moved = simulation.fills.select(
        base=(sign * pl.col("quantity_base")).sum(), quote=(-sign * amount - pl.col("fee_quote")).sum()
    ).row(0)
    summary = simulation.summary
    assert summary.inventory == pytest.approx(moved[0], abs=closeness)
    assert summary.cash == pytest.approx(grid.capital + moved[1], abs=closeness)
    assert (simulation.equity["inventory_base"] >= 0).all()


@untimed
@given(grids(), bars())
def test_parts_of_the_identity_add_up_at_every_close(grid: Grid, rows: list[Bar]) -> None:
    equity = run(grid, rows).equity
    parts = equity["grid_profit_quote"] + equity["unrealised_quote"] - equity["unmatched_fees_quote"]
    np.testing.assert_allclose((equity["total_pnl_quote"] - parts).to_numpy(), 0, atol=1e-8)
    np.testing.assert_allclose((equity["equity_quote"] - equity["total_pnl_quote"]).to_numpy(), grid.capital)


@untimed
@given(grids(), bars())
def test_equity_changes_by_no_more_than_inventory_moved_and_fees(grid: Grid, rows: list[Bar]) -> None:
    """Fills happen at the path's price, so equity runs on through them but for their fees."""
    simulation = run(grid, rows)
    equity = simulation.equity["equity_quote"].to_numpy()
    largest = simulation.ladder.quantity_base.sum()
    fees = np.bincount(simulation.trades.bar, simulation.fee_quote, minlength=len(rows))
    before = [rows[0][0], *(close for *_, close in rows[:-1])]
    for i, (old, new) in enumerate(pairwise([grid.capital, *equity])):
        opened, high, low, close = rows[i]
        way = sum(abs(b - a) for a, b in pairwise([before[i], opened, *path_after(opened, high, low), close]))
        assert abs(new - old) <= largest * way + fees[i] + closeness


@untimed
@given(grids(), bars())
def test_each_interval_buys_and_sells_in_turn(grid: Grid, rows: list[Bar]) -> None:
    simulation = run(grid, rows)
    for _, fills in simulation.fills.group_by("interval"):
        assert fills["side"].to_list() == ["buy", "sell"] * (len(fills) // 2) + ["buy"] * (len(fills) % 2)


@untimed
@given(grids(), bars())
def test_bars_unfolded_into_their_paths_trade_the_same(grid: Grid, rows: list[Bar]) -> None:
    """A bar is its path: as a flat bar at the open and a bar a leg it fills the same levels at the same prices."""
    unfolded: list[Bar] = []
    for opened, high, low, close in rows:
        unfolded.append((opened, opened, opened, opened))
        corners = [opened, *path_after(opened, high, low), close]
        unfolded += [(a, max(a, b), min(a, b), b) for a, b in pairwise(corners)]
    whole, parts = run(grid, rows), run(grid, unfolded)
    assert traded(parts) == traded(whole)
    assert parts.summary.cash == pytest.approx(whole.summary.cash, abs=closeness)


@untimed
@given(grids(), st.lists(prices, min_size=2, max_size=20, unique=True), st.booleans())
def test_a_one_way_path_trades_the_same_however_it_is_cut(grid: Grid, stations: list[float], is_rising: bool) -> None:
    ordered = sorted(stations, reverse=not is_rising)
    many = [(a, max(a, b), min(a, b), b) for a, b in pairwise(ordered)]
    first, last = ordered[0], ordered[-1]
    one = (first, max(ordered), min(ordered), last)
    assert traded(run(grid, many)) == traded(run(grid, [one]))


@untimed
@given(grids(), bars(), st.integers(1, 25))
def test_later_bars_change_nothing_before_them(grid: Grid, rows: list[Bar], kept: int) -> None:
    whole, part = run(grid, rows), run(grid, rows[:kept])
    assert part.equity.equals(whole.equity.head(kept))
    assert part.fills.equals(whole.fills.head(len(part.fills)))


@untimed
@given(grids(), bars())
def test_worst_case_is_what_a_fall_through_the_stop_costs(grid: Grid, rows: list[Bar]) -> None:
    """Down to the stop in one bar: every resting buy fills on the way, then everything is sold at it."""
    simulation = run(grid, rows)
    price = rows[-1][3]
    fallen = run(grid, [*rows, (price, price, 1.0, 1.0)])
    if simulation.trades.stopped_bar < 0:
        assert simulation.summary.worst_case == pytest.approx(
            simulation.summary.equity - fallen.summary.equity, abs=closeness
        )
    else:
        assert simulation.summary.worst_case == 0.0


@settings(max_examples=25, deadline=None)
@given(grids(), bars(), st.floats(0.1, 1000))
def test_capital_scales_every_amount(grid: Grid, rows: list[Bar], factor: float) -> None:
    plain, scaled = run(grid, rows), run(grid.model_copy(update={"capital": grid.capital * factor}), rows)
    assert traded(plain) == traded(scaled)
    assert scaled.summary.total_pnl == pytest.approx(plain.summary.total_pnl * factor, rel=1e-9, abs=1e-6)
    assert rows_of(plain.bars) == rows
