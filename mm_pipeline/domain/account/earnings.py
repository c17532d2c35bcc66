"""What a grid's fills have earned: cash flow, FIFO profit, and both sides of the PnL identity (SPEC 7)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from mm_pipeline.domain.account.attribution import FillRole, GridFills
from mm_pipeline.domain.account.fees import fee_in_base, fee_in_quote, inventory_change_base
from mm_pipeline.domain.account.values import AccountFill, Side
from mm_pipeline.domain.errors import UnknownFeeRate
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.position import FifoLedger, match_fifo

_MONEY: Final = (
    "cash_flow_quote",
    "total_pnl_quote",
    "grid_profit_quote",
    "unrealised_quote",
    "unmatched_fees_quote",
    "residual_quote",
    "fees_quote",
)
"""What a fee that cannot be valued leaves untold."""


def earned_by(
    mine: GridFills, grid: Grid, rates: Mapping[str, float], bid: float, *, start_price: float | None
) -> tuple[dict[str, float | None], str | None]:
    """What the fills alone tell: inventory, cash flow, and both sides of the PnL identity.

    Where a fee, or what the grid began with, cannot be valued, what is held is told and nothing of money.

    Parameters
    ----------
    rates
        Quote per unit of third currencies in which fees were paid.
    bid
        Quote: what inventory is valued at.
    start_price
        Quote: what the grid's ``initial_base`` counts as bought at, without a fee; None where it is not known.

    Returns
    -------
    dict
        Fields of ``AccountPosition``.
    str
        Why no money is told; None where it is.
    """
    inventory, began_with = mine.held_base, mine.initial_base
    mine = _with_initial(mine, grid, bid if start_price is None else start_price)
    try:
        if began_with and start_price is None:
            raise UnknownFeeRate("the price at which initial_base began is not known.", "Fetch older candles.")
        elsewhere = next((fill.symbol for fill in mine.fills if fill.symbol != grid.symbol), None)
        if elsewhere is not None:
            raise UnknownFeeRate(f"coins of the grid were sold on {elsewhere}.", "Value that sale by hand.")
        fees = [fee_in_quote(fill, rates) for fill in mine.fills]
    except UnknownFeeRate as error:
        oversold = float(_ledger(mine, [0.0] * len(mine.fills)).oversold_base[-1])
        held: dict[str, float | None] = {"inventory_base": inventory, "oversold_base": oversold}
        return dict.fromkeys(_MONEY) | held, error.problem.rstrip(".")
    cash_flow = math.fsum(_cash_change(fill, fee) for fill, fee in zip(mine.fills, fees, strict=True))
    total = cash_flow + inventory * bid
    ledger = _ledger(mine, fees)
    grid_profit, unmatched = float(ledger.grid_profit_quote[-1]), float(ledger.unmatched_fees_quote[-1])
    unrealised = bid * float(ledger.held_base[-1]) - float(ledger.held_cost_quote[-1])
    return {
        "inventory_base": inventory,
        "cash_flow_quote": cash_flow,
        "total_pnl_quote": total,
        "grid_profit_quote": grid_profit,
        "unrealised_quote": unrealised,
        "unmatched_fees_quote": unmatched,
        "residual_quote": total - (grid_profit + unrealised - unmatched),
        "oversold_base": float(ledger.oversold_base[-1]),
        "fees_quote": math.fsum(fees),
    }, None


def _cash_change(fill: AccountFill, fee_quote: float) -> float:
    """Quote that a fill paid or received; a fee in base took no quote."""
    amount = fill.price * fill.quantity_base
    paid = 0.0 if fee_in_base(fill) else fee_quote
    return (-amount if fill.is_buy else amount) - paid


def _ledger(mine: GridFills, fees: list[float]) -> FifoLedger:
    """FIFO matching in net quantities.

    A buy whose fee was paid in base is a buy of what is left of it, and the fee's worth its fee; a sale with such a fee
    sells the fee's quantity as well and pays its worth. Cash and inventory are the same in both tellings.
    """
    return match_fifo(
        is_buy=np.array([fill.is_buy for fill in mine.fills], dtype=np.bool_),
        quantity_base=np.array([abs(inventory_change_base(fill)) for fill in mine.fills], dtype=np.float64),
        price=np.array([fill.price for fill in mine.fills], dtype=np.float64),
        fee_quote=np.array(fees, dtype=np.float64),
    )


def _with_initial(mine: GridFills, grid: Grid, price: float) -> GridFills:
    """What the grid began with as a purchase at its start."""
    if mine.initial_base == 0.0:
        return mine
    bought = AccountFill(
        trade_id="initial_base",
        order_id="",
        symbol=grid.symbol,
        time_ms=grid.started_at_ms,
        side=Side.BUY,
        price=price,
        quantity_base=mine.initial_base,
        fee=0.0,
        fee_currency="",
    )
    return GridFills((bought, *mine.fills), (FillRole.START, *mine.roles), mine.foreign)
