"""Grids of one market that trade from one account: no fill and no order counts for two of them."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mm_pipeline.domain.account.attribution import fills_of_grid
from mm_pipeline.domain.account.claims import Claims, Fits, Intervals, of_several, started_intervals
from mm_pipeline.domain.account.fees import inventory_change_base
from mm_pipeline.domain.account.ladder import AccountLadder
from mm_pipeline.domain.account.orders import OrderFills, OrderName, filled_orders, order_name, start_purchase
from mm_pipeline.domain.account.policy import AccountPolicy
from mm_pipeline.domain.account.values import AccountFill, Increments, OpenOrder, Side, in_order
from mm_pipeline.domain.grid import Grid

_FillName = tuple[str, Side]
_FOR_GOOD_MS: Final = sys.maxsize


@dataclass(frozen=True)
class Share:
    """What of an account's market concerns one grid: everything but what other grids claim.

    Attributes
    ----------
    contested
        Fills and orders that fit this grid and another: whose they are is a guess, and proves nothing.
    is_guess
        Whether what the grid holds depends on whose those are.
    is_cut
        Whether an order of its ladder was filled both before and after its start: what of it the grid has is not known.
    """

    fills: tuple[AccountFill, ...]
    orders: tuple[OpenOrder, ...]
    contested: int
    is_guess: bool = False
    is_cut: bool = False


@dataclass(frozen=True)
class EarlierRange:
    """A range that a grid traded before, up to ``until_ms``: what fits it best until then is no present grid's."""

    grid: Grid
    until_ms: int

    def is_during(self, time_ms: int) -> bool:
        """Whether the range was traded at a moment."""
        return self.grid.started_at_ms <= time_ms < self.until_ms


@dataclass(frozen=True)
class _Market:
    """What an account traded on a market, and whose what lies on ladders is."""

    fills: Sequence[AccountFill]
    orders: Sequence[OpenOrder]
    claims: Claims
    policy: AccountPolicy
    increments: Increments | None

    def own(self, grid: Grid, taken: set[_FillName]) -> set[_FillName]:
        """Fills of a grid among those that are on no other's ladder and that nobody has taken."""
        strange = self.claims.strange_to(grid)
        left = [fill for fill in self.fills if order_name(fill) not in strange and _name(fill) not in taken]
        found = fills_of_grid(grid, left, self.orders, policy=self.policy, increments=self.increments)
        return {_name(fill) for fill in found.fills}

    def changed_by(self, alone: Mapping[str, set[_FillName]], mine: Mapping[str, set[_FillName]]) -> set[str]:
        """Grids with fills that fit several, where sharing them out made one hold something else than alone."""
        crowded = of_several(alone.values())
        changes = {_name(fill): inventory_change_base(fill) for fill in self.fills}
        dust = self.policy.dust_share * min((abs(changes[name]) for name in crowded), default=0.0)
        rivals = {grid for grid, fills in alone.items() if fills & crowded}
        held = {grid: [math.fsum(changes[name] for name in found[grid]) for found in (alone, mine)] for grid in rivals}
        return rivals if any(abs(before - after) > dust for before, after in held.values()) else set()


def shares_of(
    grids: Sequence[Grid],
    fills: Iterable[AccountFill],
    orders: Iterable[OpenOrder],
    *,
    policy: AccountPolicy,
    increments: Increments | None = None,
    earlier: Sequence[EarlierRange] = (),
) -> Mapping[str, Share]:
    """Share an account's market out among its grids, by grid id.

    An order on several ladders is that of the grid whose interval's quantity it fits best, then whose level. That it
    may be a part of another's interval says nothing beside a whole one. Of intervals that it fits alike, one that can
    have traded it has it (``claims``). Purchases at the start are those of the grid whose whole start they are; other
    fills off the ladders are claimed in the order of the starts.

    Parameters
    ----------
    grids
        Of one market.
    earlier
        What these grids, and others of the market, were declared as before.
    """
    every_fill, every_order = in_order(fills), tuple({order.order_id: order for order in orders}.values())
    filled = filled_orders(every_fill, every_order)
    last_ms = {order_name(fill): fill.time_ms for fill in every_fill}
    cut = {grid.id for grid in grids if _is_cut(_ladders_of(grid, earlier, policy, increments), filled, last_ms)}
    if len(grids) == 1 and not earlier:
        return {grids[0].id: Share(tuple(every_fill), every_order, 0, is_cut=grids[0].id in cut)}
    by_start = sorted(grids, key=lambda one: (one.started_at_ms, one.id))
    past = {f"{one.grid.id} before {number}": one for number, one in enumerate(earlier)}
    ranges = {grid.id: EarlierRange(grid, _FOR_GOOD_MS) for grid in by_start} | past
    ladders = {name: AccountLadder(one.grid, policy, increments) for name, one in ranges.items()}
    fits: dict[OrderName, Fits] = {
        name: {one: order.fit(ladders[one]) for one, of in ranges.items() if of.is_during(order.first_ms)}
        for name, order in filled.items()
    }
    free = {name: order for name, order in filled.items() if not any(fits[name].values())}
    starts = {
        name: start_purchase(of.grid, _until(of.until_ms, free), ladders[name], policy) for name, of in ranges.items()
    }
    intervals = Intervals(
        {name: started_intervals(of.grid, starts[name], free, ladders[name]) for name, of in ranges.items()}
    )
    traded = intervals.claimed(filled, fits).with_starts(starts)
    over = {name for name, owner in traded.owners.items() if owner in past}
    every_fill = [fill for fill in every_fill if order_name(fill) not in over]
    here = [order for order in every_order if order.symbol == by_start[0].symbol]
    resting = intervals.resting(
        here,
        {
            (order.order_id, order.side): {
                grid.id: ladders[grid.id].rests(order.side, order.price, order.quantity_base) for grid in by_start
            }
            for order in here
        },
        traded,
    )
    market = _Market(every_fill, every_order, traded, policy, increments)
    alone = {grid.id: market.own(grid, set()) for grid in by_start}
    crowded = of_several(alone.values())
    mine: dict[str, set[_FillName]] = {}
    taken: set[_FillName] = set()
    for grid in by_start:
        mine[grid.id] = market.own(grid, taken)
        taken |= mine[grid.id]
    guessed = intervals.guessed(policy.quantity_tolerance) | market.changed_by(alone, mine)
    rivals_ms = min((grid.started_at_ms for grid in by_start if grid.id in intervals.rivals), default=_FOR_GOOD_MS)
    sales = (fill for fill in every_fill if fill.side is Side.SELL and fill.time_ms >= rivals_ms)
    if any(order_name(fill) not in traded.owners for fill in sales):
        guessed |= intervals.rivals  # a sale off the ladders may have emptied any of their intervals
    return {
        grid.id: Share(
            fills=tuple(fill for fill in every_fill if _name(fill) not in taken - mine[grid.id]),
            orders=tuple(
                order for order in every_order if resting.owners.get((order.order_id, order.side), grid.id) == grid.id
            ),
            contested=len(alone[grid.id] & crowded | _fills_of(traded.alike.get(grid.id, frozenset()), every_fill))
            + len(resting.alike.get(grid.id, frozenset())),
            is_guess=grid.id in guessed,
            is_cut=grid.id in cut,
        )
        for grid in by_start
    }


def _ladders_of(
    grid: Grid, earlier: Sequence[EarlierRange], policy: AccountPolicy, increments: Increments | None
) -> tuple[int, list[AccountLadder]]:
    """When a grid started, and its present and earlier ladders."""
    ranges = [grid, *(one.grid for one in earlier if one.grid.id == grid.id)]
    return grid.started_at_ms, [AccountLadder(one, policy, increments) for one in ranges]


def _is_cut(
    grid: tuple[int, list[AccountLadder]], filled: Mapping[OrderName, OrderFills], last_ms: Mapping[OrderName, int]
) -> bool:
    """Whether an order on a grid's ladders was filled both before and after its start."""
    started_ms, ladders = grid
    over = [one for name, one in filled.items() if one.first_ms < started_ms <= last_ms[name]]
    return any(one.fit(ladder) is not None for one in over for ladder in ladders)


def _until(until_ms: int, orders: Mapping[OrderName, OrderFills]) -> dict[OrderName, OrderFills]:
    return {name: order for name, order in orders.items() if order.first_ms < until_ms}


def _fills_of(orders: frozenset[OrderName], fills: Iterable[AccountFill]) -> set[_FillName]:
    return {_name(fill) for fill in fills if order_name(fill) in orders}


def _name(fill: AccountFill) -> _FillName:
    return fill.trade_id, fill.side
