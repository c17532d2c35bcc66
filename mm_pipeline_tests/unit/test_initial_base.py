"""A grid whose file says what it began to hold: it holds that from the start, as if bought at the price then."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mm_pipeline.domain.account import (
    AccountFill,
    AccountPosition,
    Balance,
    FillRole,
    Increments,
    fills_of_grid,
    position_of,
)
from mm_pipeline.domain.grid import Grid
from mm_pipeline_tests.account_samples import STARTED, account_policy, fill
from mm_pipeline_tests.grid_samples import hundreds_grid

POLICY = account_policy()
STEPS = Increments(price=0.01, base=1e-7)
HELD = 100 / 110 + 100 / 120
"""What the grid holds where it starts at 105."""
SOLD = fill(5, "sell", 120.0, 100 / 110)


def ladder(**changes: Any) -> Grid:
    return hundreds_grid(**({"started_at": STARTED, "exchange": "kucoin"} | changes))


def told(grid: Grid, *fills: AccountFill, eth: float | None = None, start: float | None = 105.0) -> AccountPosition:
    balances = None if eth is None else [Balance(currency="ETH", total=eth, available=eth, locked=0.0)]
    return position_of(grid, fills, (), balances, 115.0, policy=POLICY, increments=STEPS, start_price=start)


def test_coins_kept_from_before_are_held_and_their_sale_is_a_profit() -> None:
    position = told(ladder(initial_base=HELD), SOLD)
    assert position.inventory_base == pytest.approx(100 / 120)
    assert position.doubts == ()
    assert position.grid_profit_quote == pytest.approx(100 / 110 * (120 - 105) - SOLD.fee)
    assert position.total_pnl_quote == pytest.approx(100 / 110 * 120 + 100 / 120 * 115 - HELD * 105 - SOLD.fee)
    assert position.equity_quote == pytest.approx(300 + (position.total_pnl_quote or 0.0))
    assert position.residual_quote == pytest.approx(0.0, abs=1e-9)
    assert (position.fills, position.ladder_sells) == (1, 1)
    without = told(ladder(), SOLD)
    assert "more than they buy" in str(without.doubts)


def test_start_purchase_is_only_the_rest() -> None:
    rest = replace(fill(1, "buy", 105.0, 100 / 120), order_id="rest")
    other = replace(fill(2, "buy", 105.0, HELD), order_id="other")
    grid = ladder(initial_base=100 / 110)
    assert fills_of_grid(grid, [rest, other], policy=POLICY, increments=STEPS).fills == (rest,)
    assert fills_of_grid(ladder(), [other], policy=POLICY, increments=STEPS).fills == (other,)
    whole = ladder(initial_base=HELD)
    assert fills_of_grid(whole, [other], policy=POLICY, increments=STEPS).fills == ()


def test_exit_by_hand_sells_what_it_began_with_too() -> None:
    out = replace(fill(5, "sell", 113.3, HELD), order_id="out")
    found = fills_of_grid(ladder(initial_base=HELD), [out], policy=POLICY, increments=STEPS, balance_base=0.0)
    assert found.roles == (FillRole.EXIT,)
    assert found.held_base == pytest.approx(0.0, abs=1e-12)


def test_balance_closes_the_books_over_what_it_began_with() -> None:
    half = replace(fill(5, "sell", 113.3, 0.5), order_id="half")
    position = told(ladder(initial_base=HELD), half, eth=HELD - 0.5)
    assert position.inventory_base == pytest.approx(HELD - 0.5)
    assert position.sold_by_balance_base == pytest.approx(0.5)


def test_no_money_is_told_where_the_price_at_the_start_is_not_known() -> None:
    position = told(ladder(initial_base=HELD), start=None)
    assert (position.inventory_base, position.total_pnl_quote) == (pytest.approx(HELD), None)
    assert position.pnl_unknown == "the price at which initial_base began is not known"


def test_what_it_began_with_is_sold_though_its_price_is_not_known() -> None:
    position = told(ladder(initial_base=HELD), SOLD, start=None)
    assert (position.oversold_base, position.doubts) == (0.0, ())
    assert position.inventory_base == pytest.approx(HELD - 100 / 110)


def test_file_without_it_is_the_version_that_it_was() -> None:
    assert "initial_base" not in ladder().model_dump(mode="json")
    assert ladder(initial_base=0.5).model_dump(mode="json")["initial_base"] == 0.5
    assert ladder().version_hash != ladder(initial_base=0.0).version_hash
    assert ladder(initial_base=0.5).version_hash != ladder(initial_base=0.6).version_hash
    with pytest.raises(ValueError, match="initial_base"):
        ladder(initial_base=-0.1)
