"""Orders of a paper account along a price path that is written out, to the cent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import polars as pl
import pytest

from mm_pipeline.domain.account import Side
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.market import Market
from mm_pipeline.domain.position import simulate_grid
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.markets.market_data import MarketData
from mm_pipeline.paper.markets.markets import PaperMarket
from mm_pipeline.paper.markets.price_path import PricePlayer
from mm_pipeline.paper.trading.account import BalanceInsufficient, FeeIn, FeeSchedule, PaperAccount, PartFills
from mm_pipeline.paper.trading.desk import TradingDesk
from mm_pipeline.paper.trading.grid_bot import GridBot
from mm_pipeline.paper.trading.orders import Order, OrderStatus, OrderTicket, floored, raised
from mm_pipeline_tests.candle_samples import STEP_MS, T0_MS, at_ms
from mm_pipeline_tests.grid_samples import bars_of, hundreds_grid

Rows = Sequence[tuple[float, float, float, float]]
"""(open, high, low, close)"""

DIP: Rows = [(100.0, 101.0, 99.0, 100.0), (100.0, 102.0, 94.0, 96.0), (97.0, 103.0, 96.0, 102.0)]


@dataclass(frozen=True)
class _Rows:
    rows: Rows

    def load(self, *, price_increment: float) -> pl.DataFrame:
        return bars_of(self.rows).select("open_time", "open", "high", "low", "close", "volume")


def data_of(rows: Rows) -> MarketData:
    return MarketData(
        PaperMarket(
            market=Market("kucoin", "ETH/USDT"), source=_Rows(rows), price_increment=0.01, base_increment=0.0001
        )
    )


def desk_of(
    rows: Rows, *, slot: float = 0.0, balances: str = "USDT=1000 ETH=5 KCS=1", **account: object
) -> TradingDesk:
    amounts = {name: Decimal(text) for name, text in (pair.split("=") for pair in balances.split())}
    desk = TradingDesk(
        PaperAccount(keys=(), balances=amounts, **account),  # type: ignore[arg-type]
        {"ETH-USDT": data_of(rows)},
        PaperClock.standing(time_of(slot)),
    )
    desk.advance()
    return desk


def time_of(slot: float) -> datetime:
    return from_ms(at_ms(slot))


@pytest.mark.parametrize(
    ("value", "increment", "lower", "upper"),
    [
        *((cents / 100, 0.01, cents, cents) for cents in (1, 29, 57, 115, 294119, 302837)),
        (0.3, 0.1, 3, 3),
        (0.1 + 0.2, 0.1, 3, 3),
        (1.1e-6, 1e-8, 110, 110),
        (0.305, 0.01, 30, 31),
        (2999.999, 0.01, 299999, 300000),
    ],
)
def test_price_on_the_tick_stays_there_and_another_goes_to_its_side(
    value: float, increment: float, lower: int, upper: int
) -> None:
    step = Decimal(str(increment))
    assert (floored(value, increment), raised(value, increment)) == (lower * step, upper * step)


def move_to(desk: TradingDesk, slot: float) -> None:
    desk._clock.stand_at(time_of(slot))
    desk.advance()


def order(side: str, size: str, price: str | None) -> OrderTicket:
    return OrderTicket(
        symbol="ETH-USDT", side=Side(side), size=Decimal(size), price=None if price is None else Decimal(price)
    )


def test_path_runs_through_the_corners_of_every_bar() -> None:
    legs = list(PricePlayer(data_of(DIP)).legs(T0_MS + 3 * STEP_MS))

    ways = [(leg.start, leg.end, leg.is_gap) for leg in legs if leg.bar == 1]
    assert ways == [(100.0, 100.0, True), (100.0, 102.0, False), (102.0, 94.0, False), (94.0, 96.0, False)]
    assert [leg.end for leg in legs if leg.bar == 0] == [100.0, 99.0, 101.0, 100.0], "a tie: the low first"
    assert [leg.to_ms - T0_MS for leg in legs if leg.bar == 2] == [2 * STEP_MS + part * 300_000 for part in range(4)]


def test_path_played_in_pieces_is_the_same_path() -> None:
    whole = [leg for leg in PricePlayer(data_of(DIP)).legs(T0_MS + 3 * STEP_MS) if leg.start != leg.end]
    player = PricePlayer(data_of(DIP))
    pieces = [leg for slot in range(0, 301) for leg in player.legs(T0_MS + slot * STEP_MS // 100)]

    corners = {(leg.to_ms, leg.end) for leg in whole}
    assert corners <= {(leg.to_ms, leg.end) for leg in pieces}
    for before, after in pairwise(pieces):
        assert (before.end, before.to_ms) == (after.start, after.from_ms) or after.is_gap
    shown = data_of(DIP)
    assert all(leg.end == shown.last_price(leg.to_ms) for leg in pieces if not leg.is_gap), "as candles show it"


def test_orders_fill_in_the_order_in_which_the_price_reaches_them() -> None:
    desk = desk_of(DIP, slot=1)
    for side, price in (("buy", "95"), ("sell", "101.5"), ("buy", "98"), ("buy", "93")):
        desk.place(order(side, "1", price))

    move_to(desk, 2)

    assert [(trade.side.value, trade.price, trade.at_ms - at_ms(1)) for trade in desk.trades] == [
        ("sell", Decimal("101.5"), 225_000),
        ("buy", Decimal(98), 450_000),
        ("buy", Decimal(95), 562_500),
    ]
    assert [made.ticket.price for made in desk.orders if made.status is OrderStatus.OPEN] == [Decimal(93)]


def test_price_that_equals_an_order_touches_it_and_one_step_short_does_not() -> None:
    desk = desk_of(DIP, slot=1)
    touched, missed = desk.place(order("buy", "1", "94")), desk.place(order("buy", "1", "93.99"))
    move_to(desk, 3)
    assert (touched.status, missed.status) == (OrderStatus.FILLED, OrderStatus.OPEN)


def test_jump_between_bars_fills_at_the_orders_own_price() -> None:
    desk = desk_of([(100.0, 100.0, 100.0, 100.0), (90.0, 91.0, 90.0, 91.0)], slot=1)
    desk.place(order("buy", "1", "95"))
    move_to(desk, 2)
    assert [(trade.price, trade.at_ms) for trade in desk.trades] == [(Decimal(95), at_ms(1))]


@pytest.mark.parametrize(
    ("fee_in", "currency", "fee", "usdt", "eth"),
    [
        (FeeIn.QUOTE, "USDT", "0.19", "809.81", "7"),
        (FeeIn.RECEIVED, "ETH", "0.002", "810", "6.998"),
        (FeeIn.THIRD, "KCS", "0.019", "810", "7"),
    ],
)
def test_fee_is_taken_from_where_the_account_pays_it(
    fee_in: FeeIn, currency: str, fee: str, usdt: str, eth: str
) -> None:
    desk = desk_of(DIP, slot=1, fees=FeeSchedule(fee_in=fee_in))
    desk.place(order("buy", "2", "95"))
    move_to(desk, 2)
    (trade,) = desk.trades
    assert (trade.fee_currency, trade.fee) == (currency, Decimal(fee))
    assert (desk.balances.available("USDT"), desk.balances.available("ETH")) == (Decimal(usdt), Decimal(eth))
    assert desk.balances.held("USDT") == 0
    assert desk.balances.available("KCS") == 1 - (Decimal(fee) if currency == "KCS" else 0)


def test_third_currency_that_is_used_up_leaves_the_fee_to_quote() -> None:
    desk = desk_of(DIP, slot=1, fees=FeeSchedule(fee_in=FeeIn.THIRD), balances="USDT=1000 KCS=0.018")
    desk.place(order("buy", "2", "95"))
    move_to(desk, 2)
    assert (desk.trades[0].fee_currency, desk.balances.available("KCS")) == ("USDT", Decimal("0.018"))


def test_taker_pays_its_own_rate() -> None:
    fees = FeeSchedule(maker_rate=Decimal("0.001"), taker_rate=Decimal("0.002"))
    desk = desk_of(DIP, slot=1, fees=fees)
    desk.place(order("sell", "1", None))
    desk.place(order("sell", "1", "101"))
    move_to(desk, 2)
    assert [(trade.is_maker, trade.fee) for trade in desk.trades] == [
        (False, Decimal("0.2")),
        (True, Decimal("0.101")),
    ]


def test_order_that_cannot_be_paid_for_is_refused_and_changes_nothing() -> None:
    desk = desk_of(DIP, slot=1)
    desk.place(order("buy", "5", "95"))
    with pytest.raises(BalanceInsufficient):
        desk.place(order("buy", "6", "95"))
    with pytest.raises(BalanceInsufficient):
        desk.place(order("sell", "5.0001", "105"))
    assert desk.balances.held("USDT") == Decimal("475.475")
    assert len(desk.orders) == 1


@pytest.mark.parametrize(("parts", "sizes"), [(1, ["1"]), (3, ["0.3333", "0.3333", "0.3334"])])
def test_parts_of_an_order_add_up_to_it(parts: int, sizes: list[str]) -> None:
    desk = desk_of(DIP, slot=1, part_fills=PartFills(parts=parts))
    made = desk.place(order("buy", "1", "95"))
    move_to(desk, 2)
    assert [trade.size for trade in desk.trades] == [Decimal(size) for size in sizes]
    assert (made.filled, made.held, made.status) == (Decimal(1), Decimal(0), OrderStatus.FILLED)


def test_one_part_a_bar_leaves_the_rest_on_the_book() -> None:
    desk = desk_of([*DIP[:2], (96.0, 96.0, 94.0, 95.0)], slot=1, part_fills=PartFills(parts=2, is_at_once=False))
    made = desk.place(order("buy", "1", "95"))
    move_to(desk, 2)
    assert (made.filled, made.status) == (Decimal("0.5"), OrderStatus.OPEN)
    assert desk.balances.held("USDT") == Decimal("47.5475")
    move_to(desk, 3)
    assert [trade.at_ms // STEP_MS - T0_MS // STEP_MS for trade in desk.trades] == [1, 2]
    assert made.status is OrderStatus.FILLED


def test_time_that_goes_back_undoes_nothing() -> None:
    desk = desk_of(DIP, slot=1)
    desk.place(order("buy", "1", "95"))
    move_to(desk, 2)
    move_to(desk, 0.5)
    move_to(desk, 2)
    assert len(desk.trades) == 1


def test_bot_waits_for_the_first_bar_at_its_start_and_leaves_out_what_it_cannot_pay() -> None:
    grid = hundreds_grid(
        started_at=time_of(1) - timedelta(minutes=1), exchange="kucoin", lower=90.0, upper=120.0, stop_loss=80.0
    )
    desk = desk_of(DIP, balances="USDT=150")
    GridBot(grid, desk)
    move_to(desk, 1)
    assert desk.orders == []
    move_to(desk, 1.2)
    assert [made.ticket.price for made in desk.orders] == [None, Decimal(120)], "the rest is more than 150"


@pytest.mark.parametrize(
    "rows",
    [
        [(115.0, 116.0, 114.0, 115.0), (115.0, 131.0, 99.0, 100.0), (100.0, 121.0, 100.0, 120.0)],
        [(115.0, 116.0, 114.0, 115.0), (115.0, 115.0, 85.0, 88.0), (88.0, 131.0, 88.0, 130.0)],
        [(115.0, 116.0, 114.0, 115.0), (88.0, 131.0, 88.0, 130.0)],
        [(85.0, 86.0, 84.0, 85.0), (85.0, 131.0, 85.0, 130.0)],
        [(140.0, 141.0, 139.0, 140.0), (140.0, 140.0, 99.0, 100.0)],
    ],
    ids=[
        "through the ladder and back",
        "stopped within a bar",
        "stopped at an open",
        "begun below the stop",
        "begun above",
    ],
)
def test_bot_trades_as_the_simulator_along_a_written_path(rows: Rows) -> None:
    grid = hundreds_grid(exchange="kucoin")
    free = FeeSchedule(maker_rate=Decimal(0), taker_rate=Decimal(0))
    desk = desk_of(rows, balances="USDT=300", fees=free)
    bot = GridBot(grid, desk)
    move_to(desk, len(rows))
    model = simulate_grid(grid, bars_of(rows))

    assert [(trade.side.value, float(trade.price)) for trade in desk.trades] == list(
        model.fills.select("side", "price").iter_rows()
    )
    assert bot.is_over == (model.trades.stopped_bar >= 0)
    resting = [made for made in desk.orders if made.status is OrderStatus.OPEN]
    assert len(resting) == (0 if bot.is_over else grid.interval_count)


def test_rounding_to_increments_is_never_to_the_accounts_loss() -> None:
    assert (floored(3092.9999, 0.01), raised(3092.9901, 0.01)) == (Decimal("3092.99"), Decimal("3093.00"))
    assert (floored(3093.0, 0.01), raised(3093.0, 0.01)) == (Decimal(3093), Decimal(3093))
    assert floored(Decimal("0.12345678"), 1e-7) == Decimal("0.1234567")


def test_cancelled_order_gives_back_what_its_parts_left() -> None:
    desk = desk_of(DIP, slot=1, part_fills=PartFills(parts=2, is_at_once=False))
    made: Order = desk.place(order("buy", "1", "95"))
    move_to(desk, 1.9)
    assert desk.cancel(made.order_id) is made
    assert desk.cancel(made.order_id) is None
    assert desk.balances.held("USDT") == 0
    assert desk.balances.available("USDT") == Decimal(1000) - Decimal("47.5") * Decimal("1.001")
    move_to(desk, 3)
    assert len(desk.trades) == 1
