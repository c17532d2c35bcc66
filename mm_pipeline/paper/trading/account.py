"""What a paper account is, and its balances. Orders and prices do not belong here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from mm_pipeline.domain.account import OrderApi
from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.domain.grid import Grid
from mm_pipeline.paper.trading.orders import ZERO

GENERAL, SPOT = "General", "Spot"


class FeeIn(StrEnum):
    """What fees are paid in: quote; what is received (base by buys, quote by sells); or a currency of their own."""

    QUOTE = "quote"
    RECEIVED = "received"
    THIRD = "third"


@dataclass(frozen=True, kw_only=True)
class FeeSchedule:
    """Fees of an account.

    Attributes
    ----------
    maker_rate, taker_rate
        Fraction of a trade's funds.
    fee_in
        What they are paid in.
    third_currency, third_price_quote
        The currency of :attr:`FeeIn.THIRD` and its fixed price in quote; where its balance does not suffice, the fee
        is paid in quote.
    """

    maker_rate: Decimal = Decimal("0.001")
    taker_rate: Decimal = Decimal("0.001")
    fee_in: FeeIn = FeeIn.QUOTE
    third_currency: str = "KCS"
    third_price_quote: Decimal = Decimal(10)


@dataclass(frozen=True, kw_only=True)
class PartFills:
    """How limit orders are filled: in ``parts`` equal parts (on the base increment), all of them at the first touch,
    or one a bar."""

    parts: int = 1
    is_at_once: bool = True

    def __post_init__(self) -> None:
        if self.parts < 1:
            raise ConfigError(f"{self.parts} parts fill no order.", "Give 1 or more.")


@dataclass(frozen=True, kw_only=True)
class PaperKey:
    """An API key of a paper account. It opens nothing but this server, yet is kept out of texts like a real one."""

    key: str
    secret: str = field(repr=False)
    passphrase: str = field(repr=False)
    permissions: Sequence[str] = (GENERAL,)


@dataclass(frozen=True, kw_only=True)
class PaperAccount:
    """An account of the KuCoin dialect.

    Attributes
    ----------
    keys
        Its API keys.
    balances
        What it holds at the beginning, by currency.
    order_api
        The API through which its grids trade; ``hf`` accounts list their balances as ``trade_hf``.
    fees, part_fills
        See there.
    grids
        Grids that the exchange's own bot trades here, each from its ``started_at``, enabled or not.
    is_unified
        Whether it says that it is in unified mode. Its orders are in the spot lists all the same.
    uid
        The account's number, as the key's information shows it.
    """

    keys: Sequence[PaperKey]
    balances: Mapping[str, Decimal]
    order_api: OrderApi = OrderApi.HF
    fees: FeeSchedule = field(default_factory=FeeSchedule)
    part_fills: PartFills = field(default_factory=PartFills)
    grids: Sequence[Grid] = ()
    is_unified: bool = False
    uid: int = 165111215

    @property
    def account_type(self) -> str:
        """What the list of balances calls it."""
        return "trade_hf" if self.order_api is OrderApi.HF else "trade"


class BalanceInsufficient(Exception):
    """The account does not have that much available."""


class Balances:
    """Amounts by currency: available, and on hold behind orders. All exact."""

    def __init__(self, amounts: Mapping[str, Decimal]) -> None:
        self._available = dict(amounts)
        self._held: dict[str, Decimal] = dict.fromkeys(amounts, ZERO)

    def available(self, currency: str) -> Decimal:
        """What can be spent."""
        return self._available.get(currency, ZERO)

    def held(self, currency: str) -> Decimal:
        """What stands behind orders."""
        return self._held.get(currency, ZERO)

    def currencies(self) -> list[str]:
        """Every currency that was ever held."""
        return list(self._available)

    def add(self, currency: str, amount: Decimal) -> None:
        """Receive an amount."""
        self._available[currency] = self.available(currency) + amount

    def spend(self, currency: str, amount: Decimal) -> None:
        """Pay an amount out of what is available.

        Raises
        ------
        BalanceInsufficient
            When there is less.
        """
        if amount > self.available(currency):
            raise BalanceInsufficient(f"{amount} {currency} wanted, {self.available(currency)} available")
        self.add(currency, -amount)

    def hold(self, currency: str, amount: Decimal) -> None:
        """Put an amount behind an order; raises as :meth:`spend`."""
        self.spend(currency, amount)
        self._held[currency] = self.held(currency) + amount

    def release(self, currency: str, amount: Decimal) -> None:
        """Make an amount on hold available again."""
        self._held[currency] = self.held(currency) - amount
        self.add(currency, amount)
