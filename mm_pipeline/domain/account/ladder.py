"""How an order fits a grid's ladder: at a level, or better for its side, and with what that interval trades."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from mm_pipeline.domain.account.policy import AccountPolicy
from mm_pipeline.domain.account.values import Increments, OpenOrder, Side
from mm_pipeline.domain.arrays import Bools, Floats
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.position.trading import GridLadder

_BPS: Final = 1e-4
_HAIR: Final = 1e-6


@dataclass(frozen=True, order=True)
class LadderFit:
    """How well an order fits an interval; the smaller fits better: a whole interval, then quantity, then price.

    Attributes
    ----------
    is_part
        Whether only the level tells: less than the interval's quantity was traded, or any quantity would fit.
    quantity_error
        Share of the interval's quantity; 0 where only the level tells.
    price_error
        Distance to the level as a share of it.
    is_better
        Whether the price is better than the level, and not at it.
    interval, interval_base
        Number of the interval, the lowest 0, and what it trades; 0 where the grid has no capital.
    """

    is_part: bool
    quantity_error: float
    price_error: float
    is_better: bool = field(default=False, compare=False)
    interval: int = field(default=0, compare=False)
    interval_base: float = field(default=0.0, compare=False)


class AccountLadder:
    """The orders that a grid places, as an account shows them.

    Parameters
    ----------
    grid
        The declaration. One without capital trades nothing that could be told, so any quantity fits it.
    policy, increments
        Tolerances, and the symbol's steps where they are known.
    """

    def __init__(self, grid: Grid, policy: AccountPolicy, increments: Increments | None) -> None:
        ladder = GridLadder.of(grid)
        self._grid, self._policy, self._increments = grid, policy, increments
        self._quantity_base = ladder.quantity_base
        self._levels = {Side.BUY: ladder.levels[:-1], Side.SELL: ladder.levels[1:]}
        widths = np.diff(ladder.levels)
        self._widths = {Side.BUY: np.append(widths[0], widths)[:-1], Side.SELL: np.append(widths, widths[-1])[1:]}

    def fit(self, side: Side, price: float, quantity_base: float, *, is_whole: bool) -> LadderFit | None:
        """How an order that was filled fits: of several intervals the one nearest in price; None where it fits none.

        One that got a better price than its level got it within the interval next to it, unless its quantity is that of
        its own interval to the step.

        Parameters
        ----------
        side, price, quantity_base
            Of the order: the worst price that it got.
        is_whole
            Whether the quantity is all that was ordered. Else it may be a part of an interval, at exactly its level.
        """
        at_level = np.abs(self._better(side, price)) <= tolerance_quote(price, self._policy, self._increments)
        if self._grid.capital == 0:
            return self._nearest(at_level, price, side)
        found = self._nearest(self._fits(side, price, quantity_base), price, side, quantity_base)
        if found is None and not is_whole:
            return self._nearest(at_level & (quantity_base < self._quantity_base), price, side)
        return found

    def candidates(self, side: Side, price: float, quantity_base: float) -> list[tuple[int, float]]:
        """Every interval that a whole order fits, and what each trades, the likeliest first.

        Quantities of neighbours may differ by less than the tolerance, or by less than a step, and one price may be at
        a level and better for others: its quantity to the step tells, then its level, then how near its quantity is.
        """
        places: list[int] = np.flatnonzero(self._fits(side, price, quantity_base)).tolist()
        away, tolerance = self._better(side, price), tolerance_quote(price, self._policy, self._increments)
        sizes = {place: float(self._quantity_base[place]) for place in places}
        gaps = {place: abs(sizes[place] - quantity_base) for place in places}
        ordered = sorted(places, key=lambda at: (gaps[at] > self._step, abs(away[at]) > tolerance, gaps[at]))
        return [(place, sizes[place]) for place in ordered]

    def rests(self, side: Side, price: float, quantity_base: float) -> LadderFit | None:
        """How a resting order fits: at a level, with that interval's quantity; None where it fits none."""
        at_level = np.abs(self._levels[side] - price) <= tolerance_quote(price, self._policy, self._increments)
        if self._grid.capital == 0:
            return self._nearest(at_level, price, side)
        return self._nearest(at_level & self._is_interval(quantity_base), price, side, quantity_base)

    def is_beside(self, price: float, quantity_base: float) -> bool:
        """Whether an order, that is not on the ladder, is of the size of an interval that begins near its price."""
        levels, widths = self._levels[Side.BUY], self._widths[Side.BUY]
        width = float(widths[max(0, int(np.searchsorted(levels, price, side="right")) - 1)])
        if not levels[0] - width <= price <= levels[-1] + 2 * width:
            return False
        worth = quantity_base * (1 + self._grid.fee)
        spent, slack = self._grid.interval_capital_quote, 1 + self._policy.quantity_tolerance
        return worth * (price - width) <= spent * slack and worth * (price + width) >= spent / slack

    def may_be_its_own(self, order: OpenOrder) -> bool:
        """Whether an order that rests may be the grid's, or its bot's on another ladder: at a level, or of its size."""
        gaps = np.abs(self._levels[order.side] - order.price)
        is_at_level = bool((gaps <= tolerance_quote(order.price, self._policy, self._increments)).any())
        return is_at_level or self.is_beside(order.price, order.quantity_base)

    def start_base(self, price: float) -> float:
        """What the grid begins to hold where it starts at a price."""
        return float(self._quantity_base[self._levels[Side.BUY] >= price].sum())

    def started_intervals(self, held_base: float) -> set[int]:
        """Intervals that hold where a grid begins to hold so much: the highest ones, to half of the next."""
        from_top = np.cumsum(self._quantity_base[::-1])[::-1]
        return set(np.flatnonzero(from_top - self._quantity_base / 2 < held_base).tolist()) if held_base > 0 else set()

    def starts_base(self, price: float) -> list[float]:
        """What it may begin to hold where its coins were bought at a price, the likeliest first.

        Who starts at the price of a level pays a little more or less than that, and lacks the interval of the level.
        """
        slip = self._policy.start_slippage
        return list(dict.fromkeys(self.start_base(price * share) for share in (1.0, 1.0 - slip, 1.0 + slip)))

    def start_slack(self, wanted_base: float) -> float:
        """How far a purchase at the start may be off what is wanted."""
        return wanted_base * self._policy.quantity_tolerance + self._step

    def _better(self, side: Side, price: float) -> Floats:
        """How much better than each level a price is for a side, in quote; below 0 worse."""
        levels = self._levels[side]
        return levels - price if side is Side.BUY else price - levels

    def _fits(self, side: Side, price: float, quantity_base: float) -> Bools:
        """The intervals of which an order has the quantity, at their level or a better price."""
        better = self._better(side, price)
        at_level = np.abs(better) <= tolerance_quote(price, self._policy, self._increments)
        is_beside = (better >= 0) & (better < self._widths[side])
        is_exact = (better >= 0) & (np.abs(self._quantity_base - quantity_base) <= self._step)
        fits: Bools = (at_level | is_beside) & self._is_interval(quantity_base) | is_exact
        return fits

    def _is_interval(self, quantity_base: float) -> Bools:
        slack = np.maximum(self._policy.quantity_tolerance * self._quantity_base, self._step)
        is_near: Bools = np.abs(self._quantity_base - quantity_base) <= slack
        return is_near

    def _nearest(self, fits: Bools, price: float, side: Side, quantity_base: float | None = None) -> LadderFit | None:
        if not fits.any():
            return None
        distance: Floats = np.where(fits, np.abs(self._levels[side] / price - 1), np.inf)
        place = int(np.argmin(distance))
        interval_base = float(self._quantity_base[place])
        error = 0.0 if quantity_base is None else abs(quantity_base / interval_base - 1)
        gap_quote = abs(float(self._levels[side][place]) - price)
        is_better = gap_quote > tolerance_quote(price, self._policy, self._increments)
        return LadderFit(quantity_base is None, error, float(distance[place]), is_better, place, interval_base)

    @property
    def _step(self) -> float:
        return 0.0 if self._increments is None else self._increments.base * (1 + _HAIR)


def tolerance_quote(price: float, policy: AccountPolicy, increments: Increments | None) -> float:
    """How far off a level a price may lie: one price step and a hair where it is known, else the policy's share."""
    if increments is not None:
        return increments.price * (1 + _HAIR)
    return policy.ladder_tolerance_bps * _BPS * price


def dust_base(grid: Grid, policy: AccountPolicy) -> float:
    """Base that counts as nothing: what rounding and fees leave over, a share of the smallest interval's quantity."""
    return policy.dust_share * float(GridLadder.of(grid).quantity_base.min())
