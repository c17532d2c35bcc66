"""What is read from an account, as plain values. Where it is read from, and what it adds up to, do not belong here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from mm_pipeline.domain.errors import ConflictingFills, ConflictingFlows


class Side(StrEnum):
    """What a fill or an order does with the base currency."""

    BUY = "buy"
    SELL = "sell"


class PositionSource(StrEnum):
    """Where a position comes from (SPEC 7)."""

    EXCHANGE = "exchange"
    IMPORT = "import"
    MODELLED = "modelled"


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountFill:
    """One execution of an order or of a part of it.

    Attributes
    ----------
    trade_id
        The exchange's name of the execution, unique within the symbol; the same execution read twice bears the same.
    order_id
        The order; executions of one order share it. Empty where the source does not tell.
    symbol
        ``ETH/USDT``.
    time_ms
        Epoch milliseconds.
    side, price, quantity_base
        Price in quote per base; the quantity is what was executed, before fees.
    fee, fee_currency
        What was paid in its own currency; below 0 for a rebate.
    """

    trade_id: str
    order_id: str
    symbol: str
    time_ms: int
    side: Side
    price: float
    quantity_base: float
    fee: float
    fee_currency: str

    @property
    def is_buy(self) -> bool:
        """Whether base was bought."""
        return self.side is Side.BUY


@dataclass(frozen=True, kw_only=True)
class OpenOrder:
    """A resting order. ``filled_base`` is the executed part of ``quantity_base``."""

    order_id: str
    symbol: str
    time_ms: int
    side: Side
    price: float
    quantity_base: float
    filled_base: float

    @property
    def remaining_base(self) -> float:
        """What still rests."""
        return max(0.0, self.quantity_base - self.filled_base)


@dataclass(frozen=True, kw_only=True)
class Balance:
    """What an account holds of a currency: ``total = available + locked``, in that currency."""

    currency: str
    total: float
    available: float
    locked: float


@dataclass(frozen=True, kw_only=True)
class NetFlow:
    """Quote that was put into a grid (positive) or taken out of it (negative) after its start."""

    time_ms: int
    amount_quote: float


@dataclass(frozen=True, kw_only=True)
class AccountFlow:
    """What came into a trading account or left it other than by trading: deposits, withdrawals, transfers.

    Attributes
    ----------
    ledger_id
        The exchange's name of the ledger's entry; the same entry read twice bears the same.
    time_ms
        Epoch milliseconds.
    currency, amount
        Positive in, negative out, in that currency; fees of the flow are in it.
    """

    ledger_id: str
    time_ms: int
    currency: str
    amount: float


@dataclass(frozen=True, kw_only=True)
class Increments:
    """Smallest steps of a symbol: price in quote, quantity in base."""

    price: float
    base: float


def in_order(fills: Iterable[AccountFill]) -> list[AccountFill]:
    """Each execution once, by time; at one time by trade id where ids are numbers, otherwise buys before sales.

    Files tell seconds and no ids: a sale then comes after the buy of the same second that it may have sold.

    Whatever the order in which fills were read, and however often, the result is the same.

    Raises
    ------
    ConflictingFills
        When fills of one symbol and side bear the same trade id and differ. The two sides of a trade with oneself bear
        the same.
    """
    once: dict[tuple[str, str, Side], AccountFill] = {}
    for fill in fills:
        known = once.setdefault((fill.symbol, fill.trade_id, fill.side), fill)
        if known is not fill and known != fill:
            raise ConflictingFills(
                f"trade {fill.trade_id} of {fill.symbol} was told in two ways: {known}; {fill}.",
                "Remove the wrong one: a fill, once told, does not change.",
            )
    return sorted(once.values(), key=_place)


def flows_in_order(flows: Iterable[AccountFlow]) -> list[AccountFlow]:
    """Each entry once, by time and at one time by its id, whatever the order in which they were read.

    Raises
    ------
    ConflictingFlows
        When flows bear the same ledger id and differ.
    """
    once: dict[str, AccountFlow] = {}
    for flow in flows:
        known = once.setdefault(flow.ledger_id, flow)
        if known != flow:
            raise ConflictingFlows(
                f"ledger entry {flow.ledger_id} was told in two ways: {known}; {flow}.",
                "Remove the wrong one: an entry, once told, does not change.",
            )
    return sorted(once.values(), key=lambda flow: (flow.time_ms, _number(flow.ledger_id), flow.ledger_id))


def _place(fill: AccountFill) -> tuple[int, str, int, bool, str]:
    return fill.time_ms, fill.symbol, _number(fill.trade_id), not fill.is_buy, fill.trade_id


def _number(name: str) -> int:
    return int(name) if name.isdecimal() else 0
