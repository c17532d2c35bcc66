"""Grids of one market that trade from one account: no fill and no order counts for two of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from mm_pipeline.domain.account.attribution import fills_of_grid
from mm_pipeline.domain.account.ladder import AccountLadder, LadderFit
from mm_pipeline.domain.account.orders import (
    OrderFills,
    OrderName,
    StartPurchase,
    filled_orders,
    order_name,
    start_purchase,
)
from mm_pipeline.domain.account.policy import AccountPolicy
from mm_pipeline.domain.account.values import AccountFill, Increments, OpenOrder, Side, in_order
from mm_pipeline.domain.grid import Grid

T = TypeVar("T")
_FillName = tuple[str, Side]
_ALIKE: Final = 6
"""Decimal places to which two fits are told apart."""


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


@dataclass(frozen=True)
class EarlierRange:
    """A range that a grid traded before, up to ``until_ms``: what fits it best until then is no present grid's."""

    grid: Grid
    until_ms: int


@dataclass(frozen=True)
class _Claims:
    """Whose each order on a ladder is, and which fit several grids alike."""

    owners: Mapping[OrderName, str]
    alike: Mapping[str, frozenset[OrderName]]

    def strange_to(self, grid: Grid) -> set[OrderName]:
        """Orders on the ladders of others."""
        return {name for name, owner in self.owners.items() if owner != grid.id}

    def with_starts(self, starts: Mapping[str, StartPurchase]) -> _Claims:
        """These claims with the orders off the ladders that are the whole start of just one grid."""
        whole = {name: start.orders for name, start in starts.items() if not start.is_short}
        crowded = _of_several(set(orders) for orders in whole.values())
        started = {order: name for name, orders in whole.items() for order in orders - crowded}
        return replace(self, owners={**self.owners, **started})


@dataclass(frozen=True)
class _Market:
    """What an account traded on a market, and whose what lies on ladders is."""

    fills: Sequence[AccountFill]
    orders: Sequence[OpenOrder]
    claims: _Claims
    policy: AccountPolicy
    increments: Increments | None

    def own(self, grid: Grid, taken: set[_FillName]) -> set[_FillName]:
        """Fills of a grid among those that are on no other's ladder and that nobody has taken."""
        strange = self.claims.strange_to(grid)
        left = [fill for fill in self.fills if order_name(fill) not in strange and _name(fill) not in taken]
        found = fills_of_grid(grid, left, self.orders, policy=self.policy, increments=self.increments)
        return {_name(fill) for fill in found.fills}


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

    An order on several ladders is that of the grid whose interval's quantity it fits best, then whose level; that it
    may be a part of another's interval says nothing beside a whole one. One that fits several alike is claimed by the
    grid that started first. Purchases at the start are those of the grid whose whole start they are; other fills off
    the ladders are claimed in the order of the starts.

    Parameters
    ----------
    grids
        Of one market.
    earlier
        What these grids, and others of the market, were declared as before.
    """
    every_fill, every_order = in_order(fills), tuple({order.order_id: order for order in orders}.values())
    if len(grids) == 1 and not earlier:
        return {grids[0].id: Share(tuple(every_fill), every_order, 0)}
    by_start = sorted(grids, key=lambda one: (one.started_at_ms, one.id))
    ladders = {grid.id: AccountLadder(grid, policy, increments) for grid in by_start}
    filled = filled_orders(every_fill, every_order)
    past = {f"{one.grid.id} before {number}": one for number, one in enumerate(earlier)}
    before = {name: AccountLadder(one.grid, policy, increments) for name, one in past.items()}
    traded = _claims(
        {
            name: {grid.id: order.fit(ladders[grid.id]) for grid in by_start if order.first_ms >= grid.started_at_ms}
            | {
                one: order.fit(ladder)
                for one, ladder in before.items()
                if past[one].grid.started_at_ms <= order.first_ms < past[one].until_ms
            }
            for name, order in filled.items()
        }
    )
    free = {name: order for name, order in filled.items() if name not in traded.owners}
    traded = traded.with_starts(
        {grid.id: start_purchase(grid, free, ladders[grid.id], policy) for grid in by_start}
        | {
            one: start_purchase(past[one].grid, _until(past[one].until_ms, free), ladder, policy)
            for one, ladder in before.items()
        }
    )
    over = {name for name, owner in traded.owners.items() if owner in past}
    every_fill = [fill for fill in every_fill if order_name(fill) not in over]
    resting = _claims(
        {
            (order.order_id, order.side): {
                name: ladder.rests(order.side, order.price, order.quantity_base) for name, ladder in ladders.items()
            }
            for order in every_order
            if order.symbol == by_start[0].symbol
        }
    )
    market = _Market(every_fill, every_order, traded, policy, increments)
    alone = {grid.id: market.own(grid, set()) for grid in by_start}
    crowded = _of_several(alone.values())
    mine: dict[str, set[_FillName]] = {}
    taken: set[_FillName] = set()
    for grid in by_start:
        mine[grid.id] = market.own(grid, taken)
        taken |= mine[grid.id]
    return {
        grid.id: Share(
            fills=tuple(fill for fill in every_fill if _name(fill) not in taken - mine[grid.id]),
            orders=tuple(
                order for order in every_order if resting.owners.get((order.order_id, order.side), grid.id) == grid.id
            ),
            contested=len(alone[grid.id] & crowded | _fills_of(traded.alike.get(grid.id, frozenset()), every_fill))
            + len(resting.alike.get(grid.id, frozenset())),
        )
        for grid in by_start
    }


def _claims(fits: Mapping[OrderName, Mapping[str, LadderFit | None]]) -> _Claims:
    """The best fit of each order; grids are in the order of their starts."""
    owners: dict[OrderName, str] = {}
    alike: dict[str, set[OrderName]] = {}
    for name, found in fits.items():
        known = {grid: _rounded(fit) for grid, fit in found.items() if fit is not None}
        if not known:
            continue
        best = min(known.values())
        nearest = [grid for grid, fit in known.items() if fit == best]
        owners[name] = nearest[0]
        for grid in nearest if len(nearest) > 1 else ():
            alike.setdefault(grid, set()).add(name)
    return _Claims(owners, {grid: frozenset(names) for grid, names in alike.items()})


def _until(until_ms: int, orders: Mapping[OrderName, OrderFills]) -> dict[OrderName, OrderFills]:
    return {name: order for name, order in orders.items() if order.first_ms < until_ms}


def _rounded(fit: LadderFit) -> tuple[bool, float, float]:
    return fit.is_part, round(fit.quantity_error, _ALIKE), round(fit.price_error, _ALIKE)


def _fills_of(orders: frozenset[OrderName], fills: Iterable[AccountFill]) -> set[_FillName]:
    return {_name(fill) for fill in fills if order_name(fill) in orders}


def _of_several(sets: Iterable[set[T]]) -> set[T]:
    counts = Counter(one for found in sets for one in found)
    return {one for one, count in counts.items() if count > 1}


def _name(fill: AccountFill) -> _FillName:
    return fill.trade_id, fill.side
