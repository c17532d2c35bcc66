"""Orders, trades and the resting orders of one market. Money and time do not belong here."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import StrEnum
from typing import Final

from mm_pipeline.domain.account import OrderApi, Side

ZERO = Decimal(0)


class OrderStatus(StrEnum):
    """Where an order is in its life."""

    OPEN = "open"
    FILLED = "filled"
    CANCELLED = "cancelled"


@dataclass(frozen=True, kw_only=True)
class OrderTicket:
    """What is asked for. ``price`` None is a market order; sizes are base, prices quote per base."""

    symbol: str
    side: Side
    size: Decimal
    price: Decimal | None = None
    api: OrderApi = OrderApi.HF
    client_oid: str = ""
    is_post_only: bool = False


@dataclass(frozen=True, kw_only=True)
class Trade:
    """One execution of an order, or of a part of it; ``number`` counts over the whole account."""

    number: int
    order_id: str
    symbol: str
    side: Side
    price: Decimal
    size: Decimal
    fee: Decimal
    fee_rate: Decimal
    fee_currency: str
    is_maker: bool
    is_limit: bool
    at_ms: int
    api: OrderApi

    @property
    def funds(self) -> Decimal:
        """Quote."""
        return self.price * self.size


@dataclass(kw_only=True, eq=False)
class Order:
    """An order as the exchange keeps it.

    ``held`` is what of the balance still stands behind it, ``fee_base`` what of the bought base its fees took.
    """

    order_id: str
    number: int
    ticket: OrderTicket
    created_ms: int
    updated_ms: int
    status: OrderStatus = OrderStatus.OPEN
    filled: Decimal = ZERO
    filled_funds: Decimal = ZERO
    fee: Decimal = ZERO
    fee_currency: str = ""
    fee_base: Decimal = ZERO
    held: Decimal = ZERO
    on_filled: Callable[[Order], None] | None = None

    @property
    def remaining(self) -> Decimal:
        """Base that is neither filled nor cancelled."""
        return self.ticket.size - self.filled

    @property
    def limit_price(self) -> Decimal:
        """The price of a limit order."""
        if self.ticket.price is None:
            raise ValueError(f"order {self.order_id} is a market order")
        return self.ticket.price


class RestingOrders:
    """The open limit orders of one market, by price, the older first at one price."""

    def __init__(self) -> None:
        self._bids: list[tuple[float, int, Order]] = []  # best last
        self._asks: list[tuple[float, int, Order]] = []  # best first

    def add(self, order: Order) -> None:
        """Let an order rest."""
        side, key = self._place(order)
        insort(side, (*key, order), key=lambda entry: entry[:2])

    def remove(self, order: Order) -> None:
        """Take an order off; one that does not rest is left in peace."""
        side, key = self._place(order)
        index = bisect_left(side, key, key=lambda entry: entry[:2])
        if index < len(side) and side[index][2] is order:
            del side[index]

    def touched(self, price: float, *, side: Side) -> Order | None:
        """The best order of a side that a price reaches."""
        if side is Side.BUY:
            return self._bids[-1][2] if self._bids and self._bids[-1][0] >= price else None
        return self._asks[0][2] if self._asks and self._asks[0][0] <= price else None

    def _place(self, order: Order) -> tuple[list[tuple[float, int, Order]], tuple[float, int]]:
        price = float(order.limit_price)
        if order.ticket.side is Side.BUY:
            return self._bids, (price, -order.number)
        return self._asks, (price, order.number)


_DIGITS: Final = 12
"""Of a float as many count: 0.3 lies on a step of 0.1, though its nearest binary number lies a hair below."""


def floored(value: float | Decimal, increment: float) -> Decimal:
    """The largest multiple of an increment that is not above the value."""
    return _on_increment(value, increment, ROUND_FLOOR)


def raised(value: float | Decimal, increment: float) -> Decimal:
    """The smallest multiple of an increment that is not below the value."""
    return _on_increment(value, increment, ROUND_CEILING)


def is_multiple(value: Decimal, increment: float) -> bool:
    """Whether the value is a whole number of increments."""
    return value % Decimal(str(increment)) == 0


def _on_increment(value: float | Decimal, increment: float, rounding: str) -> Decimal:
    step = Decimal(str(increment))
    exact = value if isinstance(value, Decimal) else Decimal(f"{value:.{_DIGITS}g}")
    return (exact / step).to_integral_value(rounding=rounding) * step
