"""Which of an account's fills and orders are a grid's: by symbol, time, level, quantity and side.

An account knows no grids. What fits no grid is told as foreign, never dropped silently.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from mm_pipeline.domain.account.fees import inventory_change_base
from mm_pipeline.domain.account.ladder import AccountLadder, dust_base, tolerance_quote
from mm_pipeline.domain.account.orders import OrderFills, OrderName, filled_orders, order_name, start_purchase
from mm_pipeline.domain.account.policy import AccountPolicy
from mm_pipeline.domain.account.values import AccountFill, Increments, OpenOrder, Side, in_order
from mm_pipeline.domain.grid import Grid

_HAIR: Final = 1e-6


class FillRole(StrEnum):
    """What a fill was for the grid."""

    LADDER = "ladder"
    START = "start"
    STOP = "stop"
    EXIT = "exit"


@dataclass(frozen=True)
class GridFills:
    """A grid's fills.

    Attributes
    ----------
    fills, roles
        In the order in which they happened.
    foreign
        Fills of the symbol since the grid's start that are not the grid's.
    initial_base
        What it began to hold, as its file says.
    """

    fills: tuple[AccountFill, ...]
    roles: tuple[FillRole, ...]
    foreign: tuple[AccountFill, ...]
    initial_base: float = 0.0

    def of_role(self, *roles: FillRole) -> list[AccountFill]:
        """The fills that were one of these."""
        return [fill for fill, role in zip(self.fills, self.roles, strict=True) if role in roles]

    @property
    def held_base(self) -> float:
        """What it began with, and bought less sold, fees paid in base taken off."""
        return math.fsum([self.initial_base, *map(inventory_change_base, self.fills)])


def fills_of_grid(
    grid: Grid,
    fills: Iterable[AccountFill],
    orders: Iterable[OpenOrder] = (),
    *,
    policy: AccountPolicy,
    increments: Increments | None = None,
    balance_base: float | None = None,
) -> GridFills:
    """A grid's fills among an account's, by the fills themselves; the balance closes the books afterwards (``books``).

    An order is judged as a whole, by the worst price that it got. A fill of the grid's symbol is the grid's when its
    order is

    - at or after ``started_at`` a buy at a level but the highest, or a sale at a level but the lowest, or better, with
      the quantity of that interval (``ladder``); also a part of one, at its level;
    - a buy within ``start_window`` before or after it, not at a level, of those that together come nearest to what the
      grid begins to hold beside its ``initial_base``, and no more (``start``);
    - a sale at or below the stop, of no more than the grid then holds and no sells of it rest for (``stop``); where
      the account holds coins beside the grid's, only one that sells all of it;
    - a sale off the ladder that alone, or with those that follow before the ladder trades again, sells all that the
      grid then holds (``exit``): an operator who leaves, in one order or several. While sells of the grid rest and
      nothing was traded since, it was of other coins.

    Parameters
    ----------
    grid
        The declaration.
    fills
        In any order, repeated ones once.
    orders
        What rests: of an order that rests it is known how much was ordered.
    policy
        Tolerances.
    increments
        The symbol's steps; a price within one price step of a level is at it. None: not known, the tolerance counts.
    balance_base
        All base on the account; None where it is not known. Where more than dust is left, only an exit that sells the
        grid's inventory to the step counts by itself: another may have been of other coins.

    Raises
    ------
    ConflictingFills
        See :func:`~mm_pipeline.domain.account.values.in_order`.
    """
    window_ms = int(policy.start_window.total_seconds() * 1000)
    mine = [
        fill
        for fill in in_order(fills)
        if fill.symbol == grid.symbol and fill.time_ms >= grid.started_at_ms - window_ms
    ]
    resting = tuple(orders)
    own = orders_of_grid(grid, resting, policy=policy, increments=increments)
    left = _Left(base_behind(own), balance_base)
    orders_of = filled_orders(mine, resting)
    found = _Attribution(grid, mine, orders_of, left, policy=policy, increments=increments).found()
    more_base = 0.0 if balance_base is None else balance_base - max(0.0, found.held_base)
    if more_base <= dust_base(grid, policy) or not found.of_role(FillRole.STOP):
        return found
    whole = replace(left, is_beside_own=True)
    return _Attribution(grid, mine, orders_of, whole, policy=policy, increments=increments).found()


def orders_of_grid(
    grid: Grid, orders: Iterable[OpenOrder], *, policy: AccountPolicy, increments: Increments | None = None
) -> tuple[OpenOrder, ...]:
    """A grid's resting orders among an account's: those of its symbol on its ladder, whatever their age."""
    ladder = AccountLadder(grid, policy, increments)
    return tuple(
        order
        for order in {order.order_id: order for order in orders}.values()
        if order.symbol == grid.symbol and ladder.rests(order.side, order.price, order.quantity_base)
    )


def base_behind(orders: Iterable[OpenOrder]) -> float:
    """What resting sells stand for, in base."""
    return math.fsum(order.remaining_base for order in orders if order.side is Side.SELL)


@dataclass(frozen=True)
class _Left:
    """What is there now: base behind the grid's resting sells, and all base on the account where that is known.

    ``is_beside_own``: the account holds more than the grid, so that a sale of a part at the stop may be of other coins.
    """

    locked_base: float
    balance_base: float | None
    is_beside_own: bool = False


class _Attribution:
    """One pass over fills in order, with what the grid holds on the way. Orders are judged at their first fill."""

    def __init__(
        self,
        grid: Grid,
        fills: list[AccountFill],
        orders: dict[OrderName, OrderFills],
        left: _Left,
        *,
        policy: AccountPolicy,
        increments: Increments | None,
    ) -> None:
        self._grid = grid
        self._fills = fills
        self._orders = orders
        self._policy = policy
        self._increments = increments
        self._held = grid.initial_base or 0.0
        self._dust = dust_base(grid, policy)
        self._left = left
        self._sales: dict[OrderName, FillRole | None] = {}
        ladder = AccountLadder(grid, policy, increments)
        self._starts = start_purchase(grid, orders, ladder, policy).orders
        # Orders of a grid stand at few prices: each is looked for once.
        self._ladder = {
            name
            for name, order in orders.items()
            if name not in self._starts and order.first_ms >= grid.started_at_ms and order.fit(ladder) is not None
        }
        places = (place for place, fill in enumerate(fills) if order_name(fill) in self._ladder)
        self._last_on_ladder = max(places, default=-1)

    def found(self) -> GridFills:
        mine: list[AccountFill] = []
        roles: list[FillRole] = []
        foreign: list[AccountFill] = []
        for place, fill in enumerate(self._fills):
            role = self._role(place)
            if role is not None:
                self._held += inventory_change_base(fill)
                mine.append(fill)
                roles.append(role)
            elif fill.time_ms >= self._grid.started_at_ms:
                foreign.append(fill)
        return GridFills(tuple(mine), tuple(roles), tuple(foreign), self._grid.initial_base or 0.0)

    def _role(self, place: int) -> FillRole | None:
        fill = self._fills[place]
        name = order_name(fill)
        if name in self._ladder:
            return FillRole.LADDER
        if fill.is_buy:
            return FillRole.START if name in self._starts else None
        if self._orders[name].first_ms < self._grid.started_at_ms:
            return None
        if name not in self._sales:
            self._judge_sale(place)
        return self._sales[name]

    def _judge_sale(self, place: int) -> None:
        """Judge the order that sells off the ladder here for the first time, and those that leave together with it."""
        name = order_name(self._fills[place])
        order = self._orders[name]
        stop = self._grid.stop_price + tolerance_quote(order.price, self._policy, self._increments)
        locked_base = self._left.locked_base if place > self._last_on_ladder else 0.0
        is_stop, is_within = order.price <= stop, order.quantity_base <= self._held - locked_base + self._dust
        if is_stop and is_within and not self._left.is_beside_own:
            self._sales[name] = FillRole.STOP
            return
        self._sales[name] = None
        self._sales |= dict.fromkeys(self._exit_from(place), FillRole.STOP if is_stop else FillRole.EXIT)

    def _exit_from(self, place: int) -> set[OrderName]:
        """Orders that sell all that is held, from ``place`` on and before the ladder trades again; empty for none."""
        sold, ends, orders = 0.0, place, set[OrderName]()
        if self._held <= self._slack or (self._left.locked_base > self._dust and place > self._last_on_ladder):
            return set()
        for i in range(place, len(self._fills)):
            fill = self._fills[i]
            name = order_name(fill)
            if name in self._ladder or sold > self._held + self._slack:
                break
            if not fill.is_buy:
                orders.add(name)
                sold += fill.quantity_base
                ends = max(ends, self._orders[name].last)
                if i >= ends and abs(sold - self._held) <= self._slack:
                    return orders
        return set()

    @property
    def _slack(self) -> float:
        """How far the quantity of an exit may be off what is held."""
        balance = self._left.balance_base
        if balance is None or balance <= self._dust:
            return self._dust
        by_step = self._increments.base * self._grid.levels if self._increments is not None else 0.0
        return max(by_step, _HAIR * abs(self._held))
