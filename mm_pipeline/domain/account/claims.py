"""Whose each order on the ladders of several grids is; of intervals that it fits alike, one that can have traded it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from mm_pipeline.domain.account.ladder import AccountLadder, LadderFit
from mm_pipeline.domain.account.orders import OrderFills, OrderName, StartPurchase
from mm_pipeline.domain.account.values import OpenOrder, Side
from mm_pipeline.domain.grid import Grid

T = TypeVar("T")
_ALIKE: Final = 6
"""Two fits that agree to so many decimal places are alike."""

Fits = Mapping[str, LadderFit | None]
"""How an order fits each grid, in the order of their starts."""


@dataclass(frozen=True)
class Claims:
    """Whose each order is, by the grid's name; which orders fit several alike; and whose whole start they are."""

    owners: Mapping[OrderName, str]
    alike: Mapping[str, frozenset[OrderName]]
    starts: Mapping[OrderName, frozenset[str]] = field(default_factory=dict)

    def strange_to(self, grid: Grid) -> set[OrderName]:
        """Orders on the ladders of others, and whole starts of others that are none of this grid's."""
        owned = {name for name, owner in self.owners.items() if owner != grid.id}
        return owned | {name for name, grids in self.starts.items() if grid.id not in grids}

    def with_starts(self, starts: Mapping[str, StartPurchase]) -> Claims:
        """These claims, and whose whole start orders off the ladders are; a grid owns those that are no other's."""
        whole: dict[OrderName, set[str]] = defaultdict(set)
        for name, start in starts.items():
            for order in () if start.is_short else start.orders:
                whole[order].add(name)
        alone = {order: min(names) for order, names in whole.items() if len(names) == 1}
        return Claims({**self.owners, **alone}, self.alike, {order: frozenset(names) for order, names in whole.items()})


@dataclass(frozen=True)
class _Interval:
    """An interval of a grid, and what it trades."""

    grid: str
    number: int


class Intervals:
    """How much each interval of each grid holds, as a share of what it trades, order after order.

    Parameters
    ----------
    started
        By grid, the intervals that hold at its start.
    """

    def __init__(self, started: Mapping[str, set[int]]) -> None:
        self._held: dict[_Interval, float] = defaultdict(float)
        self._held |= {_Interval(name, number): 1.0 for name, held in started.items() for number in held}
        self._resting: Counter[_Interval] = Counter()
        self._groups: set[frozenset[_Interval]] = set()

    def claimed(self, orders: Mapping[OrderName, OrderFills], fits: Mapping[OrderName, Fits]) -> Claims:
        """Whose orders are that were filled, in the order of their first fills.

        Of intervals that fit alike the emptiest buys, and the fullest sells: each holds once what it trades.
        """
        owners: dict[OrderName, str] = {}
        alike: dict[str, set[OrderName]] = defaultdict(set)
        for name, order in orders.items():
            nearest = _nearest(fits[name])
            if not nearest and order.side is Side.SELL:
                self._held.clear()  # whoever sold by hand holds nothing now, and nobody can say who did
            if not nearest:
                continue
            sign = _sign(order.side)
            owner = min(nearest, key=partial(self._room, side=order.side))
            traded = min(1.0, order.quantity_base / nearest[owner]) if nearest[owner] > 0.0 else 1.0
            self._held[owner] = min(1.0, max(0.0, self._held[owner] + sign * traded))
            owners[name] = owner.grid
            self._note(name, nearest, alike)
        return Claims(owners, _frozen(alike))

    def resting(self, orders: Iterable[OpenOrder], fits: Mapping[OrderName, Fits], traded: Claims) -> Claims:
        """Whose orders are that rest: a part of which was filled, its owner's; one for an interval before a second."""
        owners: dict[OrderName, str] = {}
        alike: dict[str, set[OrderName]] = defaultdict(set)
        for order in orders:
            name = order.order_id, order.side
            nearest = _nearest(fits[name])
            if not nearest:
                continue
            owner = min(nearest, key=partial(self._rank, name=name, traded=traded))
            self._resting[owner] += 1
            owners[name] = owner.grid
            self._note(name, nearest, alike)
        return Claims(owners, _frozen(alike))

    def guessed(self, tolerance: float) -> set[str]:
        """Grids of intervals that orders fit alike, unless all of these hold, or none: which one holds is a guess."""
        held = {group: [self._held[place] for place in group] for group in self._groups}
        return {
            place.grid
            for group, shares in held.items()
            if max(shares) > tolerance and min(shares) < 1.0 - tolerance
            for place in group
        }

    @property
    def rivals(self) -> set[str]:
        """Grids with orders that fit another as well."""
        return {place.grid for group in self._groups for place in group}

    def _room(self, place: _Interval, side: Side) -> float:
        """The smaller, the rather an interval has traded on a side."""
        return _sign(side) * self._held[place]

    def _rank(self, place: _Interval, name: OrderName, traded: Claims) -> tuple[bool, int, float]:
        """The smaller, the rather a resting order is an interval's: its own rest first, then the first one of it."""
        is_strange = traded.owners.get(name, place.grid) != place.grid
        return is_strange, self._resting[place], self._room(place, name[1])

    def _note(self, name: OrderName, nearest: Iterable[_Interval], alike: dict[str, set[OrderName]]) -> None:
        places = frozenset(nearest)
        if len(places) > 1:
            self._groups.add(places)
            for place in places:
                alike[place.grid].add(name)


def started_intervals(
    grid: Grid, start: StartPurchase, orders: Mapping[OrderName, OrderFills], ladder: AccountLadder
) -> set[int]:
    """The intervals that hold at a grid's start, by what it began with and bought."""
    bought = sum(orders[name].quantity_base for name in start.orders)
    return ladder.started_intervals((grid.initial_base or 0.0) + bought)


def of_several(sets: Iterable[Iterable[T]]) -> set[T]:
    """What is in more than one of the sets."""
    counts = Counter(one for found in sets for one in found)
    return {one for one, count in counts.items() if count > 1}


def _nearest(fits: Fits) -> dict[_Interval, float]:
    """The intervals that fit best, with what each trades; one a grid."""
    known = {name: fit for name, fit in fits.items() if fit is not None}
    best = min(map(_rounded, known.values()), default=None)
    return {_Interval(name, fit.interval): fit.interval_base for name, fit in known.items() if _rounded(fit) == best}


def _rounded(fit: LadderFit) -> tuple[bool, float, float]:
    return fit.is_part, round(fit.quantity_error, _ALIKE), round(fit.price_error, _ALIKE)


def _sign(side: Side) -> int:
    return 1 if side is Side.BUY else -1


def _frozen(alike: Mapping[str, set[OrderName]]) -> dict[str, frozenset[OrderName]]:
    return {name: frozenset(found) for name, found in alike.items()}
