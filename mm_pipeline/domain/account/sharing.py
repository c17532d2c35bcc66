"""Grids of one market that trade from one account: no fill and no order counts for two of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mm_pipeline.domain.account.attribution import FillRole, fills_of_grid, orders_of_grid
from mm_pipeline.domain.account.policy import AccountPolicy
from mm_pipeline.domain.account.values import AccountFill, Increments, OpenOrder, Side
from mm_pipeline.domain.grid import Grid


@dataclass(frozen=True)
class Share:
    """What of an account's market concerns one grid: everything but what other grids claim.

    Attributes
    ----------
    contested
        Fills that another grid claims and that would be this grid's if it were alone: their levels are the same, so
        whose they are is a guess.
    """

    fills: tuple[AccountFill, ...]
    orders: tuple[OpenOrder, ...]
    contested: int


def shares_of(
    grids: Sequence[Grid],
    fills: Iterable[AccountFill],
    orders: Iterable[OpenOrder],
    *,
    policy: AccountPolicy,
    increments: Increments | None = None,
) -> Mapping[str, Share]:
    """Share an account's market out among its grids, by grid id.

    What lies on one grid's ladder alone is that grid's; what fits several is claimed by the one that started first.

    Parameters
    ----------
    grids
        Of one market.
    """
    every_fill, every_order = tuple(fills), tuple(orders)
    mine: dict[str, set[tuple[str, Side]]] = {}
    resting: dict[str, set[str]] = {}
    taken: set[tuple[str, Side]] = set()
    placed: set[str] = set()
    alone = {grid.id: fills_of_grid(grid, every_fill, policy=policy, increments=increments) for grid in grids}
    on_ladder = {name: {_name(fill) for fill in found.of_role(FillRole.LADDER)} for name, found in alone.items()}
    on_any = set().union(*on_ladder.values())
    for grid in sorted(grids, key=lambda one: (one.started_at_ms, one.id)):
        strange = taken | (on_any - on_ladder[grid.id])
        left = [fill for fill in every_fill if _name(fill) not in strange]
        claimed = fills_of_grid(grid, left, policy=policy, increments=increments).fills
        mine[grid.id] = {_name(fill) for fill in claimed}
        free = [order for order in every_order if order.order_id not in placed]
        found = orders_of_grid(grid, free, policy=policy, increments=increments)
        resting[grid.id] = {order.order_id for order in found}
        taken |= mine[grid.id]
        placed |= resting[grid.id]
    shares = {}
    for grid in grids:
        others, others_placed = taken - mine[grid.id], placed - resting[grid.id]
        shares[grid.id] = Share(
            fills=tuple(fill for fill in every_fill if _name(fill) not in others),
            orders=tuple(order for order in every_order if order.order_id not in others_placed),
            contested=sum(_name(fill) in others for fill in alone[grid.id].of_role(FillRole.LADDER)),
        )
    return shares


def _name(fill: AccountFill) -> tuple[str, Side]:
    return fill.trade_id, fill.side
