"""Grids of one market that trade from one account: no fill and no order counts for two of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mm_pipeline.domain.account.attribution import FillRole, fills_of_grid, orders_of_grid
from mm_pipeline.domain.account.policy import AccountPolicy
from mm_pipeline.domain.account.values import AccountFill, Increments, OpenOrder, Side
from mm_pipeline.domain.grid import Grid

T = TypeVar("T")
_FillName = tuple[str, Side]


@dataclass(frozen=True)
class Share:
    """What of an account's market concerns one grid: everything but what other grids claim.

    Attributes
    ----------
    contested
        Fills and orders that fit this grid and another: whose they are is a guess, and proves nothing.
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
    if len(grids) == 1:
        return {grids[0].id: Share(every_fill, every_order, 0)}
    alone = {grid.id: fills_of_grid(grid, every_fill, policy=policy, increments=increments) for grid in grids}
    on_ladder = {name: {_name(fill) for fill in found.of_role(FillRole.LADDER)} for name, found in alone.items()}
    on_any = set[_FillName]().union(*on_ladder.values())
    fits = {name: {_name(fill) for fill in found.fills} - (on_any - on_ladder[name]) for name, found in alone.items()}
    rests = {
        grid.id: {one.order_id for one in orders_of_grid(grid, every_order, policy=policy, increments=increments)}
        for grid in grids
    }
    mine: dict[str, set[_FillName]] = {}
    resting: dict[str, set[str]] = {}
    taken, placed = set[_FillName](), set[str]()
    for grid in sorted(grids, key=lambda one: (one.started_at_ms, one.id)):
        strange = taken | (on_any - on_ladder[grid.id])
        left = [fill for fill in every_fill if _name(fill) not in strange]
        mine[grid.id] = {_name(fill) for fill in fills_of_grid(grid, left, policy=policy, increments=increments).fills}
        resting[grid.id] = rests[grid.id] - placed
        taken, placed = taken | mine[grid.id], placed | resting[grid.id]
    shared, crowded = _of_several(fits.values()), _of_several(rests.values())
    return {
        grid.id: Share(
            fills=tuple(fill for fill in every_fill if _name(fill) not in taken - mine[grid.id]),
            orders=tuple(order for order in every_order if order.order_id not in placed - resting[grid.id]),
            contested=len(fits[grid.id] & shared) + len(rests[grid.id] & crowded),
        )
        for grid in grids
    }


def _of_several(sets: Iterable[set[T]]) -> set[T]:
    counts = Counter(one for found in sets for one in found)
    return {one for one, count in counts.items() if count > 1}


def _name(fill: AccountFill) -> _FillName:
    return fill.trade_id, fill.side
