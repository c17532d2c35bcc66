"""Compiled loops of modelled risk: a grid along each of many drawn paths. Imported where they are first run.

A path is walked in logarithms, in multiples of the present volatility, from 0 at the present price. The grid's levels
and stop are put on the same scale once, so a bar that touches none of them costs a few additions and comparisons, and
only the ends of a path are turned back into prices.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from mm_pipeline.domain.arrays import Bools, Floats, Integers
from mm_pipeline.domain.position.compilation import compiled
from mm_pipeline.domain.risk.bootstrap import Seeds

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_U27, _U30, _U31, _U32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)


class Pool(NamedTuple):
    """Moves of bars, shape ``(bars, 4)``, and whether each went to its low first."""

    moves: Floats
    is_low_first: Bools


class Ladder(NamedTuple):
    """Levels (quote), quantities (base), stop (quote), fee (fraction a side)."""

    levels: Floats
    quantity_base: Floats
    stop_loss: float
    fee: float


class Drawing(NamedTuple):
    """Bars drawn together, paths, bars after which a position is valued (ascending), and quantiles that are asked."""

    block_bars: int
    paths: int
    horizon_bars: Integers
    giveback_probabilities: Floats
    net_probability: float


class Start(NamedTuple):
    """Where one evaluation's paths start: what may be drawn, the generator's state, market and position.

    ``rung`` is the lowest interval that holds, ``beside_base`` what is held beside the intervals.
    """

    first: int
    bars: int
    seed: np.uint64
    price: float
    volatility: float
    rung: int
    beside_base: float


class Starts(NamedTuple):
    """The same of n evaluations, each of shape ``(n,)``; nothing is drawn where there are fewer bars than a block."""

    first: Integers
    bars: Integers
    seed: Seeds
    price: Floats
    volatility: Floats
    rung: Integers
    beside_base: Floats


@compiled
def random_below(state: np.uint64, count: int) -> tuple[np.uint64, int]:
    """SplitMix64 (Steele, Lea & Flood 2014): the next state, and a number in ``[0, count)``, ``count < 2^32``."""
    state = state + _STEP
    bits = (state ^ (state >> _U30)) * _MIX_1
    bits = (bits ^ (bits >> _U27)) * _MIX_2
    bits = bits ^ (bits >> _U31)
    return state, np.int64(((bits >> _U32) * np.uint64(count)) >> _U32)  # type: ignore[return-value]


@compiled
def quantile(values: Floats, probability: float) -> float:
    """As ``numpy.quantile``, linear between the two nearest."""
    place = probability * (len(values) - 1)
    below = int(place)
    ordered = np.partition(values, below)
    share = place - below
    if share == 0.0:
        return float(ordered[below])
    return float(ordered[below] + share * (ordered[below + 1 :].min() - ordered[below]))


@compiled
def held_from(quantity_base: Floats) -> Floats:
    """What is held (base) where the intervals from each rung upwards hold, summed from the top."""
    held = np.zeros(len(quantity_base) + 1)
    for rung in range(len(quantity_base) - 1, -1, -1):
        held[rung] = held[rung + 1] + quantity_base[rung]
    return held


@compiled
def trade_bar(
    rung: int, lines: Floats, stop: float, corners: tuple[float, float, float, float], flows: tuple[Floats, Floats]
) -> tuple[int, float, bool]:
    """The rung after a bar, the cash that came in on the way, and whether the stop was touched.

    ``flows`` are what each interval pays to buy and what it gets when it sells.
    """
    paid, got = flows
    top = len(lines) - 1
    cash = 0.0
    for corner in corners:
        while rung > 0 and lines[rung - 1] >= corner:
            rung -= 1
            cash -= paid[rung]
        if corner <= stop:
            return rung, cash, True
        while rung < top and lines[rung + 1] <= corner:
            cash += got[rung]
            rung += 1
    return rung, cash, False


@compiled
def run_paths(pool: Pool, ladder: Ladder, drawing: Drawing, start: Start, ends: tuple[Floats, Floats]) -> None:
    """Run the grid along drawn paths.

    ``ends``, of shape ``(horizons, paths)`` each, take what the position is worth then (quote): cash that came in on
    the way and inventory, before and after the fee of selling it.
    """
    levels, quantity, stop_loss, fee = ladder
    price, volatility = start.price, start.volatility
    flows = (quantity * levels[:-1] * (1.0 + fee), quantity * levels[1:] * (1.0 - fee))
    held = held_from(quantity)
    lines = np.log(levels / price) / volatility
    stop = math.log(stop_loss / price) / volatility if stop_loss > 0.0 else -math.inf
    state, row = start.seed, 0
    for path in range(drawing.paths):
        rung, inventory = start.rung, held[start.rung] + start.beside_base
        at, cash, due = 0.0, 0.0, 0
        for bar in range(drawing.horizon_bars[-1]):
            if bar % drawing.block_bars == 0:
                state, row = random_below(state, start.bars - drawing.block_bars + 1)
                row += start.first
            high, low, close = at + pool.moves[row, 1], at + pool.moves[row, 2], at + pool.moves[row, 3]
            below = lines[rung - 1] if rung > 0 else stop
            # After the stop (rung -1) the lines mean nothing any more.
            if rung >= 0 and (low <= below or (rung < len(quantity) and high >= lines[rung + 1])):
                opened = at + pool.moves[row, 0]
                nearer, other = (low, high) if pool.is_low_first[row] else (high, low)
                rung, flow, is_stopped = trade_bar(rung, lines, stop, (opened, nearer, other, close), flows)
                cash, inventory = cash + flow, held[rung] + start.beside_base
                if is_stopped:
                    cash += inventory * min(stop_loss, price * math.exp(volatility * opened)) * (1.0 - fee)
                    rung, inventory = -1, 0.0
            at, row = close, row + 1
            if bar + 1 == drawing.horizon_bars[due]:
                value = inventory * price * math.exp(volatility * at)
                ends[0][due, path], ends[1][due, path] = cash + value, cash + value * (1.0 - fee)
                due += 1


@compiled
def risk_along_paths(pool: Pool, ladder: Ladder, drawing: Drawing, starts: Starts) -> tuple[Floats, Floats]:
    """Quantiles of giveback, and the capital at risk, of n evaluations of one grid.

    Returns
    -------
    Shapes ``(n, horizons, probabilities)`` and ``(n, horizons)``, quote; NaN where nothing is drawn.
    """
    count, kinds = len(starts.seed), len(drawing.horizon_bars)
    giveback = np.full((count, kinds, len(drawing.giveback_probabilities)), np.nan)
    at_risk = np.full((count, kinds), np.nan)
    ends = (np.empty((kinds, drawing.paths)), np.empty((kinds, drawing.paths)))
    held = held_from(ladder.quantity_base)
    for i in range(count):
        if starts.bars[i] < drawing.block_bars or not starts.volatility[i] > 0.0:
            continue
        start = Start(
            starts.first[i],
            starts.bars[i],
            starts.seed[i],
            starts.price[i],
            starts.volatility[i],
            starts.rung[i],
            starts.beside_base[i],
        )
        run_paths(pool, ladder, drawing, start, ends)
        now = (held[start.rung] + start.beside_base) * start.price
        for k in range(kinds):
            lost = now - ends[0][k]
            for q in range(len(drawing.giveback_probabilities)):
                giveback[i, k, q] = quantile(lost, drawing.giveback_probabilities[q])
            at_risk[i, k] = now - quantile(ends[1][k], drawing.net_probability)
    return giveback, at_risk
