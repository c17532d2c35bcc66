"""The machine of :mod:`~mm_pipeline.domain.position.trading` as compiled loops: imported where it is first run."""

from __future__ import annotations

import numpy as np

from mm_pipeline.domain.arrays import Floats, Integers
from mm_pipeline.domain.position.compilation import compiled

_Walked = tuple[Integers, Integers, int, int]
_GLANCE = 16
"""Bars that are looked at together: without a branch between them, a comparison of all costs little more than one."""


@compiled
def _next_touching(bar: int, lows: Floats, below: float, highs: Floats, above: float) -> int:
    """The first bar, from this one on, that reaches down to one price or up to the other; their number if none does."""
    end = len(lows)
    while bar + _GLANCE <= end:
        is_touched = False
        for ahead in range(bar, bar + _GLANCE):
            is_touched |= (lows[ahead] <= below) | (highs[ahead] >= above)
        if is_touched:
            break
        bar += _GLANCE
    while bar < end and lows[bar] > below and highs[bar] < above:
        bar += 1
    return bar


@compiled
def walk(rung: int, levels: Floats, stop_loss: float, prices: tuple[Floats, ...]) -> _Walked:
    """The machine, from its rung to its last: bar and move of each fill, the last rung, and the bar of the stop or -1.

    A move is twice the interval, plus one for a buy.
    """
    opens, highs, lows, closes = prices
    top = len(levels) - 1
    bars: list[int] = []
    moves: list[int] = []
    bar = 0
    while True:
        below = levels[rung - 1] if rung > 0 else stop_loss
        above = levels[rung + 1] if rung < top else np.inf
        bar = _next_touching(bar, lows, below, highs, above)
        if bar == len(opens):
            return np.array(bars, dtype=np.int64), np.array(moves, dtype=np.int64), rung, -1
        is_low_first = opens[bar] - lows[bar] <= highs[bar] - opens[bar]
        nearer, other = (lows[bar], highs[bar]) if is_low_first else (highs[bar], lows[bar])
        for corner in (opens[bar], nearer, other, closes[bar]):
            while rung > 0 and levels[rung - 1] >= corner:
                rung -= 1
                bars.append(bar)
                moves.append(2 * rung + 1)
            if corner <= stop_loss:
                return np.array(bars, dtype=np.int64), np.array(moves, dtype=np.int64), rung, bar
            while rung < top and levels[rung + 1] <= corner:
                bars.append(bar)
                moves.append(2 * rung)
                rung += 1
        bar += 1
