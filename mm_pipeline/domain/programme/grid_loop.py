"""One grid of a programme as compiled steps: its ladder, a bar, the fall that costs a budget.

Prices are quote; a grid has a capital of 100, so that what it is worth is in % of the capital.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mm_pipeline.domain.arrays import Floats, Integers
from mm_pipeline.domain.position.compilation import compiled
from mm_pipeline.domain.risk.path_loops import held_from, trade_bar

CAPITAL = 100.0


class Prices(NamedTuple):
    """Of n 15m bars: quote, and close times (epoch ms)."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    closed_ms: Integers


class Ladder(NamedTuple):
    """One grid: levels, quantities, what is held from each rung upwards, flows of a buy and a sale, stop, fee."""

    levels: Floats
    quantity: Floats
    held: Floats
    flows: tuple[Floats, Floats]
    stop: float
    fee: float


class Position(NamedTuple):
    """The lowest interval that holds, cash that came in so far, and whether the stop was touched."""

    rung: int
    cash: float
    is_stopped: bool


@compiled
def ladder_of(lower: float, upper: float, count: int, stop: float, fee: float) -> Ladder:
    """The arithmetic grid with these bounds."""
    levels = np.linspace(lower, upper, count)
    quantity = CAPITAL / (count - 1) / (levels[:-1] * (1.0 + fee))
    flows = (quantity * levels[:-1] * (1.0 + fee), quantity * levels[1:] * (1.0 - fee))
    return Ladder(levels, quantity, held_from(quantity), flows, stop, fee)


@compiled
def critical_fall(ladder: Ladder, rung: int, price: float, budget_pct: float) -> float:
    """How far (log) the price must fall, without turning, to lose the budget; infinite where the stop is first.

    The loss is against equity now with inventory at its price: buys on the way, and the fee of selling at the end.
    Between two levels the loss is a straight line in the price at which the fall ends.
    """
    if budget_pct <= 0.0:
        return 0.0
    paid, base = 0.0, ladder.held[rung] * price
    above = price
    while True:
        below = max(ladder.levels[rung - 1] if rung > 0 else ladder.stop, ladder.stop)
        kept = ladder.held[rung] * (1.0 - ladder.fee)
        if kept > 0.0:
            end = (base + paid - budget_pct) / kept
            if end >= below:
                return float(np.log(price / min(end, above)))
        if rung == 0 or ladder.levels[rung - 1] <= ladder.stop:
            return np.inf
        rung -= 1
        paid += ladder.flows[0][rung]
        above = below


@compiled
def begun(ladder: Ladder, opened: float) -> Position:
    """The position with which a grid begins: intervals above the price buy at it."""
    rung = int(np.searchsorted(ladder.levels[:-1], opened))
    return Position(rung, -ladder.held[rung] * opened * (1.0 + ladder.fee), False)


@compiled
def after_bar(position: Position, ladder: Ladder, prices: Prices, row: int) -> Position:
    """The position at the close of a bar (SPEC 7)."""
    opened, high, low = prices.open[row], prices.high[row], prices.low[row]
    rung, top = position.rung, len(ladder.quantity)
    below = max(ladder.levels[rung - 1], ladder.stop) if rung > 0 else ladder.stop
    if low > below and (rung == top or high < ladder.levels[rung + 1]):
        return position
    nearer, other = (low, high) if opened - low <= high - opened else (high, low)
    corners = (opened, nearer, other, prices.close[row])
    rung, flow, is_stopped = trade_bar(rung, ladder.levels, ladder.stop, corners, ladder.flows)
    cash = position.cash + flow
    if is_stopped:
        cash += ladder.held[rung] * min(ladder.stop, opened) * (1.0 - ladder.fee)
        rung = top
    return Position(rung, cash, is_stopped)
