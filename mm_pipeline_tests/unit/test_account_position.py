"""Positions from fills: cases done by hand on a ladder of 100, 110, 120, 130 with a stop at 90."""

from __future__ import annotations

import math
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
    NetFlow,
    OpenOrder,
    Side,
    account_summary,
    fee_in_quote,
    fills_of_grid,
    held_base,
    in_order,
    is_closed,
    is_emptied,
    net_flows_of,
    orders_of_grid,
    position_of,
    shares_of,
    steps_told,
    third_currencies,
    traded_again_ms,
)
from mm_pipeline.domain.account.ladder import AccountLadder
from mm_pipeline.domain.errors import ConflictingFills, UnknownFeeRate
from mm_pipeline.domain.grid import Grid
from mm_pipeline_tests.account_samples import STARTED, account_policy, fill, flow
from mm_pipeline_tests.grid_samples import hundreds_grid

STEPS = Increments(price=0.01, base=0.0001)
LATER_MS = 3_600_000
ANY_SIZE = account_policy(quantity_tolerance=0.25)
"""Orders of 1 count as those of an interval, whose own quantities are 1, 0.91 and 0.83."""


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
    values: dict[str, Any] = {"orders": (), "balances": None, "policy": ANY_SIZE, "increments": STEPS}
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


def test_fee_whose_rate_is_not_known_leaves_the_inventory_told_and_no_money() -> None:
    unknown = fill(1, "buy", 100.0, 1.0, fee=0.01, fee_currency="KCS")
    with pytest.raises(UnknownFeeRate, match=r"trade 1 of ETH/USDT.*'KCS'.*USDT"):
        fee_in_quote(unknown, {})
    position = told(unknown, fill(2, "buy", 110.0, 0.9), fill(3, "sell", 110.0, 1.0))
    assert position.inventory_base == pytest.approx(0.9)
    assert (position.oversold_base, position.doubts, position.fills) == (0.0, (), 3)
    assert "'KCS', whose price in USDT is not known" in str(position.pnl_unknown)
    money = ("cash", "cash_flow", "equity", "total_pnl", "grid_profit", "unrealised", "unmatched_fees", "residual")
    assert [getattr(position, f"{name}_quote") for name in (*money, "fees")] == [None] * 9
    assert told(unknown, rates={"KCS": 9.0}).pnl_unknown is None


def test_fee_that_was_not_told_leaves_the_inventory_told_and_no_money() -> None:
    position = told(fill(1, "buy", 100.0, 1.0, fee=math.nan, fee_currency=""))
    assert (position.inventory_base, position.total_pnl_quote) == (1.0, None)
    assert position.pnl_unknown == "no fee was told of trade 1 of ETH/USDT"


def test_kinds_of_fees_that_need_a_rate() -> None:
    unknown = fill(1, "buy", 100.0, 1.0, fee=0.01, fee_currency="KCS")
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
        (fill(1, "buy", 120.01, 0.8333), FillRole.LADDER),
        (later(fill(1, "buy", 120.02, 0.8333)), None),
        (later(fill(1, "buy", 120.0, 2.0)), None),  # an own order at a round number
        (later(fill(1, "buy", 120.0, 0.8166)), FillRole.LADDER),  # within account.quantity_tolerance
        (later(fill(1, "buy", 120.0, 0.8502)), None),
        (later(fill(1, "buy", 118.8, 0.8300)), FillRole.LADDER),  # better than its level
        (later(fill(1, "buy", 109.0, 0.8300)), None),  # better by more than an interval
        (later(fill(1, "buy", 109.0, 0.8333)), FillRole.LADDER),  # and to the step its quantity
        (later(fill(1, "buy", 120.0, 0.4)), FillRole.LADDER),  # a part of it
        (later(fill(1, "buy", 119.0, 0.4)), None),
        (later(fill(1, "buy", 130.0)), None),
        (fill(1, "sell", 130.0, 0.8333), FillRole.LADDER),
        (fill(1, "sell", 132.0, 0.8333), FillRole.LADDER),
        (fill(1, "sell", 100.0), None),
        (fill(1, "buy", 115.0, 0.8333), FillRole.START),
        (fill(1, "buy", 115.0, 0.7), FillRole.START),
        (fill(1, "buy", 115.0, 0.9), None),  # more than the grid begins to hold
        (later(fill(1, "buy", 115.0, 0.7), -600_000), FillRole.START),  # before started_at
        (later(fill(1, "buy", 115.0, 0.7)), None),
        (later(fill(1, "buy", 100.0), -7_200_000), None),
        (fill(1, "buy", 100.0, symbol="BTC/USDT"), None),
        (fill(1, "sell", 90.0), None),
    ],
)
def test_lone_fill_is_the_grids_by_symbol_time_side_price_and_quantity(
    made: AccountFill, role: FillRole | None
) -> None:
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
        ([fill(5, "sell", 104.0, 1.2), fill(6, "sell", 103.0, 0.8)], [FillRole.EXIT] * 2),
        ([fill(5, "sell", 120.0, 1.2, order_id="x"), fill(6, "sell", 119.0, 0.8, order_id="x")], [FillRole.EXIT] * 2),
        ([fill(5, "sell", 121.0, 0.4, order_id="x"), fill(6, "sell", 120.0, 0.6, order_id="x")], [FillRole.LADDER] * 2),
        ([fill(5, "sell", 104.0, 0.3), fill(6, "sell", 103.0, 2.0)], [FillRole.EXIT]),
        ([fill(5, "sell", 104.0, 1.2), fill(6, "sell", 120.0, 0.1), fill(7, "sell", 103.0, 0.8)], [FillRole.LADDER]),
        ([fill(5, "sell", 89.0, 0.5, order_id="x"), fill(6, "sell", 89.0, 4.5, order_id="x")], []),
        ([fill(5, "sell", 104.0, 2.0, order_id="x"), fill(6, "sell", 104.0, 3.0, order_id="x")], []),
        ([fill(5, "sell", 104.0, 1.9)], []),
        ([fill(5, "sell", 104.0, 2.1)], []),
    ],
)
def test_sale_off_the_ladder_is_the_grids_when_the_stop_or_an_exit_explains_it(
    sales: list[AccountFill], roles: list[FillRole]
) -> None:
    bought = [fill(1, "buy", 100.0), fill(2, "buy", 110.0)]
    found = fills_of_grid(ladder(), [*sales, *bought], policy=ANY_SIZE, increments=STEPS)
    assert list(found.roles) == [FillRole.LADDER, FillRole.LADDER, *roles]
    assert len(found.foreign) == len(sales) - len(roles)


def test_limit_buy_that_got_a_better_price_is_the_ladders_whole() -> None:
    parts = [later(fill(1, "buy", 99.4, 0.4, order_id="x")), later(fill(2, "buy", 100.0, 0.6, order_id="x"))]
    found = fills_of_grid(ladder(), parts, policy=ANY_SIZE, increments=STEPS)
    assert found.roles == (FillRole.LADDER, FillRole.LADDER)


def test_both_sides_of_a_trade_with_oneself_are_two_fills() -> None:
    bought, sold = fill(1, "buy", 110.0, trade_id="7"), fill(1, "sell", 110.0, trade_id="7", order_id="other")
    assert in_order([sold, bought]) == [bought, sold]
    with pytest.raises(ConflictingFills):
        in_order([sold, replace(sold, price=111.0)])


@pytest.mark.parametrize(
    ("prices", "quantities", "steps"),
    [
        ([3000.5, 3010.25], [0.31, 0.3], Increments(price=0.01, base=3e-4)),
        ([0.00001234, 0.00001301], [81234.0, 1e5], Increments(price=1e-8, base=1.0)),
        ([100.0, 110.0], [1.0], Increments(price=0.1, base=0.001)),
    ],
)
def test_steps_are_told_by_the_last_place_of_any_fill(
    prices: list[float], quantities: list[float], steps: Increments
) -> None:
    fills = [fill(n, "buy", price, quantities[n % len(quantities)]) for n, price in enumerate(prices)]
    told_steps = steps_told(fills, ANY_SIZE)
    assert told_steps is not None
    assert (told_steps.price, told_steps.base) == (pytest.approx(steps.price), pytest.approx(steps.base))
    assert steps_told([], ANY_SIZE) is None


def holding(**amounts: float) -> list[Balance]:
    return [Balance(currency=name, total=held, available=held, locked=0.0) for name, held in amounts.items()]


ROUND_TRIP = (fill(1, "buy", 100.0), fill(2, "sell", 110.0))
STRANGERS = later(fill(3, "buy", 117.0, 1.2))
"""Bought off the ladder by nobody knows whom, long after the start."""


@pytest.mark.parametrize(
    ("fills", "orders", "balances", "is_it"),
    [
        (ROUND_TRIP, (), holding(ETH=0.0), True),
        (ROUND_TRIP, (), holding(ETH=5.0), True),  # held before the grid began
        ((*ROUND_TRIP, STRANGERS), (), holding(ETH=1.0), False),
        ((*ROUND_TRIP, STRANGERS), (), holding(ETH=0.0), True),
        (ROUND_TRIP, (resting(9, "buy", 100.0),), holding(), False),
        (ROUND_TRIP[:1], (), holding(ETH=1.0), False),
        ((fill(1, "buy", 100.0), fill(2, "sell", 110.0, 0.97)), (), holding(ETH=0.03), True),
        ((fill(1, "buy", 100.0), fill(2, "sell", 110.0, 0.7)), (), holding(ETH=0.3), False),
        ((), (), holding(), False),
    ],
)
def test_position_is_closed_when_nothing_rests_and_dust_is_left(
    fills: tuple[AccountFill, ...], orders: tuple[OpenOrder, ...], balances: list[Balance], is_it: bool
) -> None:
    position = told(*fills, orders=orders, balances=balances)
    assert is_closed(ladder(), position, balances, ANY_SIZE) is is_it


def placed_later(side: str, price: float) -> OpenOrder:
    return replace(resting(9, side, price), time_ms=ROUND_TRIP[-1].time_ms + LATER_MS)


@pytest.mark.parametrize(
    ("fills", "orders", "at"),
    [
        ((*ROUND_TRIP, fill(9, "buy", 110.0)), (), fill(9, "buy", 110.0).time_ms),
        ((*ROUND_TRIP, fill(9, "buy", 110.0, 0.05)), (), None),
        ((*ROUND_TRIP, fill(9, "buy", 110.0), fill(10, "sell", 120.0)), (), None),
        (ROUND_TRIP, (placed_later("buy", 100.0),), placed_later("buy", 100.0).time_ms),
        (ROUND_TRIP, (placed_later("sell", 120.0),), placed_later("sell", 120.0).time_ms),
        (ROUND_TRIP, (resting(1, "buy", 100.0),), None),  # had rested before
    ],
)
def test_grid_trades_again_when_it_buys_or_places_an_order_after_it_was_flat(
    fills: tuple[AccountFill, ...], orders: tuple[OpenOrder, ...], at: int | None
) -> None:
    mine = fills_of_grid(ladder(), fills, policy=ANY_SIZE, increments=STEPS)
    position, flat_ms = told(*fills, orders=orders), ROUND_TRIP[-1].time_ms
    assert traded_again_ms(ladder(), mine, orders, position, ANY_SIZE, since_ms=flat_ms) == at


def test_orders_of_the_grid_rest_on_its_ladder_whatever_their_age() -> None:
    mine = [resting(1, "buy", 100.0), resting(2, "sell", 130.01, 0.8333), replace(resting(7, "buy", 100.0), time_ms=0)]
    others = [
        resting(3, "buy", 130.0),
        resting(4, "sell", 100.0),
        resting(5, "sell", 135.0),
        replace(resting(6, "buy", 100.0), symbol="BTC/USDT"),
        resting(8, "sell", 120.0, 2.0),
        resting(9, "buy", 99.0),
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


def test_fills_of_two_grids_count_for_the_one_that_started_first() -> None:
    older, younger = ladder(id="older"), ladder(id="younger", started_at=STARTED + timedelta(seconds=2))
    apart = ladder(id="apart", lower=200.0, upper=230.0)
    fills = [*ROUND_TRIP, fill(3, "buy", 100.0), later(fill(4, "buy", 205.0)), fill(5, "buy", 210.0)]
    orders = (resting(6000, "buy", 110.0),)
    shares = shares_of([younger, older, apart], fills, orders, policy=ANY_SIZE, increments=STEPS)

    def held(grid: Grid) -> float:
        share = shares[grid.id]
        return position_of(grid, share.fills, share.orders, None, 115.0, policy=ANY_SIZE).inventory_base

    assert (held(older), held(younger), held(apart)) == (1.0, 0.0, 1.0)
    assert [shares[name].contested for name in ("older", "younger", "apart")] == [3, 3, 0]
    assert [len(shares[name].orders) for name in ("older", "younger")] == [1, 0]
    alone = shares_of([older], fills, orders, policy=ANY_SIZE, increments=STEPS)
    assert alone["older"].fills == tuple(in_order(fills))


def test_net_flows_are_the_quotes_since_the_start() -> None:
    flows = [flow(1, 50.0), flow(2, -20.0), flow(3, 1.5, currency="ETH"), flow(4, 9.0, time_ms=0)]
    assert [one.amount_quote for one in net_flows_of(ladder(), flows)] == [50.0, -20.0]


OWN_COINS_TOO = fill(3, "sell", 104.0, 3.0)
"""One market order that sells what the grid bought and two coins of its operator's."""


@pytest.mark.parametrize(
    ("orders", "balances", "is_it"),
    [
        ((), holding(ETH=0.0, USDT=900.0), True),
        ((), holding(USDT=900.0), True),
        ((), holding(ETH=0.05, USDT=900.0), True),  # dust
        ((), holding(ETH=0.2, USDT=900.0), False),
        ((resting(9, "buy", 55.0),), holding(ETH=0.0, USDT=900.0), False),
        ((replace(resting(9, "buy", 55.0), symbol="BTC/USDT"),), holding(ETH=0.0, USDT=900.0), True),
        ((), [], False),  # an answer without a balance
    ],
)
def test_account_without_base_and_orders_is_emptied_whoever_sold(
    orders: tuple[OpenOrder, ...], balances: list[Balance], *, is_it: bool
) -> None:
    assert is_emptied(ladder(), balances, orders, ANY_SIZE) is is_it


@pytest.mark.parametrize(
    "fills",
    [
        (fill(1, "buy", 100.0), OWN_COINS_TOO),
        # Two lots: one is sold by its ladder order, the other in an order off the ladder that comes before it.
        (fill(1, "buy", 100.0), fill(2, "buy", 110.0), fill(3, "sell", 104.0, 1.5), fill(4, "sell", 120.0, 0.5)),
    ],
)
def test_sales_that_an_empty_account_shows_to_be_the_grids_are_its_exit(fills: tuple[AccountFill, ...]) -> None:
    empty = holding(ETH=0.0, USDT=900.0)
    position = told(*fills, balances=empty)
    assert position.inventory_base == pytest.approx(0.0, abs=1e-9)
    assert (position.uncovered_base, position.doubts) == (0.0, ())
    assert is_closed(ladder(), position, empty, ANY_SIZE)
    assert told(*fills).inventory_base > 0.4, "without a balance nobody knows"


@pytest.mark.parametrize(
    ("fills", "amount", "held"),
    [
        ((fill(1, "buy", 100.0),), 1.0, 1.0),
        ((fill(1, "buy", 100.0),), 3.0, 1.0),  # two were there before
        ((fill(1, "buy", 100.0),), 0.4, 0.4),
        (ROUND_TRIP, 5.0, 0.0),
        ((*ROUND_TRIP, STRANGERS), 1.0, 0.0),  # bought by somebody, and nothing says that it is the grid's
        ((STRANGERS, later(fill(2, "sell", 110.0, 0.4), 2 * LATER_MS)), 0.6, 0.6),  # its start is among them
    ],
)
def test_grid_holds_what_its_fills_bought_and_the_account_still_has(
    fills: tuple[AccountFill, ...], amount: float, held: float
) -> None:
    balances = holding(ETH=amount)
    position = told(*fills, balances=balances)
    assert held_base(ladder(), position, balances, ANY_SIZE) == pytest.approx(held)


@pytest.mark.parametrize(
    ("price", "quantity", "may_be"),
    [
        (110.0, 0.5, True),  # a part at a level
        (105.0, 1.0, True),  # an interval's size beside one
        (105.0, 0.5, False),
        (80.0, 1.25, False),  # far below
    ],
)
def test_order_that_rests_may_be_a_bots_that_trades_on(price: float, quantity: float, *, may_be: bool) -> None:
    order = OpenOrder(
        order_id="rests",
        symbol="ETH/USDT",
        time_ms=0,
        side=Side.BUY,
        price=price,
        quantity_base=quantity,
        filled_base=0.0,
    )
    assert AccountLadder(hundreds_grid(), account_policy(), None).may_be_its_own(order) is may_be
