"""What came into an account and left it, as far as it concerns a grid (SPEC 7: net flows)."""

from __future__ import annotations

from collections.abc import Iterable

from mm_pipeline.domain.account.values import AccountFlow, NetFlow
from mm_pipeline.domain.grid import Grid


def net_flows_of(grid: Grid, flows: Iterable[AccountFlow]) -> tuple[NetFlow, ...]:
    """Deposits and withdrawals of a grid's quote currency since its start, of an account that trades this grid alone.

    Base that came or left is none of the grid's: it holds what its fills bought.

    Parameters
    ----------
    flows
        An account's, in any order.
    """
    quote = grid.symbol.split("/")[1]
    return tuple(
        NetFlow(time_ms=flow.time_ms, amount_quote=flow.amount)
        for flow in flows
        if flow.currency == quote and flow.time_ms >= grid.started_at_ms
    )
