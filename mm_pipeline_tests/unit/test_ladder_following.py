"""A bot that trades another ladder than the declared one is named; an operator's own orders are not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mm_pipeline.domain.account import AccountFill, Increments, OpenOrder, Side, position_of
from mm_pipeline.domain.grid import Grid
from mm_pipeline_tests.account_samples import STARTED, account_policy, fill
from mm_pipeline_tests.grid_samples import hundreds_grid

POLICY = account_policy()
STEPS = Increments(price=0.01, base=1e-7)


def ladder(**changes: Any) -> Grid:
    return hundreds_grid(**({"started_at": STARTED, "exchange": "kucoin"} | changes))


def doubts(grid: Grid, *fills: AccountFill, orders: tuple[OpenOrder, ...] = ()) -> tuple[str, ...]:
    return position_of(grid, fills, orders, None, 105.0, policy=POLICY, increments=STEPS).doubts


def rests(number: int, side: Side, price: float, quantity: float) -> OpenOrder:
    return OpenOrder(
        order_id=f"rests-{number}",
        symbol="ETH/USDT",
        time_ms=int(STARTED.timestamp() * 1000) + number,
        side=side,
        price=price,
        quantity_base=quantity,
        filled_base=0.0,
    )


def test_bot_that_multiplies_by_the_step_it_shows_leaves_the_ladder_and_is_named() -> None:
    grid = ladder(lower=100.0, upper=100.0 * 1.01425**24, levels=25, spacing="geometric", capital=2400.0, fee=0.0)
    prices = [100.0 * 1.0142**number for number in range(25)]  # which is 1.42 % as it is shown
    buys = tuple(rests(number, Side.BUY, round(price, 2), 100 / price) for number, price in enumerate(prices[:24]))
    told = doubts(grid, orders=buys)
    assert told == ("2 of 24 orders lie on the declared ladder",)
    exact = [100.0 * 1.01425**number for number in range(24)]
    followed = tuple(rests(number, Side.BUY, round(price, 2), 100 / price) for number, price in enumerate(exact))
    assert doubts(grid, orders=followed) == ()


def test_filled_orders_beside_the_ladder_count_once_each() -> None:
    later_ms = int(timedelta(hours=2).total_seconds() * 1000)
    made = (("buy", 103.0), ("sell", 113.0), ("buy", 103.0), ("buy", 104.0), ("buy", 100.0))
    fills = [fill(number, side, price, 1.0) for number, (side, price) in enumerate(made)]
    told = doubts(ladder(), *(replace(one, time_ms=one.time_ms + later_ms) for one in fills))
    assert "1 of 4 orders lie on the declared ladder" in told


@pytest.mark.parametrize("size", [0.05, 0.5, 3.0])
def test_own_orders_of_another_size_are_no_ladder(size: float) -> None:
    own = tuple(rests(number, Side.BUY, 103.0 + number, size) for number in range(20))
    assert doubts(ladder(), orders=own) == ()


def test_two_orders_beside_the_ladder_say_nothing() -> None:
    own = tuple(rests(number, Side.BUY, 103.0 + number, 1.0) for number in range(2))
    assert doubts(ladder(), orders=own) == ()


def test_more_on_the_ladder_than_beside_it_is_followed() -> None:
    own = tuple(rests(number, Side.BUY, 103.0 + number, 0.97) for number in range(3))
    on = tuple(rests(10 + number, Side.BUY, price, 100 / price) for number, price in enumerate((100.0, 110.0, 120.0)))
    assert doubts(ladder(), orders=own + on) == ()
    assert doubts(ladder(), orders=own + on[:2]) == ("2 of 5 orders lie on the declared ladder",)


def test_orders_far_from_the_range_are_nobodys_ladder() -> None:
    prices = (60.0, 70.0, 80.0, 160.0)
    own = tuple(rests(number, Side.BUY, price, 100 / price) for number, price in enumerate(prices))
    assert doubts(ladder(), orders=own) == ()
