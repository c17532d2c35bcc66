"""Which of an account's fills and orders are a grid's: by symbol, time, and the ladder's prices.

An account knows no grids. What fits no grid is told as foreign, never dropped silently.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from mm_pipeline.domain.account.fees import inventory_change_base
from mm_pipeline.domain.account.policy import AccountPolicy
from mm_pipeline.domain.account.values import AccountFill, Increments, OpenOrder, Side, in_order
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.indicators.windows import Floats

_OrderName = tuple[str, Side]

_BPS = 1e-4
_DUST = 1e-6


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
    """

    fills: tuple[AccountFill, ...]
    roles: tuple[FillRole, ...]
    foreign: tuple[AccountFill, ...]

    def of_role(self, *roles: FillRole) -> list[AccountFill]:
        """The fills that were one of these."""
        return [fill for fill, role in zip(self.fills, self.roles, strict=True) if role in roles]


def fills_of_grid(
    grid: Grid, fills: Iterable[AccountFill], *, policy: AccountPolicy, increments: Increments | None = None
) -> GridFills:
    """A grid's fills among an account's.

    An order is judged as a whole, by the worst price that it got: a limit order's own, or the end of a market order's
    way through the book. A fill of the grid's symbol at or after its ``started_at`` is the grid's when its order is

    - a buy at a level but the highest, or a sale at a level but the lowest (``ladder``);
    - a buy off the ladder within ``start_window``, while such buys cost no more than the capital (``start``);
    - a sale at or below the stop, of no more than the grid then holds (``stop``);
    - a sale off the ladder that alone, or with those that follow before the ladder trades again, sells all that the
      grid then holds (``exit``): an operator who leaves, in one order or several.

    Another sale off the ladder stays foreign, so that a stranger's trade never makes the watch believe that the grid
    is flat.

    Parameters
    ----------
    grid
        The declaration.
    fills
        In any order, repeated ones once.
    policy
        Tolerances.
    increments
        The symbol's steps; a price within one price step of a level is at it. None: not known, the tolerance counts.

    Raises
    ------
    ConflictingFills
        See :func:`~mm_pipeline.domain.account.values.in_order`.
    """
    mine = [fill for fill in in_order(fills) if fill.symbol == grid.symbol and fill.time_ms >= grid.started_at_ms]
    return _Attribution(grid, mine, policy, increments).told()


def orders_of_grid(
    grid: Grid, orders: Iterable[OpenOrder], *, policy: AccountPolicy, increments: Increments | None = None
) -> tuple[OpenOrder, ...]:
    """A grid's resting orders among an account's: those of its symbol at its levels, since its start."""
    levels = grid.level_prices()
    return tuple(
        order
        for order in {order.order_id: order for order in orders}.values()
        if order.symbol == grid.symbol
        and order.time_ms >= grid.started_at_ms
        and is_on_ladder(levels, order.side, order.price, policy=policy, increments=increments)
    )


def is_on_ladder(
    levels: Floats, side: Side, price: float, *, policy: AccountPolicy, increments: Increments | None
) -> bool:
    """Whether a grid buys (at its levels but the highest) or sells (but the lowest) at a price."""
    reached = levels[:-1] if side is Side.BUY else levels[1:]
    return bool(np.abs(reached - price).min() <= tolerance_quote(price, policy, increments))


def tolerance_quote(price: float, policy: AccountPolicy, increments: Increments | None) -> float:
    """How far off a level a price may lie: one price step and a hair, or the policy's share of the price."""
    by_step = increments.price * (1 + _DUST) if increments is not None else 0.0
    return max(by_step, policy.ladder_tolerance_bps * _BPS * price)


@dataclass(frozen=True)
class _OrderFills:
    """What is known of an order: its worst price, how much of it was filled, and the place of its last fill."""

    price: float
    quantity_base: float
    last: int


class _Attribution:
    """One pass over fills in order, with what the grid holds on the way. Orders are judged at their first fill."""

    def __init__(
        self, grid: Grid, fills: list[AccountFill], policy: AccountPolicy, increments: Increments | None
    ) -> None:
        self._grid = grid
        self._fills = fills
        self._policy = policy
        self._increments = increments
        self._start_end_ms = grid.started_at_ms + int(policy.start_window.total_seconds() * 1000)
        self._start_funds = 0.0
        self._held = 0.0
        self._orders = _orders_of(fills)
        self._sales: dict[_OrderName, FillRole | None] = {}
        levels = grid.level_prices()
        places = [(fill.side, self._orders[_order_of(fill)].price) for fill in fills]
        # Orders of a grid stand at few prices: each is looked for once.
        on_ladder = {
            (side, price): is_on_ladder(levels, side, price, policy=policy, increments=increments)
            for side, price in set(places)
        }
        self._is_on_ladder = [on_ladder[place] for place in places]

    def told(self) -> GridFills:
        mine: list[AccountFill] = []
        roles: list[FillRole] = []
        foreign: list[AccountFill] = []
        for place, fill in enumerate(self._fills):
            role = self._role(place)
            if role is None:
                foreign.append(fill)
                continue
            self._held += inventory_change_base(fill)
            mine.append(fill)
            roles.append(role)
        return GridFills(tuple(mine), tuple(roles), tuple(foreign))

    def _role(self, place: int) -> FillRole | None:
        fill = self._fills[place]
        if self._is_on_ladder[place]:
            return FillRole.LADDER
        if fill.is_buy:
            return self._start_role(fill)
        name = _order_of(fill)
        if name not in self._sales:
            self._judge_sale(place)
        return self._sales[name]

    def _start_role(self, fill: AccountFill) -> FillRole | None:
        funds = self._start_funds + fill.price * fill.quantity_base
        if fill.time_ms >= self._start_end_ms or funds > self._grid.capital * (1 + self._grid.fee):
            return None
        self._start_funds = funds
        return FillRole.START

    def _judge_sale(self, place: int) -> None:
        """Judge the order that sells off the ladder here for the first time, and those that leave together with it."""
        name = _order_of(self._fills[place])
        order = self._orders[name]
        stop = self._grid.stop_price + tolerance_quote(order.price, self._policy, self._increments)
        if order.price <= stop and order.quantity_base <= self._held + self._slack:
            self._sales[name] = FillRole.STOP
            return
        self._sales[name] = None
        self._sales |= dict.fromkeys(self._exit_from(place), FillRole.EXIT)

    def _exit_from(self, place: int) -> set[_OrderName]:
        """Orders that sell all that is held, from ``place`` on and before the ladder trades again; empty for none."""
        sold, ends, orders = 0.0, place, set[_OrderName]()
        if self._held <= self._slack:
            return set()
        for i in range(place, len(self._fills)):
            fill = self._fills[i]
            if self._is_on_ladder[i] or sold > self._held + self._slack:
                break
            if not fill.is_buy:
                orders.add(_order_of(fill))
                sold += fill.quantity_base
                ends = max(ends, self._orders[_order_of(fill)].last)
                if i >= ends and abs(sold - self._held) <= self._slack:
                    return orders
        return set()

    @property
    def _slack(self) -> float:
        """What rounding to the base step leaves over in every interval."""
        by_step = self._increments.base * self._grid.levels if self._increments is not None else 0.0
        return max(by_step, _DUST * abs(self._held))


def _order_of(fill: AccountFill) -> _OrderName:
    """The order of a fill; where the source tells none, each fill is one."""
    return fill.order_id or fill.trade_id, fill.side


def _orders_of(fills: list[AccountFill]) -> dict[_OrderName, _OrderFills]:
    """Each order with the highest price of a buy, the lowest of a sale."""
    found: dict[_OrderName, _OrderFills] = {}
    for place, fill in enumerate(fills):
        name = _order_of(fill)
        known = found.get(name, _OrderFills(fill.price, 0.0, place))
        worse = max if fill.is_buy else min
        found[name] = _OrderFills(worse(fill.price, known.price), known.quantity_base + fill.quantity_base, place)
    return found
