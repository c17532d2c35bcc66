"""The worst that a grid with a working stop can do from here (SPEC 7)."""

from __future__ import annotations

import numpy as np

from mm_pipeline.domain.arrays import Floats


def worst_case_quote(
    *,
    inventory_base: float,
    resting_quantity_base: Floats,
    resting_price: Floats,
    price: float,
    stop_loss: float,
    fee: float,
) -> float:
    """Loss against equity now if every resting buy fills at its level (at most at the price), all out at the stop.

    Fees of those buys and of the sale included. A price below the stop sells at that price.

    Parameters
    ----------
    inventory_base
        What is held now, valued at ``price`` in equity.
    resting_quantity_base, resting_price
        Shape ``(orders,)``: resting buys, base and quote per base.
    price, stop_loss
        Quote.
    fee
        Fraction of a fill, a side.

    Returns
    -------
    Quote; 0 where nothing is held or resting, or a rebate for selling is more than the way to the stop.
    """
    out = min(stop_loss, price) * (1 - fee)
    bought = np.minimum(resting_price, price) * (1 + fee)
    return max(0.0, float(inventory_base * (price - out) + np.sum(resting_quantity_base * (bought - out))))
