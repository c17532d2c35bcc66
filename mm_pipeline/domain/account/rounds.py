"""Whether a grid's orders follow one another as those of a ladder do: each interval buys what it trades, then sells it.

An order of an operator's own at a level, and a fill that is missing, break that. Whose fills are does not belong here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final, NamedTuple

from mm_pipeline.domain.account.attribution import FillRole, GridFills
from mm_pipeline.domain.account.fees import inventory_change_base
from mm_pipeline.domain.account.ladder import AccountLadder, dust_base
from mm_pipeline.domain.account.orders import OrderFills, filled_orders, order_name
from mm_pipeline.domain.account.policy import AccountPolicy
from mm_pipeline.domain.account.values import Increments, OpenOrder, Side
from mm_pipeline.domain.grid import Grid


class Unround(NamedTuple):
    """What does not fit a grid's rounds, in base.

    Attributes
    ----------
    bought_parts_base, sold_parts_base
        Orders at a level that traded a part of their interval and rest no more, where the parts make no whole.
    excess_base
        What intervals bought beyond what they trade, or sold without having bought it.
    """

    bought_parts_base: float
    sold_parts_base: float
    excess_base: float


NOTHING_OPEN: Final = Unround(0.0, 0.0, 0.0)


def unround_of(
    grid: Grid,
    mine: GridFills,
    resting: Sequence[OpenOrder],
    *,
    policy: AccountPolicy,
    increments: Increments | None,
    is_sole: bool = False,
) -> Unround:
    """Walk a grid's orders in the order of their first fills, from what it began with.

    Parameters
    ----------
    mine, resting
        The grid's fills and resting orders. After its whole inventory was sold by hand the walk begins anew.
    is_sole
        Whether the account holds what the grid does and nothing else: a sale of what no interval had bought was then
        one by hand, of its coins.
    """
    if grid.capital == 0:
        return NOTHING_OPEN
    walk = _Walk(AccountLadder(grid, policy, increments), max(policy.quantity_tolerance, policy.dust_share), is_sole)
    # Of coins that it began with nobody knows which intervals they were for.
    bought = sum(fill.quantity_base for fill in mine.of_role(FillRole.START))
    walk.begin(None if grid.initial_base else bought)
    rest, held = {order.order_id for order in resting}, grid.initial_base or 0.0
    ladder = filled_orders(mine.of_role(FillRole.LADDER), resting)
    for fill, role in zip(mine.fills, mine.roles, strict=True):
        held += inventory_change_base(fill)
        if role in (FillRole.EXIT, FillRole.STOP):
            walk.begin(0.0) if held <= dust_base(grid, policy) else walk.lose()
        order = ladder.pop(order_name(fill), None) if role is FillRole.LADDER else None
        if order is not None:
            walk.trade(order, is_resting=order_name(fill)[0] in rest)
    filled = {fill.order_id for fill in mine.fills}
    for waiting in resting:
        if waiting.side is Side.BUY and waiting.order_id not in filled:
            walk.wait(waiting)
    return walk.found


class _Walk:
    """What each interval holds, as a share of what it trades."""

    def __init__(self, ladder: AccountLadder, tolerance: float, is_sole: bool) -> None:
        self._ladder, self._tolerance, self._is_sole = ladder, tolerance, is_sole
        self._held: dict[int, float] = {}
        self._parts: dict[int, float] = defaultdict(float)
        self._size: dict[int, float] = {}
        self._is_known = True
        self._excess_base = 0.0
        self._is_lost = False

    def begin(self, held_base: float | None) -> None:
        """A grid holds so much, its highest intervals; None where nobody knows which."""
        self._held.clear()
        self._parts.clear()
        self._is_known = held_base is not None
        self._held |= dict.fromkeys(self._ladder.started_intervals(held_base or 0.0), 1.0)
        self._excess_base, self._is_lost = 0.0, False

    def lose(self) -> None:
        """A part was sold by hand: nobody knows of which intervals."""
        self._is_lost = True

    def trade(self, order: OrderFills, *, is_resting: bool) -> None:
        """An order that was filled, wholly or in part: of the intervals that it fits, one that can have traded it."""
        fit, sign = order.fit(self._ladder), 1.0 if order.side is Side.BUY else -1.0
        if fit is None or fit.interval_base <= 0.0:
            return
        places = [(fit.interval, fit.interval_base)]
        if not fit.is_part:
            size = order.quantity_base if order.ordered_base is None else order.ordered_base
            places = self._ladder.candidates(order.side, order.price, size) or places
        left = [abs(self._beyond(place, sign * order.quantity_base / base)) for place, base in places]
        place, base = places[min(range(len(places)), key=left.__getitem__)]
        self._size[place] = base
        share = sign * order.quantity_base / base
        if fit.is_part and not is_resting:
            self._parts[place] += share
        beyond = self._beyond(place, share)
        if beyond < -self._tolerance and self._is_sole:
            self.lose()
        elif abs(beyond) > self._tolerance:
            self._excess_base += beyond * base
        after = min(1.0, max(0.0, self._held_before(place, sign) + share))
        self._held[place] = after if after > self._tolerance else 0.0

    def _held_before(self, place: int, sign: float) -> float:
        return self._held.get(place, 0.0 if self._is_known or sign > 0 else 1.0)

    def _beyond(self, place: int, share: float) -> float:
        """By how much a share would fill an interval above what it trades, or empty it below nothing."""
        after = self._held_before(place, share) + share
        beyond = max(0.0, after - 1.0) if share > 0 else min(0.0, after)
        return beyond if abs(beyond) > self._tolerance else 0.0

    def wait(self, order: OpenOrder) -> None:
        """A buy rests: its interval holds nothing."""
        fit = self._ladder.rests(order.side, order.price, order.quantity_base)
        if fit is not None and self._held.get(fit.interval, 0.0) > self._tolerance:
            self._excess_base += self._held[fit.interval] * fit.interval_base
            self._parts.pop(fit.interval, None)

    @property
    def found(self) -> Unround:
        """What is left open."""
        parts = [
            share * self._size[place]
            for place, share in self._parts.items()
            if abs(share - round(share)) > self._tolerance
        ]
        bought, sold = (sum(part for part in (sign * one for one in parts) if part > 0.0) for sign in (1.0, -1.0))
        return Unround(bought, sold, 0.0 if self._is_lost else self._excess_base)
