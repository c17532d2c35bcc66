"""A grid as its account, or imported fills, show it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mm_pipeline.adapters.account import AccountReading
from mm_pipeline.domain.account import AccountPosition, Drift, GridFills, OpenOrder, PositionSource
from mm_pipeline.domain.grid import Grid


@dataclass(frozen=True, kw_only=True)
class AccountView:
    """A grid as an account, or imported fills, show it.

    Attributes
    ----------
    at
        Until when fills are known.
    mine, orders
        The grid's fills and resting orders.
    drifts
        Against the model, and of the account against itself.
    modelled_inventory_base, is_stopped_out
        What the model holds, and whether its stop has sold everything; None where the model is not known.
    flows_from
        Since when deposits and withdrawals are known, and are this grid's; None where they are not.
    is_contested
        Whether some of its fills or orders fit another grid as well: then the account proves nothing about it.
    """

    grid: Grid
    position: AccountPosition
    source: PositionSource
    at: datetime
    mine: GridFills
    orders: tuple[OpenOrder, ...] = ()
    drifts: tuple[Drift, ...] = ()
    modelled_inventory_base: float | None = None
    is_stopped_out: bool | None = None
    flows_from: datetime | None = None
    is_contested: bool = False
    reading: AccountReading | None = None
