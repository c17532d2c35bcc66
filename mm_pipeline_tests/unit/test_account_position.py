"""Positions from fills: cases done by hand on a ladder of 100, 110, 120, 130 with a stop at 90."""

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
    NetFlow,
    OpenOrder,
    Side,
    account_summary,
    fee_in_quote,
    fills_of_grid,
    in_order,
    orders_of_grid,
    position_of,
    third_currencies,
)
from mm_pipeline.domain.errors import ConflictingFills, UnknownFeeRate
from mm_pipeline.domain.grid import Grid
from mm_pipeline_tests.account_samples import STARTED, account_policy, fill
from mm_pipeline_tests.grid_samples import hundreds_grid

STEPS = Increments(price=0.01, base=0.0001)
LATER_MS = 3_600_000


def ladder(**changes: Any) -> Grid:
    return hundreds_grid(**({"started_at": STARTED, "exchange": "kucoin"} | changes))


def later(made: AccountFill, by_ms: int = LATER_MS) -> AccountFill:
    return replace(made, time_ms=made.time_ms + by_ms)


def resting(number: int, side: str, price: float, quantity: float = 1.0, filled: float = 0.0) -> OpenOrder:
    return OpenOrder(
        order_id=f"order-{number}",
        symbol="ETH/USDT",
        time_ms=int(STARTED.timestamp() * 1000) + number,
        side=Side(side),
        price=price,
        quantity_base=quantity,
        filled_base=filled,
    )


def told(*fills: AccountFill, bid: float = 115.0, **options: Any) -> AccountPosition:
    values: dict[str, Any] = {"orders": (), "balances": None, "policy": account_policy(), "increments": STEPS}
    values |= options
    orders, balances = values.pop("orders"), values.pop("balances")
    return position_of(ladder(), fills, orders, balances, bid, **values)


def test_round_trip_earns_the_interval_less_both_fees() -> None:
    position = told(
        fill(1, "buy", 110.0, 0.9, fee=0.099),
        fill(2, "buy", 100.0, 1.0, fee=0.1),
        fill(3, "sell", 110.0, 1.0, fee=0.11),
    )
    # First in, first out: 0.9 bought at 110 and 0.1 of the one bought at 100.
    assert position.grid_profit_quote == pytest.approx(110.0 - (0.9 * 110 + 0.1 * 100) - 0.099 - 0.01 - 0.11)
    assert position.inventory_base == pytest.approx(0.9)
    assert position.unrealised_quote == pytest.approx(0.9 * (115 - 100))
    assert position.unmatched_fees_quote == pytest.approx(0.09)
    assert position.cash_flow_quote == pytest.approx(-99.0 - 100.0 + 110.0 - 0.309)
    assert position.equity_quote == pytest.approx(300.0 + position.total_pnl_quote)
    assert position.residual_quote == pytest.approx(0.0, abs=1e-12)
    assert (position.ladder_buys, position.ladder_sells, position.fills) == (2, 1, 3)


def test_fee_in_base_is_missing_from_inventory_and_worth_its_price() -> None:
    position = told(fill(1, "buy", 100.0, 1.0, fee=0.001, fee_currency="ETH"))
    assert position.inventory_base == 0.999
    assert position.cash_flow_quote == -100.0
    assert position.fees_quote == position.unmatched_fees_quote == pytest.approx(0.1)
    assert position.unrealised_quote == pytest.approx(0.999 * 15)
    assert position.residual_quote == pytest.approx(0.0, abs=1e-12)


def test_fee_of_a_sale_in_base_takes_its_quantity_too() -> None:
    position = told(fill(1, "buy", 100.0, 1.0), fill(2, "sell", 110.0, 0.9, fee=0.001, fee_currency="ETH"))
    assert position.inventory_base == pytest.approx(0.099)
    assert position.cash_flow_quote == pytest.approx(-100.0 + 99.0)
    assert position.grid_profit_quote == pytest.approx(0.901 * (110 - 100) - 0.11)
    assert position.residual_quote == pytest.approx(0.0, abs=1e-12)


def test_fee_in_a_third_currency_counts_at_its_rate_as_if_paid_in_quote() -> None:
    position = told(fill(1, "buy", 100.0, 1.0, fee=0.01, fee_currency="KCS"), rates={"KCS": 9.0})
    assert position.fees_quote == pytest.approx(0.09)
    assert position.cash_flow_quote == pytest.approx(-100.09)
    assert position.residual_quote == pytest.approx(0.0, abs=1e-12)


def test_fee_whose_rate_is_not_known_is_an_error_that_names_it() -> None:
    unknown = fill(1, "buy", 100.0, 1.0, fee=0.01, fee_currency="KCS")
    with pytest.raises(UnknownFeeRate, match=r"trade 1 of ETH/USDT.*'KCS'.*USDT"):
        told(unknown)
    assert fee_in_quote(replace(unknown, fee=0.0), {}) == 0.0, "no fee needs no rate"
    assert third_currencies([unknown, fill(2, "buy", 100.0, fee=1.0, fee_currency="ETH")]) == {"KCS"}


def test_sale_without_a_buy_shows_in_the_residual() -> None:
    position = told(fill(1, "sell", 110.0, 1.0, fee=0.11))
    assert position.oversold_base == 1.0
    assert position.grid_profit_quote == 0.0
    assert position.total_pnl_quote == pytest.approx(110.0 - 0.11 - 115.0)
    assert position.residual_quote == pytest.approx(position.total_pnl_quote)


def test_net_flows_are_no_profit() -> None:
    fills = (fill(1, "buy", 100.0),)
    without, with_flows = told(*fills), told(*fills, net_flows=[NetFlow(time_ms=1, amount_quote=50.0)])
    assert with_flows.equity_quote == without.equity_quote + 50.0
    assert with_flows.cash_quote == without.cash_quote + 50.0
    assert with_flows.total_pnl_quote == without.total_pnl_quote


def test_partial_fills_of_one_order_are_one_filled_order_once_nothing_rests() -> None:
    parts = [fill(number, "buy", 100.0, 0.25, order_id="one") for number in range(4)]
    assert told(*parts).ladder_buys == 1
    rest = replace(resting(1, "buy", 100.0, filled=0.75), order_id="one")
    position = told(*parts[:3], orders=[rest])
    assert (position.ladder_buys, position.fills) == (0, 3)
    assert position.locked_quote == pytest.approx(25.0)
    assert position.capital_utilization == pytest.approx((0.75 * 115 + 25) / 300)


def test_fill_told_twice_counts_once_and_told_in_two_ways_is_an_error() -> None:
    first = fill(1, "buy", 100.0)
    assert told(first, first) == told(first)
    with pytest.raises(ConflictingFills, match="trade 1 of ETH/USDT"):
        told(first, replace(first, price=101.0))
    assert len(in_order([first, replace(first, symbol="BTC/USDT")])) == 2, "ids are a symbol's own"


def test_fills_of_one_second_without_numbers_put_buys_first() -> None:
    sale, bought = fill(0, "sell", 110.0, trade_id="csv-a-1"), fill(0, "buy", 100.0, trade_id="csv-b-1")
    assert in_order([sale, bought]) == [bought, sale]
    numbered = [fill(0, "sell", 110.0, trade_id="9"), fill(0, "buy", 100.0, trade_id="10")]
    assert in_order(numbered[::-1]) == numbered, "by the number's value"


@pytest.mark.parametrize(
    ("made", "role"),
    [
        (fill(1, "buy", 100.0), FillRole.LADDER),
        (fill(1, "buy", 120.01), FillRole.LADDER),
        (later(fill(1, "buy", 120.02)), None),
        (later(fill(1, "buy", 130.0)), None),
        (fill(1, "sell", 130.0), FillRole.LADDER),
        (fill(1, "sell", 100.0), None),
        (fill(1, "buy", 115.0, 1.0), FillRole.START),
        (fill(1, "buy", 115.0, 3.0), None),
        (later(fill(1, "buy", 115.0)), None),
        (later(fill(1, "buy", 100.0), -7_200_000), None),
        (fill(1, "buy", 100.0, symbol="BTC/USDT"), None),
        (fill(1, "sell", 90.0), None),
    ],
)
def test_lone_fill_is_the_grids_by_symbol_time_side_and_price(made: AccountFill, role: FillRole | None) -> None:
    found = fills_of_grid(ladder(), [made], policy=account_policy(), increments=STEPS)
    assert found.roles == (() if role is None else (role,))
    is_before = made.time_ms < ladder().started_at_ms
    assert len(found.foreign) == (role is None and made.symbol == "ETH/USDT" and not is_before)


@pytest.mark.parametrize(
    ("sales", "roles"),
    [
        ([fill(5, "sell", 89.0, 2.0)], [FillRole.STOP]),
        ([fill(5, "sell", 90.0, 1.5), fill(6, "sell", 85.0, 0.5)], [FillRole.STOP, FillRole.STOP]),
        ([fill(5, "sell", 89.0, 2.5)], []),
        ([fill(5, "sell", 104.0, 2.0)], [FillRole.EXIT]),
        ([fill(5, "sell", 104.0, 1.2, order_id="x"), fill(6, "sell", 103.0, 0.8, order_id="x")], [FillRole.EXIT] * 2),
        ([fill(5, "sell", 104.0, 1.9996)], [FillRole.EXIT]),
        ([fill(5, "sell", 104.0, 1.9)], []),
        ([fill(5, "sell", 104.0, 2.1)], []),
    ],
)
def test_sale_off_the_ladder_is_the_grids_when_the_stop_or_an_exit_explains_it(
    sales: list[AccountFill], roles: list[FillRole]
) -> None:
    bought = [fill(1, "buy", 100.0), fill(2, "buy", 110.0)]
    found = fills_of_grid(ladder(), [*sales, *bought], policy=account_policy(), increments=STEPS)
    assert list(found.roles) == [FillRole.LADDER, FillRole.LADDER, *roles]
    assert len(found.foreign) == len(sales) - len(roles)


def test_orders_of_the_grid_rest_at_its_levels_since_its_start() -> None:
    mine = [resting(1, "buy", 100.0), resting(2, "sell", 130.01)]
    others = [
        resting(3, "buy", 130.0),
        resting(4, "sell", 100.0),
        resting(5, "sell", 135.0),
        replace(resting(6, "buy", 100.0), symbol="BTC/USDT"),
        replace(resting(7, "buy", 100.0), time_ms=0),
    ]
    found = orders_of_grid(ladder(), [*others, *mine, mine[0]], policy=account_policy(), increments=STEPS)
    assert list(found) == mine


@pytest.mark.parametrize(("held", "uncovered"), [(3.0, 0.0), (1.0, 0.0), (0.4, 0.6)])
def test_inventory_that_the_account_does_not_hold_is_told(held: float, uncovered: float) -> None:
    balances = [
        Balance(currency="ETH", total=held, available=held, locked=0.0),
        Balance(currency="USDT", total=9.0, available=9.0, locked=0.0),
    ]
    assert told(fill(1, "buy", 100.0), balances=balances).uncovered_base == pytest.approx(uncovered)
    assert told(fill(1, "buy", 100.0)).uncovered_base is None


def test_grid_without_fills_is_its_capital() -> None:
    position = told()
    assert (position.equity_quote, position.inventory_base, position.total_pnl_quote) == (300.0, 0.0, 0.0)


def test_summary_adds_up_what_has_a_price_and_names_the_rest() -> None:
    # The founding sample: 769.02 USDT, all of it available.
    usdt = Balance(currency="USDT", total=769.02, available=769.02, locked=0.0)
    alone = account_summary([usdt], {}, currency="USDT")
    assert (alone.total, alone.available, alone.locked, alone.unpriced) == (769.02, 769.02, 0.0, ())
    eth = Balance(currency="ETH", total=2.0, available=0.5, locked=1.5)
    nothing = Balance(currency="BTC", total=0.0, available=0.0, locked=0.0)
    kcs = Balance(currency="KCS", total=7.0, available=7.0, locked=0.0)
    both = account_summary([usdt, kcs, nothing, eth], {"ETH": 100.0}, currency="USDT")
    assert both.total == pytest.approx(969.02)
    assert both.available == pytest.approx(819.02)
    assert both.locked == pytest.approx(150.0)
    assert [balance.currency for balance in both.balances] == ["ETH", "KCS", "USDT"]
    assert both.unpriced == ("KCS",)
