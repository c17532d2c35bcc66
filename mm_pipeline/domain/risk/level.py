"""What an operator reads first: how risky a grid's state is, and how much of its capital is at work."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from mm_pipeline.domain.arrays import Floats

RISK_LEVELS: Final = ("LOW", "MEDIUM", "HIGH", "UNKNOWN")
_HIGH_STATES: Final = ("MANDATORY_EXIT", "LATEST_ACCEPTABLE_EXIT")
_HIGH_STOP_RISKS: Final = ("BREACHED", "CRITICAL")


def risk_level(state: pl.Series, stop_loss_risk: pl.Series) -> pl.Series:
    """Risk level of each evaluation of an enabled grid, from its exit state and its stop's risk (SPEC 7).

    HIGH for MANDATORY_EXIT, LATEST_ACCEPTABLE_EXIT, BREACHED or CRITICAL; MEDIUM for WARNING or a stop risk of HIGH;
    else LOW, also without a stop (NO_STOP). UNKNOWN stays UNKNOWN, whatever the stop's risk says: it is made of the
    same bars. So does a stop risk that is not known (null) where the state alone does not say HIGH.
    """
    state, stop_loss_risk = state.fill_null("UNKNOWN"), stop_loss_risk.fill_null("UNKNOWN")
    is_high = state.is_in(_HIGH_STATES) | stop_loss_risk.is_in(_HIGH_STOP_RISKS)
    is_medium = (state == "WARNING") | (stop_loss_risk == "HIGH")
    cases = (state == "UNKNOWN", is_high, stop_loss_risk == "UNKNOWN", is_medium)
    codes = np.select([case.to_numpy() for case in cases], [3, 2, 3, 1], 0)
    return pl.Series("risk_level", np.array(RISK_LEVELS)[codes], dtype=pl.String)


def capital_utilization(*, inventory_quote: Floats, locked_quote: Floats, capital_quote: float) -> Floats:
    """Share of a grid's capital at work (0..1, above 1 when the inventory has gained): inventory and locked quote.

    Parameters
    ----------
    inventory_quote
        Inventory at its price.
    locked_quote
        What resting buys bind, their fees included.
    capital_quote
        Declared capital; where it is 0 nothing can be said (NaN).
    """
    if capital_quote <= 0.0:
        return np.full(len(inventory_quote), np.nan)
    return (inventory_quote + locked_quote) / capital_quote
