"""The fill of one row of a file. The file as a whole does not belong here."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from mm_pipeline.adapters.account.fills_cells import (
    NOTHING,
    RowFault,
    Symbols,
    Times,
    amount_and_currency,
    name_of,
    number,
    positive,
    shown,
    side_of,
)
from mm_pipeline.adapters.account.fills_columns import Layout, Meaning, zone_of
from mm_pipeline.domain.account import AccountFill, FeeBounds, Telling

_DONE: Final = frozenset({"deal", "done", "filled", "completed", "closed", "finished"})
_CANCELLED: Final = frozenset({"cancelled", "canceled", "cancel"})
"""How exports write that nothing more of an order will be filled."""


@dataclass(frozen=True, kw_only=True)
class RowReader:
    """Reads rows of one file.

    Attributes
    ----------
    layout
        Where in a row what stands.
    times, symbols
        How times and symbols are read.
    fees
        How much a fee may be; one in a third currency is judged where its rate is known.
    """

    layout: Layout
    times: Times
    symbols: Symbols
    fees: FeeBounds
    _seen: Counter[str] = field(default_factory=Counter)

    def is_unfilled(self, row: Sequence[str]) -> bool:
        """Whether a row is an order of which nothing was filled."""
        if not self.layout.is_of_orders:
            return False
        filled = self._text(row, Meaning.QUANTITY)
        return filled in NOTHING or not filled.strip("0.")

    def telling(self, row: Sequence[str], *, place: str) -> Telling:
        """The fill of a row whose cells are stripped, and what the row says of its order.

        Raises
        ------
        RowFault
            As :meth:`fill`.
        """
        fill = self.fill(row)
        is_order = self.layout.is_of_orders and bool(fill.order_id)
        has_id = bool(self._text(row, Meaning.TRADE_ID))
        if not is_order:
            return Telling(fill=fill, source=0, place=place, has_id=has_id)
        amount = self._order_amount(row, fill)
        return Telling(
            fill=fill,
            source=0,
            place=place,
            is_order=True,
            ordered_ms=self._ordered_ms(row, fill),
            amount_base=amount,
            is_final=self._is_final(row, fill, amount),
        )

    def fill(self, row: Sequence[str]) -> AccountFill:
        """The fill of a row whose cells are stripped.

        Raises
        ------
        RowFault
            Which column is at fault, why, and what to do.
        """
        extra = row[len(self.layout.header) :]
        if any(extra):
            raise RowFault("row", f"it has {len(row)} cells, the header {len(self.layout.header)}.", "Quote commas.")
        quantity, base = self._quantity(row)
        is_plain = self.layout.name == "plain"
        column = self._column(Meaning.SYMBOL)
        symbol = self.symbols.symbol(self._text(row, Meaning.SYMBOL), column, base=base, is_ours=is_plain)
        self._check_base(base, symbol)
        fee, fee_currency = self._fee(row, symbol)
        told = {
            "order_id": name_of(self._text(row, Meaning.ORDER_ID), self._column(Meaning.ORDER_ID)),
            "symbol": symbol,
            "time_ms": self.times.ms(self._text(row, Meaning.TIME), self._column(Meaning.TIME)),
            "side": side_of(self._text(row, Meaning.SIDE), self._column(Meaning.SIDE)),
            "price": positive(amount_and_currency(self._text(row, Meaning.PRICE))[0], self._column(Meaning.PRICE)),
            "quantity_base": quantity,
            "fee": fee,
            "fee_currency": fee_currency,
        }
        trade_id = name_of(self._text(row, Meaning.TRADE_ID), self._column(Meaning.TRADE_ID))
        fill = AccountFill(trade_id=trade_id or self._made_id(told), **told)  # type: ignore[arg-type]
        self._check_fee(fill)
        return fill

    def _column(self, meaning: Meaning) -> str:
        return self.layout.columns[meaning]

    def _text(self, row: Sequence[str], meaning: Meaning) -> str:
        """A cell; empty where the file has no such column or the row is too short for it."""
        place = self.layout.places.get(meaning)
        return row[place] if place is not None and place < len(row) else ""

    def _quantity(self, row: Sequence[str]) -> tuple[float, str]:
        column = self._column(Meaning.QUANTITY)
        amount, base = amount_and_currency(self._text(row, Meaning.QUANTITY))
        return positive(amount, column), base

    def _order_amount(self, row: Sequence[str], fill: AccountFill) -> float | None:
        """What was ordered, in base; None where that is not told, or in quote as that of some market orders."""
        amount, currency = amount_and_currency(self._text(row, Meaning.ORDER_AMOUNT))
        if currency not in ("", fill.symbol.split("/")[0]):
            return None
        try:
            ordered = positive(amount, self._column(Meaning.ORDER_AMOUNT))
        except RowFault:
            return None  # the fill is told without it
        return ordered if fill.quantity_base <= ordered else None

    def _ordered_ms(self, row: Sequence[str], fill: AccountFill) -> int | None:
        """When the order was placed; None where that is not told."""
        column = self._column(Meaning.ORDER_TIME)
        times = Times(zone_of(column) or self.times.zone, self.times.until_ms)
        try:
            at = times.ms(self._text(row, Meaning.ORDER_TIME), column)
        except RowFault:
            return None  # the fill is told without it
        return at if at <= fill.time_ms else None

    def _is_final(self, row: Sequence[str], fill: AccountFill, amount: float | None) -> bool:
        """Whether the order is filled or cancelled; "done" beside an amount that is not filled proves nothing."""
        status = self._text(row, Meaning.STATUS).lower()
        if status in _CANCELLED or amount is not None:
            return status in _CANCELLED or amount == fill.quantity_base
        return status in _DONE

    def _check_base(self, base: str, symbol: str) -> None:
        wanted, _, _ = symbol.partition("/")
        if base and self.symbols.currency(base) != wanted:
            raise RowFault(self._column(Meaning.QUANTITY), f"it is in {base}, not in {wanted}.", "Correct it.")

    def _fee(self, row: Sequence[str], symbol: str) -> tuple[float, str]:
        """A fee and its currency; an empty one is no fee, and no fee needs no currency."""
        column = self._column(Meaning.FEE)
        amount, within = amount_and_currency(self._text(row, Meaning.FEE))
        fee = 0.0 if amount in NOTHING else number(amount, column)
        currency = self._text(row, Meaning.FEE_CURRENCY)
        currency = within if currency in NOTHING else currency
        if fee == 0.0 and not currency:
            return 0.0, symbol.split("/")[1]
        if not abs(fee) < float("inf"):
            raise RowFault(column, f"{shown(amount)} is no fee.", "Correct it.")
        return fee, self.symbols.fee_currency(currency, self._column(Meaning.FEE_CURRENCY))

    def _check_fee(self, fill: AccountFill) -> None:
        base, quote = fill.symbol.split("/")
        if fill.fee_currency not in (base, quote):
            return
        worth = fill.fee if fill.fee_currency == quote else fill.fee * fill.price
        if not self.fees.holds(fill, worth):
            raise RowFault(
                self._column(Meaning.FEE),
                self.fees.problem(fill, worth),
                "Correct it; the bounds are account.max_rebate_share and account.max_fee_share.",
            )

    def _made_id(self, told: dict[str, object]) -> str:
        """An id of the content, and of how often it was seen before in this file."""
        content = "|".join(map(str, told.values()))
        self._seen[content] += 1
        return f"csv-{hashlib.sha256(content.encode()).hexdigest()[:16]}-{self._seen[content]}"
