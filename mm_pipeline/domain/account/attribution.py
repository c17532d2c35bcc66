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


class _Attribution:
    """One pass over fills in order, with what the grid holds on the way."""

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
        self._exit_until = -1
        levels, worst = grid.level_prices(), _worst_prices(fills)
        self._prices = [worst[_order_of(fill)] for fill in fills]
        self._is_on_ladder = [
            is_on_ladder(levels, fill.side, price, policy=policy, increments=increments)
            for fill, price in zip(fills, self._prices, strict=True)
        ]

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
        price = self._prices[place]
        stop = self._grid.stop_loss + tolerance_quote(price, self._policy, self._increments)
        if price <= stop and fill.quantity_base <= self._held + self._slack:
            return FillRole.STOP
        if place > self._exit_until:
            self._exit_until = self._end_of_exit(place)
        return FillRole.EXIT if place <= self._exit_until else None

    def _start_role(self, fill: AccountFill) -> FillRole | None:
        funds = self._start_funds + fill.price * fill.quantity_base
        if fill.time_ms >= self._start_end_ms or funds > self._grid.capital * (1 + self._grid.fee):
            return None
        self._start_funds = funds
        return FillRole.START

    def _end_of_exit(self, place: int) -> int:
        """Place of the sale off the ladder with which all that is held is sold, from ``place`` on; -1 for none."""
        sold = 0.0
        if self._held <= self._slack:
            return -1
        for i in range(place, len(self._fills)):
            if self._is_on_ladder[i]:
                return -1
            if not self._fills[i].is_buy:
                sold += self._fills[i].quantity_base
                if abs(sold - self._held) <= self._slack:
                    return i
        return -1

    @property
    def _slack(self) -> float:
        """What rounding to the base step leaves over in every interval."""
        by_step = self._increments.base * self._grid.levels if self._increments is not None else 0.0
        return max(by_step, _DUST * abs(self._held))


def _order_of(fill: AccountFill) -> tuple[str, Side]:
    """The order of a fill; where the source tells none, each fill is one."""
    return fill.order_id or fill.trade_id, fill.side


def _worst_prices(fills: list[AccountFill]) -> dict[tuple[str, Side], float]:
    """The highest price of each buying order, the lowest of each selling one."""
    worst: dict[tuple[str, Side], float] = {}
    for fill in fills:
        order = _order_of(fill)
        choose = max if fill.is_buy else min
        worst[order] = choose(fill.price, worst.get(order, fill.price))
    return worst
