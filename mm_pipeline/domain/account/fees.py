"""Fees in whatever currency they were paid, told in quote; and what they take from inventory."""

from __future__ import annotations

import math
from collections.abc import Mapping

from mm_pipeline.domain.account.values import AccountFill
from mm_pipeline.domain.errors import UnknownFeeRate


def fee_in_quote(fill: AccountFill, rates: Mapping[str, float]) -> float:
    """The fee's worth in quote: base at the fill's own price, a third currency at the rate given.

    Parameters
    ----------
    fill
        Whose fee; NaN where none was told.
    rates
        Quote per unit of a currency, for those that are neither base nor quote of the symbol.

    Raises
    ------
    UnknownFeeRate
        When the currency has no rate, or the fee was not told.
    """
    base, quote = fill.symbol.split("/")
    if math.isnan(fill.fee):
        raise UnknownFeeRate(
            f"no fee was told of trade {fill.trade_id} of {fill.symbol}.", "It is asked for again at each reading."
        )
    if fill.fee == 0.0 or fill.fee_currency == quote:
        return fill.fee
    if fill.fee_currency == base:
        return fill.fee * fill.price
    if fill.fee_currency not in rates:
        raise UnknownFeeRate(
            f"the fee of trade {fill.trade_id} of {fill.symbol} was paid in {fill.fee_currency!r}, whose price in "
            f"{quote} is not known.",
            f"Give the price of {fill.fee_currency}, or import the fill with its fee in {quote}.",
        )
    return fill.fee * rates[fill.fee_currency]


def fee_in_base(fill: AccountFill) -> float:
    """What the fee took from the base inventory; 0 for one paid in another currency."""
    return fill.fee if fill.fee_currency == fill.symbol.split("/")[0] else 0.0


def inventory_change_base(fill: AccountFill) -> float:
    """What the fill did to the base inventory, its fee included."""
    return (fill.quantity_base if fill.is_buy else -fill.quantity_base) - fee_in_base(fill)


def third_currencies(fills: list[AccountFill]) -> frozenset[str]:
    """Currencies of fees that need a rate."""
    return frozenset(
        fill.fee_currency for fill in fills if fill.fee != 0.0 and fill.fee_currency not in fill.symbol.split("/")
    )
