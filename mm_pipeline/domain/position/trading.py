"""How a grid trades along a price path (SPEC 7): which level fills at which bar. Money does not belong here.

Every interval is a two-state machine, and along one path they are never mixed: those from some rung upwards hold, those
below it are in cash. The state of a whole grid is therefore this one number, with the invariant
``levels[rung - 1] < price < levels[rung + 1]``, and a bar between these two prices costs two comparisons.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mm_pipeline.domain.arrays import Bools, Floats, Integers
from mm_pipeline.domain.grid import Grid


@dataclass(frozen=True, eq=False)
class GridLadder:
    """A grid as its machine needs it.

    Attributes
    ----------
    levels
        Shape ``(N,)``, quote, strictly rising.
    quantity_base
        Shape ``(N - 1,)``: what interval i buys and sells, ``capital / (N - 1) / (levels[i] (1 + fee))``.
    stop_loss, fee
        Quote, 0 where there is no stop; and fraction of a fill a side.
    """

    levels: Floats
    quantity_base: Floats
    stop_loss: float
    fee: float

    @classmethod
    def of(cls, grid: Grid) -> GridLadder:
        """The ladder of a declared grid."""
        levels = grid.level_prices()
        quantity = grid.interval_capital_quote / (levels[:-1] * (1 + grid.fee))
        return cls(levels, quantity, grid.stop_price, grid.fee)

    @cached_property
    def held_base(self) -> Floats:
        """Shape ``(N,)``: what is held where the intervals from each rung upwards hold; 0 at the last."""
        return np.concatenate([np.cumsum(self.quantity_base[::-1])[::-1], [0.0]])

    def rung_at(self, start_price: float) -> int:
        """The first interval that starts holding: the lowest whose lower level is at or above the price."""
        return int(np.searchsorted(self.levels[:-1], start_price, side="left"))


@dataclass(frozen=True, eq=False)
class PricePath:
    """Arrays of equal length, one element a bar, oldest first, quote; ``low <= open, close <= high``."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats

    def __len__(self) -> int:
        return len(self.open)

    @property
    def columns(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Open, high, low, close."""
        return self.open, self.high, self.low, self.close


@dataclass(frozen=True, eq=False)
class Trades:
    """Fills in the order in which they happened, one array element each.

    Attributes
    ----------
    bar
        Index of the bar within which the fill happened, or just before whose open.
    interval
        Which interval, counted from 0 at the bottom.
    is_buy, price
        Side, and price in quote.
    stopped_bar
        Index of the bar in which the stop ended the grid; -1 where it still runs.
    rung
        The lowest interval that holds at the end; ``N - 1`` where none does (also after the stop).
    """

    bar: Integers
    interval: Integers
    is_buy: Bools
    price: Floats
    stopped_bar: int
    rung: int


def trade(ladder: GridLadder, path: PricePath, stops: Floats | None = None) -> Trades:
    """Run a grid along bars from their first open P to their last close.

    ``stops`` holds the stop in force at each bar (quote, 0 where there is none) of a grid whose stop was edited while
    it ran; None: the ladder's, at every bar.

    Where SPEC 7 leaves room, this is what is meant:

    - The intervals with ``levels[i] >= P`` buy at P at the first bar, highest first as if the price had come down
      through them; a start at or below the stop buys and is stopped out at P at once.
    - ``open - low <= high - open``, computed in floats, is "the low is nearer, or as near".
    - Levels that the way from a close to the next open crosses are filled at their own prices, as within a bar, also
      where bars are missing between the two.
    - A price that equals a level, or the stop, touches it. An interval that has just bought at a level does not sell
      before the price reaches the next level above, and the other way round.
    - The stop sells interval by interval, lowest first, at ``min(stop_loss, open of that bar)``. A stop that is raised
      above the price sells at the open of its first bar.
    """
    top = len(ladder.quantity_base)
    if len(path) == 0:
        nothing = np.empty(0, dtype=np.int64)
        return Trades(nothing, nothing, nothing.astype(np.bool_), nothing.astype(np.float64), -1, top)
    start = float(path.open[0])
    first_rung = ladder.rung_at(start)
    stops = np.full(len(path), ladder.stop_loss) if stops is None else stops
    bar, move, rung, stopped = _walked(first_rung, ladder, path, stops)
    interval, is_buy = move >> 1, (move & 1).astype(np.bool_)
    begun = np.arange(first_rung, top)[::-1]
    out = np.arange(top if stopped >= 0 else 0)
    out_price = min(float(stops[stopped]), float(path.open[stopped]))
    return Trades(
        np.concatenate([np.zeros_like(begun), bar, np.full(len(out), stopped)]),
        np.concatenate([begun, interval, out]),
        np.concatenate([np.ones(len(begun), dtype=np.bool_), is_buy, np.zeros(len(out), dtype=np.bool_)]),
        np.concatenate(
            [np.full(len(begun), start), ladder.levels[interval + ~is_buy], np.full(len(out), out_price)],
        ),
        stopped,
        top if stopped >= 0 else rung,
    )


def _walked(rung: int, ladder: GridLadder, path: PricePath, stops: Floats) -> tuple[Integers, Integers, int, int]:
    """Bar and move of each fill, the last rung, and the bar of the stop or -1: a walk for each stop that was in force.

    The state of a grid is its rung alone, so one walk goes on where the one before ended.
    """
    from mm_pipeline.domain.position.fill_loop import walk

    starts = np.flatnonzero(np.append(True, stops[1:] != stops[:-1])).tolist()
    bars, moves, stopped = [], [], -1
    for first, end in zip(starts, [*starts[1:], len(path)], strict=True):
        prices = tuple(np.ascontiguousarray(column[first:end]) for column in path.columns)
        bar, move, rung, stopped = walk(rung, ladder.levels, float(stops[first]), prices)
        bars.append(bar + first)
        moves.append(move)
        if stopped >= 0:
            stopped += first
            break
    return np.concatenate(bars), np.concatenate(moves), rung, stopped
