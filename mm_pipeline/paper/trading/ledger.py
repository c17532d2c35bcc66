"""The ledger of a paper account: each change of a balance with what is left after it. The wire is elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from mm_pipeline.domain.account import Side
from mm_pipeline.paper.trading.account import Balances
from mm_pipeline.paper.trading.orders import ZERO, Trade


class LedgerKind(StrEnum):
    """What changed a balance, as KuCoin's ``bizType`` names it."""

    DEPOSIT = "DEPOSIT"
    WITHDRAWAL = "WITHDRAW"
    TRANSFER = "TRANSFER"
    TRADE = "TRADE_EXCHANGE"
    FEE = "DEDUCTION_FEES"


@dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """One change.

    Attributes
    ----------
    number
        Counts over the whole account.
    amount, fee
        Positive in, negative out, the fee included.
    balance
        What is left in all, on hold or not.
    trade
        Whose entry it is; None for flows.
    is_funding
        Whether it is the funding account's side of a transfer.
    """

    number: int
    kind: LedgerKind
    currency: str
    amount: Decimal
    balance: Decimal
    at_ms: int
    fee: Decimal = ZERO
    trade: Trade | None = None
    is_funding: bool = False


class Ledger:
    """Every change of an account's balances, oldest first."""

    def __init__(self, balances: Balances) -> None:
        self._balances = balances
        self._entries: list[LedgerEntry] = []

    def entries(self) -> list[LedgerEntry]:
        """Every entry so far."""
        return list(self._entries)

    def book_trade(self, trade: Trade) -> None:
        """Note what a trade, already paid, did to either currency, and to that of a fee in a third one."""
        base, quote = trade.symbol.split("-")
        sign = 1 if trade.side is Side.BUY else -1
        for currency, amount in ((quote, -sign * trade.funds), (base, sign * trade.size)):
            fee = trade.fee if currency == trade.fee_currency else ZERO
            self._book(LedgerKind.TRADE, currency, amount - fee, at_ms=trade.at_ms, fee=fee, trade=trade)
        if trade.fee_currency not in {base, quote} and trade.fee > 0:
            self._book(LedgerKind.FEE, trade.fee_currency, -trade.fee, at_ms=trade.at_ms, trade=trade)

    def book_flow(self, currency: str, amount: Decimal, *, at_ms: int, is_external: bool) -> None:
        """Note what came or went. The funding account passes on what it gets: its side of a transfer leaves nothing."""
        if is_external:
            self._book(LedgerKind.DEPOSIT if amount > 0 else LedgerKind.WITHDRAWAL, currency, amount, at_ms=at_ms)
        else:
            self._book(LedgerKind.TRANSFER, currency, -amount, at_ms=at_ms, is_funding=True)
            self._book(LedgerKind.TRANSFER, currency, amount, at_ms=at_ms)

    def _book(
        self,
        kind: LedgerKind,
        currency: str,
        amount: Decimal,
        *,
        at_ms: int,
        fee: Decimal = ZERO,
        trade: Trade | None = None,
        is_funding: bool = False,
    ) -> None:
        left = ZERO if is_funding else self._balances.available(currency) + self._balances.held(currency)
        self._entries.append(
            LedgerEntry(
                number=len(self._entries) + 1,
                kind=kind,
                currency=currency,
                amount=amount,
                balance=left,
                at_ms=at_ms,
                fee=fee,
                trade=trade,
                is_funding=is_funding,
            )
        )
