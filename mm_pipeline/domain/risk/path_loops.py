"""Compiled loops of modelled risk: a grid along each window of a market's past. Imported where they are first run.

A window is followed in logarithms of price, stretched by the ratio of today's volatility forecast to that at its start.
What the windows went up or down by on average is taken out of each: a past trend says nothing of the next day. The
grid's levels and stop are logarithms too. Between two horizons one look at the highest high and the lowest low says
whether anything is touched; only where something is are the bars walked.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from mm_pipeline.domain.arrays import Bools, Floats, Integers
from mm_pipeline.domain.position.compilation import compiled


class Past(NamedTuple):
    """Logarithms of open, high, low and close; low first; window starts and units; extremes between horizons; bars."""

    prices: Floats
    is_low_first: Bools
    starts: Integers
    units: Floats
    stretches: Floats
    window_bars: int


class Ladder(NamedTuple):
    """Levels (quote), quantities (base), stop (quote), fee (fraction a side)."""

    levels: Floats
    quantity_base: Floats
    stop_loss: float
    fee: float


class Asked(NamedTuple):
    """Bars after which a position is valued (ascending), quantiles of the loss, and that of the capital at risk.

    ``tie`` (quote) is how near two ends are the same.
    """

    horizon_bars: Integers
    giveback_probabilities: Floats
    net_probability: float
    tie: float


class Start(NamedTuple):
    """Where one evaluation's paths start: the windows that it knows, market and position.

    ``rung`` is the lowest interval that holds, ``beside_base`` what is held beside the intervals.
    """

    first: int
    end: int
    price: float
    volatility: float
    rung: int
    beside_base: float


class Starts(NamedTuple):
    """The same of n evaluations, each of shape ``(n,)``; nothing is said where ``end`` is not above ``first``."""

    first: Integers
    end: Integers
    price: Floats
    volatility: Floats
    rung: Integers
    beside_base: Floats


@compiled
def start_of(starts: Starts, i: int) -> Start:
    """One of the evaluations."""
    return Start(
        starts.first[i],
        starts.end[i],
        starts.price[i],
        starts.volatility[i],
        starts.rung[i],
        starts.beside_base[i],
    )


@compiled
def ordered_quantile(ordered: Floats, probability: float) -> float:
    """As ``numpy.quantile``, linear between the two nearest, of values in ascending order."""
    place = probability * (len(ordered) - 1)
    below = int(place)
    share = place - below
    if share == 0.0:
        return float(ordered[below])
    return float(ordered[below] + share * (ordered[below + 1] - ordered[below]))


@compiled
def low_quantile(values: Floats, probability: float) -> float:
    """As ``numpy.quantile``, of values in any order."""
    place = probability * (len(values) - 1)
    below = int(place)
    share = place - below
    parted = np.partition(values, below)
    if share == 0.0:
        return float(parted[below])
    return float(parted[below] + share * (parted[below + 1 :].min() - parted[below]))


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
def mean_move(past: Past, start: Start) -> float:
    """Mean log return a bar of the windows that an evaluation knows, each in its own units."""
    total = 0.0
    length = past.window_bars
    for window in range(start.first, start.end):
        begun = past.starts[window]
        total += (past.prices[begun + length, 3] - past.prices[begun, 3]) / past.units[window]
    return total / (length * (start.end - start.first))


@compiled
def run_paths(past: Past, ladder: Ladder, asked: Asked, start: Start, ends: tuple[Floats, Floats]) -> None:
    """Run the grid along the windows that an evaluation knows.

    ``ends``, of shape ``(horizons, windows or more)`` each, take what the position is worth then (quote): cash that
    came in on the way and inventory, before and after the fee of selling it.
    """
    levels, quantity, stop_loss, fee = ladder
    price = start.price
    flows = (quantity * levels[:-1] * (1.0 + fee), quantity * levels[1:] * (1.0 - fee))
    held = held_from(quantity)
    lines = np.log(levels / price)
    stop = math.log(stop_loss / price) if stop_loss > 0.0 else -math.inf
    top = len(quantity)
    trend = mean_move(past, start) * start.volatility
    for path in range(start.end - start.first):
        window = start.first + path
        begun, scale = past.starts[window], start.volatility / past.units[window]
        base = past.prices[begun, 3]
        rung, inventory = start.rung, held[start.rung] + start.beside_base
        cash, done = 0.0, 0
        for k in range(len(asked.horizon_bars)):
            until = asked.horizon_bars[k]
            drifts = (trend * (done + 1), trend * until)
            highest = (past.stretches[window, k, 0] - base) * scale - min(drifts)
            lowest = (past.stretches[window, k, 1] - base) * scale - max(drifts)
            below = lines[rung - 1] if rung > 0 else stop
            # After the stop (rung -1) the lines mean nothing any more.
            if rung >= 0 and (lowest <= below or (rung < top and highest >= lines[rung + 1])):
                for number in range(done + 1, until + 1):
                    bar, drift = begun + number, trend * number
                    high = (past.prices[bar, 1] - base) * scale - drift
                    low = (past.prices[bar, 2] - base) * scale - drift
                    below = lines[rung - 1] if rung > 0 else stop
                    if low > below and (rung == top or high < lines[rung + 1]):
                        continue
                    opened = (past.prices[bar, 0] - base) * scale - drift
                    close = (past.prices[bar, 3] - base) * scale - drift
                    nearer, other = (low, high) if past.is_low_first[bar] else (high, low)
                    rung, flow, is_stopped = trade_bar(rung, lines, stop, (opened, nearer, other, close), flows)
                    cash, inventory = cash + flow, held[rung] + start.beside_base
                    if is_stopped:
                        cash += inventory * min(stop_loss, price * math.exp(opened)) * (1.0 - fee)
                        rung, inventory = -1, 0.0
                        break
            value = inventory * price * math.exp((past.prices[begun + until, 3] - base) * scale - trend * until)
            ends[0][k, path], ends[1][k, path] = cash + value, cash + value * (1.0 - fee)
            done = until


@compiled
def risk_along_windows(
    past: Past, ladder: Ladder, asked: Asked, starts: Starts, lost: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Quantiles of giveback, and the capital at risk, of n evaluations of one grid.

    ``lost`` (quote, shape ``(n, horizons)``) is what came true, for a study; NaN where its place is not asked for.

    Returns
    -------
    Shapes ``(n, horizons, probabilities)`` and ``(n, horizons)``, quote; then the share of paths that lose less than
    came true, and the share that loses the same to within a tie. NaN where nothing is said.
    """
    count, kinds = lost.shape
    giveback = np.full((count, kinds, len(asked.giveback_probabilities)), np.nan)
    at_risk, less, same = np.full((3, count, kinds), np.nan)
    most = max(np.max(starts.end - starts.first), 1) if count else 1
    ends = (np.empty((kinds, most)), np.empty((kinds, most)))
    held = held_from(ladder.quantity_base)
    for i in range(count):
        start = start_of(starts, i)
        paths = start.end - start.first
        if paths <= 0 or not start.volatility > 0.0:
            continue
        run_paths(past, ladder, asked, start, ends)
        now = (held[start.rung] + start.beside_base) * start.price
        for k in range(kinds):
            worths, nets = ends[0][k, :paths], ends[1][k, :paths]
            worths.sort()
            for q in range(len(asked.giveback_probabilities)):
                giveback[i, k, q] = now - ordered_quantile(worths, 1.0 - asked.giveback_probabilities[q])
            at_risk[i, k] = now - low_quantile(nets, asked.net_probability)
            if not math.isnan(lost[i, k]):
                kept = now - lost[i, k]
                above = paths - np.searchsorted(worths, kept + asked.tie, side="right")
                less[i, k] = above / paths
                same[i, k] = (paths - above - np.searchsorted(worths, kept - asked.tie, side="left")) / paths
    return giveback, at_risk, less, same
