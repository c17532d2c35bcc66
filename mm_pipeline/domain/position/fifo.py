"""First in, first out: which buys each sell closes, and what that earned (SPEC 7). Knows fills, not grids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mm_pipeline.domain.arrays import Bools, Floats
from mm_pipeline.domain.position.compilation import compiled
from mm_pipeline.domain.position.summation import running_sum

_Matched = tuple[Floats, Floats, Floats]


@dataclass(frozen=True, eq=False)
class FifoLedger:
    """What stands after each fill; every array has shape ``(fills + 1,)`` and begins with nothing held.

    Attributes
    ----------
    grid_profit_quote
        Earned so far by matched quantities: proceeds less cost less both sides' fees, in proportion to what matched.
    held_base
        Quantity bought and not yet sold.
    held_cost_quote
        What the held quantity cost, without fees.
    unmatched_fees_quote
        Fees of the buys of the held quantity.
    oversold_base
        Quantity sold so far that no earlier buy of these fills stands against. It earns nothing here, and so shows in
        the residual of the PnL identity.
    """

    grid_profit_quote: Floats
    held_base: Floats
    held_cost_quote: Floats
    unmatched_fees_quote: Floats
    oversold_base: Floats


def match_fifo(*, is_buy: Bools, quantity_base: Floats, price: Floats, fee_quote: Floats) -> FifoLedger:
    """Match sells with the oldest buys that are left, partly where quantities differ.

    All intervals of a grid share one queue, as a real account's fills do, which know no interval.

    Parameters
    ----------
    is_buy, quantity_base, price, fee_quote
        One element a fill, in the order in which they happened: side, quantity (0 or more), quote per base, and fee in
        quote (a fill's own part, so partial fills of an order are fills like any other).

    Raises
    ------
    ValueError
        When the arrays differ in length, or a quantity is negative or not a number.
    """
    columns = [np.ascontiguousarray(values, dtype=np.float64) for values in (quantity_base, price, fee_quote)]
    if len({len(is_buy), *(len(values) for values in columns)}) > 1:
        raise ValueError("is_buy, quantity_base, price and fee_quote must be of one length")
    if not (columns[0] >= 0).all():
        raise ValueError("quantities must be 0 or more; the side tells a sell")
    is_buy = np.ascontiguousarray(is_buy, dtype=np.bool_)
    quantity, price, fee = columns
    matched, matched_cost, matched_fees = compiled(_match)(is_buy, *columns)
    share = np.divide(matched, quantity, out=np.zeros_like(quantity), where=quantity > 0)
    earned = matched * price - matched_cost - matched_fees - fee * share
    return FifoLedger(
        grid_profit_quote=running_sum(earned),
        held_base=running_sum(np.where(is_buy, quantity, -matched)),
        held_cost_quote=running_sum(np.where(is_buy, quantity * price, -matched_cost)),
        unmatched_fees_quote=running_sum(np.where(is_buy, fee, -matched_fees)),
        oversold_base=running_sum(np.where(is_buy, 0.0, quantity - matched)),
    )


def _match(is_buy: Bools, quantity: Floats, price: Floats, fee: Floats) -> _Matched:
    """Of each sell: the quantity that found buys, their cost and their fees; 0 for a buy."""
    matched = np.zeros_like(quantity)
    cost = np.zeros_like(quantity)
    fees = np.zeros_like(quantity)
    left = np.where(is_buy, quantity, 0.0)
    oldest = 0
    for i in range(len(quantity)):
        if is_buy[i]:
            continue
        wanted = quantity[i]
        while wanted > 0 and oldest < i:
            taken = min(wanted, left[oldest])
            if taken > 0:
                cost[i] += taken * price[oldest]
                fees[i] += fee[oldest] * (taken / quantity[oldest])
                wanted -= taken
                left[oldest] -= taken
            if left[oldest] <= 0:
                oldest += 1
        matched[i] = quantity[i] - wanted
    return matched, cost, fees
