"""The books of an account against its balance: whose a sale was, and what nobody can know. Ladder of 100 to 130."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mm_pipeline.domain.account import (
    AccountFill,
    AccountPosition,
    Balance,
    FillRole,
    Increments,
    OpenOrder,
    Side,
    close_books,
    fills_of_grid,
    is_closed,
    position_of,
)
from mm_pipeline.domain.grid import Grid
from mm_pipeline_tests.account_samples import STARTED, account_policy, fill
from mm_pipeline_tests.grid_samples import hundreds_grid

POLICY = account_policy()
STEPS = Increments(price=0.01, base=1e-7)
LOTS = (fill(1, "buy", 110.0, 100 / 110), fill(2, "buy", 100.0, 1.0))
HELD = 1.0 + 100 / 110


def ladder(**changes: Any) -> Grid:
    return hundreds_grid(**({"started_at": STARTED, "exchange": "kucoin"} | changes))


def balances(eth: float) -> list[Balance]:
    return [
        Balance(currency=name, total=held, available=held, locked=0.0) for name, held in (("ETH", eth), ("USDT", 9.0))
    ]


def told(*fills: AccountFill, eth: float, orders: tuple[OpenOrder, ...] = ()) -> AccountPosition:
    return position_of(ladder(), fills, orders, balances(eth), 105.0, policy=POLICY, increments=STEPS)


def sell_order(price: float, quantity: float) -> OpenOrder:
    return OpenOrder(
        order_id=f"rests-{price}",
        symbol="ETH/USDT",
        time_ms=LOTS[0].time_ms,
        side=Side.SELL,
        price=price,
        quantity_base=quantity,
        filled_base=0.0,
    )


@pytest.mark.parametrize("decimals", [2, 3, 4, 5, 6])
def test_manual_exit_typed_with_few_decimals_closes_the_position(decimals: int) -> None:
    sold = int(HELD * 10**decimals) / 10**decimals
    position = told(*LOTS, fill(3, "sell", 105.0, sold), eth=HELD - sold)
    assert position.inventory_base == pytest.approx(HELD - sold, abs=1e-12)
    assert (position.doubts, position.foreign_fills) == ((), 0)
    assert is_closed(ladder(), position, balances(HELD - sold), POLICY)


@pytest.mark.parametrize("sold", [0.01, 0.3, 1.0, 1.5])
def test_part_that_was_sold_by_hand_is_gone_from_the_inventory(sold: float) -> None:
    position = told(*LOTS, fill(3, "sell", 105.0, sold), eth=HELD - sold)
    is_dust = sold < 0.0833
    assert position.inventory_base == pytest.approx(HELD if is_dust else HELD - sold, abs=1e-9)
    assert position.doubts == ()
    assert position.residual_quote == pytest.approx(0.0, abs=1e-8)


def test_three_orders_with_the_middle_one_beside_a_level_sell_all() -> None:
    sales = [fill(3, "sell", 105.0, 0.7), fill(4, "sell", 110.0, 0.5), fill(5, "sell", 104.0, HELD - 1.2)]
    position = told(*LOTS, *sales, eth=0.0)
    assert position.inventory_base == pytest.approx(0.0, abs=1e-9)
    assert position.doubts == ()


def test_exit_that_a_ladder_order_finishes_is_whole() -> None:
    sales = [fill(3, "sell", 105.0, 1.0), fill(4, "sell", 120.0, 100 / 110)]
    position = told(*LOTS, *sales, eth=0.0)
    assert position.inventory_base == pytest.approx(0.0, abs=1e-9)


def test_stop_order_that_sells_a_speck_more_is_the_grids() -> None:
    sold = fill(3, "sell", 89.0, HELD + 1e-5)
    mine = fills_of_grid(ladder(), [*LOTS, sold], policy=POLICY, increments=STEPS)
    assert mine.roles[-1] is FillRole.STOP


def test_sale_below_the_stop_while_the_grids_own_sells_rest_is_no_stop() -> None:
    orders = (sell_order(120.0, 100 / 110), sell_order(110.0, 1.0))
    sold = fill(3, "sell", 89.0, 0.5)
    assert fills_of_grid(ladder(), [*LOTS, sold], orders, policy=POLICY, increments=STEPS).foreign == (sold,)
    assert fills_of_grid(ladder(), [*LOTS, sold], policy=POLICY, increments=STEPS).foreign == ()


@pytest.mark.parametrize(("own", "held", "is_known"), [(0.0, HELD - 0.7, True), (5.0, None, False)])
def test_part_sold_below_the_stop_beside_own_coins_is_nobodys_for_sure(
    own: float, held: float | None, *, is_known: bool
) -> None:
    found = told(*LOTS, fill(3, "sell", 85.0, 0.7), eth=HELD - 0.7 + own)
    assert (not found.doubts) is is_known
    if held is not None:
        assert found.inventory_base == pytest.approx(held)
    else:
        assert "0.7 ETH were sold beside the grid" in "; ".join(found.doubts)


def test_whole_grid_sold_below_the_stop_beside_own_coins_is_its_stop() -> None:
    found = told(*LOTS, fill(3, "sell", 85.0, HELD), eth=5.0)
    assert (found.doubts, round(found.inventory_base, 9)) == ((), 0.0)


def test_own_coins_explain_a_sale_while_the_grids_own_orders_rest() -> None:
    orders = (sell_order(120.0, 100 / 110), sell_order(110.0, 1.0))
    position = told(*LOTS, fill(3, "sell", 105.0, 0.5), eth=4.5, orders=orders)
    assert position.inventory_base == pytest.approx(HELD)
    assert (position.doubts, position.foreign_fills) == ((), 1)


def test_sale_of_the_grids_coins_or_of_own_ones_leaves_the_position_not_known() -> None:
    position = told(*LOTS, fill(3, "sell", 105.0, 0.5), eth=4.5)
    (doubt,) = position.doubts
    assert "0.5 ETH were sold" in doubt


def test_sale_of_which_the_balance_lacks_a_part_leaves_the_position_not_known() -> None:
    position = told(*LOTS, fill(3, "sell", 105.0, 1.5), eth=HELD - 0.5)
    (doubt,) = position.doubts
    assert "1 ETH were sold" in doubt


def test_sale_before_the_ladder_sold_on_was_of_own_coins() -> None:
    position = told(*LOTS, fill(3, "sell", 105.0, 0.5), fill(4, "sell", 120.0, 100 / 110), eth=4.5)
    assert position.doubts == ()


def test_purchase_of_a_forgotten_order_says_nothing_of_a_sale_before_it() -> None:
    position = told(LOTS[0], fill(2, "sell", 105.0, 0.5), LOTS[1], eth=4.5)
    (doubt,) = position.doubts
    assert "0.5 ETH were sold" in doubt


def test_withdrawn_coins_leave_the_position_not_known_with_both_figures() -> None:
    position = told(*LOTS, eth=0.5)
    assert position.uncovered_base == pytest.approx(HELD - 0.5)
    assert position.doubts == ("the account holds 0.5 ETH, fills say 1.90909",)


def test_fills_that_sell_what_was_never_bought_leave_the_position_not_known() -> None:
    position = told(fill(1, "sell", 110.0, 1.0), eth=0.0)
    assert position.doubts == ("fills sell 1 ETH more than they buy",)


def test_resting_sells_of_more_than_is_held_leave_the_position_not_known() -> None:
    position = told(eth=1.0, orders=(sell_order(110.0, 1.0),))
    assert position.doubts == ("sells of 1 ETH rest, fills say 0",)


@pytest.mark.parametrize(("is_confirmed", "held"), [(False, HELD), (True, HELD - 0.5)])
def test_balance_counts_once_two_readings_show_it(is_confirmed: bool, held: float) -> None:
    mine = fills_of_grid(ladder(), [*LOTS, fill(3, "sell", 105.0, 0.5)], policy=POLICY, increments=STEPS)
    book = close_books([ladder()], {"around": mine}, HELD - 0.5, policy=POLICY, locked={}, is_confirmed=is_confirmed)[
        "around"
    ]
    assert book.mine.held_base == pytest.approx(held)
    assert book.uncovered_base == pytest.approx(held - (HELD - 0.5), abs=1e-9)


def two_grids(fills: list[AccountFill], eth: float) -> dict[str, tuple[float, float | None, bool]]:
    """Two grids that share no level, started an hour before: held, uncovered, unclear."""
    low = ladder(id="low", started_at=STARTED - timedelta(hours=1))
    high = ladder(id="high", lower=205.0, upper=235.0, stop_loss=150.0, started_at=STARTED - timedelta(hours=1))
    mine = {grid.id: fills_of_grid(grid, fills, policy=POLICY, increments=STEPS) for grid in (low, high)}
    books = close_books([low, high], mine, eth, policy=POLICY, locked={})
    return {name: (book.mine.held_base, book.uncovered_base, book.is_unclear) for name, book in books.items()}


LOW, HIGH = fill(10, "buy", 100.0, 1.0), fill(11, "buy", 205.0, 100 / 205)


def test_one_pile_of_coins_does_not_cover_two_grids() -> None:
    found = two_grids([LOW, HIGH], 1.0)
    assert found["low"][1] == found["high"][1] == pytest.approx(100 / 205)


def test_one_order_that_sells_both_grids_closes_both() -> None:
    found = two_grids([LOW, HIGH, fill(12, "sell", 150.5, 1.0 + 100 / 205)], 0.0)
    assert [(round(held, 9), is_unclear) for held, _, is_unclear in found.values()] == [(0.0, False)] * 2


def test_sale_of_just_one_grids_inventory_is_its_own() -> None:
    found = two_grids([LOW, HIGH, fill(12, "sell", 150.5, 100 / 205)], 1.0)
    assert (found["low"][0], round(found["high"][0], 9)) == (1.0, 0.0)


def test_sale_that_may_be_of_either_grid_leaves_both_not_known() -> None:
    found = two_grids([LOW, HIGH, fill(12, "sell", 150.5, 0.3)], 1.0 + 100 / 205 - 0.3)
    assert all(is_unclear for _, _, is_unclear in found.values())


def both_held(*sales: AccountFill, eth: float, locked: dict[str, float]) -> dict[str, tuple[float, bool]]:
    """Two grids of one market that hold two intervals and one: what each holds, and whether that is unclear."""
    low = ladder(id="low", started_at=STARTED)
    more = ladder(id="more", capital=600.0, started_at=STARTED)
    bought = {"low": list(LOTS), "more": [fill(3, "buy", 110.0, 200 / 110)]}
    mine = {
        grid.id: fills_of_grid(grid, [*bought[grid.id], *sales], policy=POLICY, increments=STEPS, balance_base=eth)
        for grid in (low, more)
    }
    books = close_books([low, more], mine, eth, policy=POLICY, locked=locked)
    return {name: (round(book.mine.held_base, 6), book.is_unclear) for name, book in books.items()}


def test_coins_behind_resting_sells_were_not_sold_by_hand() -> None:
    sale = fill(9, "sell", 98.0, 1.5)
    found = both_held(sale, eth=HELD + 200 / 110 - 1.5, locked={"more": 200 / 110})
    assert found == {"low": (round(HELD - 1.5, 6), False), "more": (round(200 / 110, 6), False)}
    unlocked = both_held(sale, eth=HELD + 200 / 110 - 1.5, locked={})
    assert all(is_unclear for _, is_unclear in unlocked.values())


def test_grid_with_free_coins_is_unclear_beside_one_whose_sells_are_more_than_it_holds() -> None:
    found = both_held(eth=HELD + 200 / 110, locked={"more": 200 / 110 + 0.9})
    assert found == {"low": (round(HELD, 6), True), "more": (round(200 / 110, 6), False)}


def test_order_sold_in_parts_is_judged_whole() -> None:
    parts = [fill(9, "sell", 98.0, 1.0), fill(10, "sell", 98.0, 1.75)]  # what one holds, but for dust
    sales = [replace(part, order_id="out") for part in parts]
    found = both_held(*sales, eth=HELD + 200 / 110 - 2.75, locked={})
    assert all(is_unclear for _, is_unclear in found.values())


def test_dust_that_was_sold_after_both_left_leaves_neither_unclear() -> None:
    whole = HELD + 200 / 110
    found = both_held(fill(9, "sell", 98.0, whole - 0.002), fill(10, "sell", 98.0, 0.001), eth=0.001, locked={})
    assert [(held < 0.002, is_unclear) for held, is_unclear in found.values()] == [(True, False)] * 2


def test_coins_of_a_small_grid_are_more_than_the_dust_of_a_large_one_beside_it() -> None:
    large, small = ladder(id="large", capital=300_000.0), ladder(id="small", lower=205.0, upper=235.0, capital=9.0)
    bought = [fill(1, "buy", 110.0, 100_000 / 110), fill(2, "buy", 205.0, 3 / 205)]
    half = 1.5 / 205
    fills = [*bought, fill(3, "sell", 104.5, half)]
    mine = {grid.id: fills_of_grid(grid, fills, policy=POLICY, increments=STEPS) for grid in (large, small)}
    eth = 100_000 / 110 + half
    books = close_books([large, small], mine, eth, policy=POLICY, locked={"large": 100_000 / 110})
    assert books["small"].mine.held_base == pytest.approx(half)
    assert books["small"].sold_by_balance_base == pytest.approx(half)
    assert not any(book.is_unclear for book in books.values())
