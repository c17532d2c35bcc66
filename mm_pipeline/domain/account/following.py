"""Whether an account's orders follow the declared ladder: orders of a grid's size that stand beside its levels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mm_pipeline.domain.account.attribution import FillRole, GridFills
from mm_pipeline.domain.account.ladder import AccountLadder
from mm_pipeline.domain.account.orders import filled_orders, order_name
from mm_pipeline.domain.account.policy import AccountPolicy
from mm_pipeline.domain.account.values import Increments, OpenOrder
from mm_pipeline.domain.grid import Grid


@dataclass(frozen=True)
class LadderOrders:
    """How many orders lie on the declared ladder, and how many of an interval's quantity lie beside it.

    One that got a better price than its level may be either, and counts for neither. ``fewest`` strays say something.
    """

    on_ladder: int
    strays: int
    fewest: int

    @property
    def is_followed(self) -> bool:
        """False where a bot trades another ladder than the declared one: more orders stray than lie on it."""
        return self.strays < self.fewest or self.strays <= self.on_ladder


def ladder_orders(
    grid: Grid,
    mine: GridFills,
    own: Sequence[OpenOrder],
    every_order: Iterable[OpenOrder],
    *,
    policy: AccountPolicy,
    increments: Increments | None,
) -> LadderOrders:
    """Count a grid's orders, filled and resting.

    Parameters
    ----------
    mine, own
        The grid's fills with those that are nobody's, and its resting orders.
    every_order
        The account's resting orders, but those of other grids.
    """
    resting = [order for order in every_order if order.symbol == grid.symbol]
    own_ids = {order.order_id for order in own}
    ladder = AccountLadder(grid, policy, increments)
    on_ladder = {order_name(fill)[0] for fill in mine.of_role(FillRole.LADDER)} | own_ids
    better = {
        name[0]
        for name, order in filled_orders(mine.of_role(FillRole.LADDER), resting).items()
        if (fit := order.fit(ladder)) is not None and fit.is_better
    }
    strays = {
        name[0]
        for name, order in filled_orders(mine.foreign, resting).items()
        if ladder.is_beside(order.price, order.quantity_base if order.ordered_base is None else order.ordered_base)
    }
    strays |= {order.order_id for order in resting if ladder.is_beside(order.price, order.quantity_base)}
    return LadderOrders(len(on_ladder - better), len(strays - on_ladder), policy.ladder_strays)
