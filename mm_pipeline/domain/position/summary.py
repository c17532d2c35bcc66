"""The figures of a simulated grid at the end of its bars."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class SimulationSummary:
    """A grid after its last bar; amounts in quote unless named otherwise, the price is the last close.

    Attributes
    ----------
    buys, sells
        Number of fills, one an interval: the purchases at the start and the sales at the stop are among them.
    cash, inventory, equity
        Quote, base, and ``cash + inventory x price``.
    total_pnl
        ``equity - capital = grid_profit + unrealised - unmatched_fees + residual``.
    grid_profit
        FIFO-matched buys and sells less their fees, the sales at the stop among them.
    unrealised
        ``(price - average cost without fees) x inventory``.
    unmatched_fees
        Fees of the lots still held.
    residual
        What the identity leaves over; only rounding.
    fees
        All fees paid.
    max_drawdown
        Largest fall of equity, at bar closes, from its highest close so far; the capital counts as the first. Quote.
    stopped_at
        Open time of the bar in which the stop ended the grid; None while it runs.
    worst_case
        See :func:`~mm_pipeline.domain.position.worst_case.worst_case_quote`; 0 once the grid is over.
    """

    buys: int
    sells: int
    cash: float
    inventory: float
    equity: float
    total_pnl: float
    grid_profit: float
    unrealised: float
    unmatched_fees: float
    residual: float
    fees: float
    max_drawdown: float
    stopped_at: datetime | None
    worst_case: float
