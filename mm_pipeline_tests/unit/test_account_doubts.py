"""Accounts of which the fills alone give a plain answer that is wrong: each is told as not known, with its reason.

Ladders of 100 to 130 in three intervals, which trade 0.999, 0.9081 and 0.8325; the stop is at 90.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from mm_pipeline.adapters.account import AccountReading
from mm_pipeline.application.account_books import Booked, books_of
from mm_pipeline.application.account_positions import position_in
from mm_pipeline.application.read_accounts import Accounts
from mm_pipeline.domain.account import (
    AccountFill,
    AccountPosition,
    Balance,
    EarlierRange,
    Increments,
    OpenOrder,
    Side,
    fills_of_grid,
    position_of,
)
from mm_pipeline.domain.account.closing import is_closed
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.market import Market
from mm_pipeline_tests.account_samples import MARKET, STARTED, account_policy, fill
from mm_pipeline_tests.grid_samples import hundreds_grid

POLICY = account_policy()
STEPS = Increments(price=0.01, base=1e-4)
STARTED_MS = int(STARTED.timestamp() * 1000)
LOTS = (0.999, 0.9081, 0.8325)
BUYS = [(100.0, LOTS[0]), (110.0, LOTS[1]), (120.0, LOTS[2])]


def ladder(name: str, **changes: Any) -> Grid:
    return hundreds_grid(
        **({"id": name, "exchange": "kucoin", "fee": 0.001, "levels": 4, "started_at": STARTED} | changes)
    )


@dataclass
class Account:
    """Fills a minute apart, orders, and what the account holds by them and its own coins."""

    base: float = 0.0
    fills: list[AccountFill] = field(default_factory=list)
    orders: list[OpenOrder] = field(default_factory=list)

    def trade(self, side: str, price: float, quantity: float, **changes: Any) -> Account:
        number = len(self.fills) + 1
        told = {"time_ms": STARTED_MS + 60_000 * (60 + number)} | changes
        self.fills.append(fill(number, side, price, quantity, **told))
        self.base += quantity if side == "buy" else -quantity
        return self

    def rest(self, side: Side, price: float, quantity: float) -> Account:
        name = f"rests-{len(self.orders)}"
        self.orders.append(
            OpenOrder(
                order_id=name,
                symbol="ETH/USDT",
                time_ms=STARTED_MS,
                side=side,
                price=price,
                quantity_base=quantity,
                filled_base=0.0,
            )
        )
        return self

    def reading(self, market: Market = MARKET, steps: Increments = STEPS) -> AccountReading:
        return AccountReading(
            account="main",
            market=market,
            read_at_ms=STARTED_MS + 90 * 86_400_000,
            fills=tuple(one for one in self.fills if one.symbol == market.symbol),
            fills_from_ms=STARTED_MS - 86_400_000,
            orders=tuple(self.orders),
            balances=(Balance(currency="ETH", total=self.base, available=self.base, locked=0.0),),
            increments=steps,
            bid=105.0,
            prices={},
            new_fills=0,
        )


def seen(
    account: Account,
    *grids: Grid,
    markets: Sequence[Market] = (MARKET,),
    earlier: Sequence[EarlierRange] = (),
    start_high: float | None = None,
    steps: Increments = STEPS,
) -> dict[str, AccountPosition]:
    """What the second of two equal readings says of each grid."""
    by_market = {MARKET: steps}
    finer = Increments(price=1e-6, base=1e-4)
    read = Accounts(readings={one: account.reading(one, by_market.get(one, finer)) for one in markets})
    booked = booked_by(read, *grids, earlier=earlier)
    return {
        one.id: position_in(one, booked[one.id], read.readings[one.market], POLICY, start_high=start_high)[0]
        for one in grids
    }


def booked_by(read: Accounts, *grids: Grid, earlier: Sequence[EarlierRange] = ()) -> dict[str, Booked]:
    booked = books_of({one.id: one for one in grids}, read, POLICY, earlier=earlier, was_short=lambda _grid: True)
    assert not read.problems
    return booked


def doubts(position: AccountPosition) -> str:
    return "; ".join(position.doubts)


def test_coins_of_one_market_that_were_sold_on_another_are_missing_where_they_were_held() -> None:
    other = Market("kucoin", "ETH/BTC")
    pair = ladder("pair", symbol="ETH/BTC", lower=0.02, upper=0.026, stop_loss=0.018, capital=0.06)
    account = Account().trade("buy", 110.0, LOTS[1]).trade("buy", 100.0, LOTS[0])
    account.trade("buy", 0.022, 0.9081, symbol="ETH/BTC", fee_currency="BTC")
    account.trade("sell", 0.0205, 1.9071, symbol="ETH/BTC", fee_currency="BTC")
    grid = ladder("grid")
    found = seen(account, grid, pair, markets=(MARKET, other))
    assert [round(found[name].inventory_base, 4) for name in ("grid", "pair")] == [0.0, 0.9081]
    assert (found["grid"].doubts, found["pair"].doubts) == ((), ())
    assert found["grid"].pnl_unknown == "coins of the grid were sold on ETH/BTC"
    assert not is_closed(pair, found["pair"], account.reading().balances, POLICY)


def test_sale_of_more_than_is_missing_says_not_whose_whole_inventory_it_was() -> None:
    low = ladder("low")
    high = ladder("high", lower=140.0, upper=170.0, stop_loss=95.0, capital=330.0)
    account = Account(base=0.5).trade("buy", 110.0, LOTS[1]).trade("buy", 140.0, 0.7849).trade("buy", 150.0, 0.7326)
    account.trade("sell", 128.5, LOTS[1] + 0.5)  # nearly all of the high one's, and as much as the low one's and own
    found = seen(account, low, high)
    assert all("may be this grid's or another's" in doubts(one) for one in found.values())
    assert not is_closed(low, found["low"], account.reading().balances, POLICY)


def test_own_order_at_a_level_beside_the_grids_own_is_not_counted_in_silence() -> None:
    account = Account().trade("buy", 110.0, 0.5)
    for price, lot in BUYS:
        account.rest(Side.BUY, price, lot)
    assert "buy more than its intervals hold, 0.5 ETH" in doubts(seen(account, ladder("grid"))["grid"])


def test_second_lot_of_an_interval_that_holds_is_not_counted_in_silence() -> None:
    account = Account().trade("buy", 110.0, LOTS[1]).trade("buy", 110.0, LOTS[1])
    assert "buy more than its intervals hold, 0.908" in doubts(seen(account, ladder("grid"))["grid"])
    once = Account().trade("buy", 110.0, LOTS[1])
    assert seen(once, ladder("grid"))["grid"].doubts == ()


@pytest.mark.parametrize("price", [107.6, 108.0])
def test_start_that_is_bought_interval_by_interval_is_the_grids(price: float) -> None:
    # Levels a hundredth apart trade quantities that differ by less than the tolerance, all at one better price, which
    # may be a level too.
    grid = ladder("grid", lower=104.0, upper=112.0, stop_loss=95.0, levels=9, capital=800.0)
    account = Account()
    for level in (111.0, 110.0, 109.0, 108.0):
        account.trade("buy", price, int(1e4 * 100 / (level * 1.001)) / 1e4, time_ms=STARTED_MS + 1000)
    found = seen(account, grid, start_high=107.9)["grid"]
    assert (found.doubts, found.inventory_base) == ((), pytest.approx(account.base))


def test_part_that_rests_no_more_stays_in_doubt_after_the_grid_was_left() -> None:
    account = Account().trade("buy", 100.0, 0.3).trade("buy", 110.0, LOTS[1]).trade("buy", 100.0, LOTS[0])
    account.trade("sell", 97.0, LOTS[0] + LOTS[1])
    assert "orders of 0.3 ETH in all traded parts" in doubts(seen(account, ladder("grid"))["grid"])


def test_parts_that_make_a_whole_and_their_sale_are_the_grids() -> None:
    account = Account().trade("buy", 110.0, 0.4).trade("buy", 110.0, LOTS[1] - 0.4)
    assert seen(account, ladder("grid"))["grid"].doubts == ()
    account.trade("sell", 120.0, LOTS[1])
    assert seen(account, ladder("grid"))["grid"].doubts == ()


def test_missing_sale_shows_as_an_interval_that_buys_twice() -> None:
    account = Account(base=-LOTS[1]).trade("buy", 110.0, LOTS[1]).trade("buy", 110.0, LOTS[1])
    assert "buy more than its intervals hold" in doubts(seen(account, ladder("grid"))["grid"])


@pytest.mark.parametrize(("start_high", "is_known"), [(109.0, False), (131.0, True), (None, True)])
def test_start_that_no_fill_tells_is_not_nothing(start_high: float | None, *, is_known: bool) -> None:
    account = Account()
    early = STARTED_MS + 40 * 60_000  # after the window in which a start is looked for
    account.trade("buy", 110.2, LOTS[1] + LOTS[2], time_ms=early)
    account.trade("buy", 100.0, LOTS[0]).trade("sell", 110.0, LOTS[0])
    found = seen(account, ladder("grid"), start_high=start_high)["grid"]
    assert found.inventory_base == pytest.approx(0.0)
    assert ("the grid began with 1.70" not in doubts(found)) == is_known


def test_order_that_was_cancelled_half_filled_is_either_twins() -> None:
    twins = ladder("first"), ladder("second", started_at=STARTED + timedelta(seconds=2))
    half = LOTS[1] / 2
    account = Account().trade("buy", 110.0, half).trade("buy", 110.0, half)
    found = seen(account, *twins)
    assert all("may be this grid's or another's" in doubts(one) for one in found.values())


def test_sale_off_the_ladders_may_have_emptied_any_twin() -> None:
    first = ladder("first", started_at=STARTED + timedelta(seconds=2))
    second = ladder("second", lower=110.0, upper=140.0, stop_loss=95.0, capital=300.0)
    account = Account().trade("buy", 110.0, LOTS[1]).trade("buy", 110.0, LOTS[1]).trade("buy", 100.0, LOTS[0])
    account.trade("sell", 97.3, LOTS[0] + LOTS[1]).trade("buy", 110.0, LOTS[1])
    found = seen(account, first, second)
    assert all("may be this grid's or another's" in doubts(one) for one in found.values())


@pytest.mark.parametrize("is_told", [True, False])
def test_order_that_is_filled_over_a_restart_leaves_the_position_not_known(*, is_told: bool) -> None:
    restarted = STARTED + timedelta(hours=3)
    again = ladder("grid", started_at=restarted, initial_base=0.3)
    account = Account().trade("buy", 110.0, 0.3, order_id="over")
    late_ms = int(restarted.timestamp() * 1000) + 60_000
    account.trade("buy", 110.0, LOTS[1] - 0.3, order_id="over", time_ms=late_ms)
    before = [EarlierRange(ladder("grid"), again.started_at_ms)] if is_told else []
    assert "filled both before and after its start" in doubts(seen(account, again, earlier=before)["grid"])


def test_order_that_was_filled_before_a_restart_alone_is_the_earlier_ranges() -> None:
    again = ladder("grid", started_at=STARTED + timedelta(hours=3), initial_base=LOTS[1])
    account = Account().trade("buy", 110.0, 0.3, order_id="over").trade("buy", 110.0, LOTS[1] - 0.3, order_id="over")
    found = seen(account, again, earlier=[EarlierRange(ladder("grid"), again.started_at_ms)])["grid"]
    assert (found.inventory_base, found.doubts) == (pytest.approx(LOTS[1]), ())


@pytest.mark.parametrize(("levels", "step"), [(13, 1e-4), (61, 1e-4), (61, 1e-2)])
def test_bot_that_trades_a_long_path_is_known_at_each_moment(levels: int, step: float) -> None:
    grid = ladder("grid", lower=100.0, upper=112.0, stop_loss=95.0, levels=levels, capital=100.0 * (levels - 1))
    prices = [100.0 + 12.0 * number / (levels - 1) for number in range(levels)]
    lots = [int(100.0 / (price * 1.001) / step + 1e-9) * step for price in prices[:-1]]
    drawn = np.random.default_rng(5)
    place, account, holds = levels // 2, Account(), [number >= levels // 2 for number in range(levels - 1)]
    for number in reversed(range(levels // 2, levels - 1)):
        account.trade("buy", prices[place] - 0.003, lots[number], time_ms=STARTED_MS + 1000)
    steps = Increments(price=0.001, base=step)
    for turn in range(240):
        move = 1 if drawn.random() < 0.5 else -1
        if not 0 <= place + move < levels:
            continue
        interval = place if move > 0 else place - 1
        place += move
        if move > 0 and holds[interval]:
            account.trade("sell", prices[interval + 1], lots[interval])
        if move < 0 and not holds[interval]:
            account.trade("buy", prices[interval], lots[interval])
        holds[interval] = move < 0
        if turn % 12 == 0:
            account.orders.clear()
            for number, is_held in enumerate(holds):
                side, at = (Side.SELL, prices[number + 1]) if is_held else (Side.BUY, prices[number])
                account.rest(side, at, lots[number])
            found = seen(account, grid, start_high=prices[levels // 2] + 0.01, steps=steps)["grid"]
            assert found.doubts == (), turn
            assert found.inventory_base == pytest.approx(account.base)


@pytest.mark.parametrize(("own", "tolerance", "utilization"), [(0, 0.02, 1.0), (1, 0.02, None), (1, 0.4, 4 / 3)])
def test_capital_at_work_is_not_told_where_more_rests_than_the_grid_can_have_placed(
    own: int, tolerance: float, utilization: float | None
) -> None:
    account = Account()
    for price, quantity in [*BUYS, *BUYS[:own]]:
        account.rest(Side.BUY, price, quantity)
    grid = ladder("grid")
    booked = booked_by(Accounts(readings={MARKET: account.reading()}), grid)[grid.id]
    policy = account_policy(quantity_tolerance=tolerance)
    position, *_ = position_in(grid, booked, account.reading(), policy)
    assert position.doubts == ()
    assert position.capital_utilization == (None if utilization is None else pytest.approx(utilization, rel=1e-3))


def test_first_buy_of_the_ladder_at_a_better_price_right_after_the_start_is_no_part_of_it() -> None:
    account = Account().trade("buy", 99.8, LOTS[0], time_ms=STARTED_MS + 60_000)
    account.rest(Side.SELL, 110.0, LOTS[0])
    for price, quantity in BUYS[1:]:
        account.rest(Side.BUY, price, quantity)
    found = seen(account, ladder("grid"))["grid"]
    assert (found.doubts, found.inventory_base) == ((), LOTS[0])


@pytest.mark.parametrize(("near_min", "far_min"), [(2, 25), (-2, -25), (-2, 25), (2, -25)])
def test_of_two_purchases_of_a_whole_start_the_one_nearer_to_it_counts(near_min: int, far_min: int) -> None:
    account = Account()
    for name, minute in (("far", far_min), ("near", near_min)):
        account.trade("buy", 104.0, LOTS[1] + LOTS[2], time_ms=STARTED_MS + minute * 60_000, order_id=name)
    found = fills_of_grid(ladder("grid"), account.fills, policy=POLICY, increments=STEPS)
    assert [one.order_id for one in found.fills] == ["near"]


@pytest.mark.parametrize(("own", "is_known"), [(0.0, True), (0.8, False)])
def test_part_sold_by_hand_at_a_level_is_the_grids_where_the_account_holds_nothing_else(
    own: float, *, is_known: bool
) -> None:
    account = Account(base=own)
    for price, quantity in reversed(BUYS):
        account.trade("buy", price, quantity)
    account.trade("sell", 104.37, 1.36).trade("sell", 110.0, 0.68)
    found = seen(account, ladder("grid"))["grid"]
    assert (not found.doubts) is is_known
    if is_known:
        assert (found.inventory_base, found.foreign_fills) == (pytest.approx(sum(LOTS) - 1.36 - 0.68), 0)


@pytest.mark.parametrize(("slippage", "is_known"), [(0.002, True), (0.0, False)])
@pytest.mark.parametrize("paid", [110.01, 109.95, 110.2])
def test_start_at_a_level_that_paid_a_little_more_or_less_is_the_start(
    paid: float, slippage: float, *, is_known: bool
) -> None:
    account = Account().trade("buy", paid, LOTS[1] + LOTS[2], time_ms=STARTED_MS + 1_000)
    account.rest(Side.SELL, 120.0, LOTS[1]).rest(Side.SELL, 130.0, LOTS[2]).rest(Side.BUY, 100.0, LOTS[0])
    policy = account_policy(start_slippage=slippage)
    found = fills_of_grid(ladder("grid"), account.fills, account.orders, policy=policy, increments=STEPS)
    is_below = paid < 110.0  # the level lies above what was paid: no slippage is needed
    assert (found.held_base > 1.7) is (is_known or is_below)


@pytest.mark.parametrize("own", [0.0, 0.5])
def test_lot_sold_by_hand_inside_the_range_is_gone_where_the_account_holds_nothing_else(own: float) -> None:
    fine = ladder("grid", lower=104.0, upper=112.0, stop_loss=100.0, levels=9, capital=800.0)
    lot = 0.9081
    account = Account(base=own).trade("buy", 110.0, lot).trade("sell", 109.4, lot)
    found = seen(account, fine)["grid"]
    assert (found.doubts == ()) is (own == 0.0)
    assert own or found.inventory_base == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("sold", [0.0, 0.9])
def test_bot_that_began_anew_without_a_word_leaves_the_position_not_known(sold: float) -> None:
    account = Account().trade("buy", 110.0, LOTS[1]).trade("sell", 104.0, LOTS[1])
    account.trade("buy", 104.0, LOTS[1] + LOTS[2], time_ms=STARTED_MS + 9 * 3_600_000)
    if sold:
        account.trade("sell", 104.3, sold, time_ms=STARTED_MS + 10 * 3_600_000)
    assert "bought beside the grid as a new start would" in doubts(seen(account, ladder("grid"))["grid"])


def test_own_purchase_of_another_size_than_a_start_says_nothing_of_the_grid() -> None:
    account = Account().trade("buy", 110.0, LOTS[1]).trade("sell", 120.0, LOTS[1])
    account.trade("buy", 104.0, 5.0, time_ms=STARTED_MS + 9 * 3_600_000)
    found = seen(account, ladder("grid"))["grid"]
    assert (found.doubts, found.inventory_base) == ((), pytest.approx(0.0))


def test_own_coins_or_another_grid_may_have_sold_a_part_at_a_level() -> None:
    account = Account(base=0.8)
    for price, quantity in reversed(BUYS):
        account.trade("buy", price, quantity)
    assert "traded parts of its intervals" in doubts(seen(account.trade("sell", 110.0, 0.68), ladder("grid"))["grid"])
    both = Account().trade("buy", 120.0, LOTS[2]).trade("buy", 110.0, LOTS[1]).trade("buy", 100.0, LOTS[0])
    both.trade("buy", 140.0, 0.7135).trade("sell", 110.0, 0.68)
    high = ladder("high", lower=140.0, upper=170.0, stop_loss=130.0, levels=4, capital=300.0)
    assert "traded parts of its intervals" in doubts(seen(both, ladder("grid"), high)["grid"])


def test_import_in_which_coins_were_sold_beside_the_grid_does_not_say_whose() -> None:
    account = Account().trade("buy", 110.0, LOTS[1]).trade("buy", 100.0, LOTS[0]).trade("sell", 104.3, 1.0)
    found = position_of(ladder("grid"), account.fills, (), None, 105.0, policy=POLICY, increments=STEPS)
    assert "1 ETH were sold beside the grid" in doubts(found)


def test_row_that_cannot_be_read_leaves_the_position_not_known_by_its_name() -> None:
    grid, account = ladder("grid"), Account().trade("buy", 110.0, LOTS[1])
    reading = replace(account.reading(), unreadable=("fill 7 of order-7 cannot be read: price 0", "another"))
    booked = booked_by(Accounts(readings={MARKET: reading}), grid)["grid"]
    position, *_ = position_in(grid, booked, reading, POLICY)
    assert position.doubts == ("fill 7 of order-7 cannot be read: price 0 (and 1 more)",)


def test_sale_from_before_twins_began_says_nothing_of_them() -> None:
    account = Account(base=0.4).trade("sell", 104.0, 0.4, time_ms=STARTED_MS - 30 * 86_400_000)
    for price, quantity in reversed(BUYS):
        for _ in range(2):
            account.trade("buy", price, quantity)
    found = seen(account, ladder("one"), ladder("two"))
    assert {name: (position.doubts, round(position.inventory_base, 4)) for name, position in found.items()} == {
        "one": ((), round(sum(LOTS), 4)),
        "two": ((), round(sum(LOTS), 4)),
    }
