"""Compiled order statistics of a window that slides along a market's past. Imported where it is first run."""

from __future__ import annotations

import math

import numpy as np

from mm_pipeline.domain.arrays import Floats, Integers
from mm_pipeline.domain.position.compilation import compiled
from mm_pipeline.domain.risk.path_loops import ordered_quantile


@compiled
def _place_in(ordered: Floats, count: int, value: float) -> int:
    """How many of the first ``count`` values, in ascending order, are smaller."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if ordered[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def _slide(ordered: Floats, values: Floats, window: tuple[int, int], first: int, end: int) -> tuple[int, int]:
    """Put in and take out what a window that is moved to ``first..end`` gains and loses; the window as it is then."""
    begun, until = window
    while until < end:
        count = until - begun
        place = _place_in(ordered, count, values[until])
        for k in range(count, place, -1):
            ordered[k] = ordered[k - 1]
        ordered[place] = values[until]
        until += 1
    while begun < min(first, until):
        count = until - begun
        for k in range(_place_in(ordered, count, values[begun]), count - 1):
            ordered[k] = ordered[k + 1]
        begun += 1
    return begun, until


@compiled
def sliding_reach(values: Floats, first: Integers, end: Integers, share: float) -> Floats:
    """The largest value that at least this share of ``values[first:end]`` is no smaller than, shape ``(n,)``.

    ``first`` and ``end`` never fall from one row to the next. NaN where the window is empty.
    """
    found = np.full(len(first), np.nan)
    ordered = np.empty(len(values) + 1)
    window = (0, 0)
    for row in range(len(first)):
        window = _slide(ordered, values, window, first[row], end[row])
        count = window[1] - window[0]
        needed = max(math.ceil(share * count), 1)
        if needed <= count:
            found[row] = ordered[count - needed]
    return found


@compiled
def sliding_quantile(values: Floats, first: Integers, end: Integers, probability: float) -> Floats:
    """The quantile, linear between neighbours, of ``values[first:end]``, shape ``(n,)``; NaN where it is empty."""
    found = np.full(len(first), np.nan)
    ordered = np.empty(len(values) + 1)
    window = (0, 0)
    for row in range(len(first)):
        window = _slide(ordered, values, window, first[row], end[row])
        count = window[1] - window[0]
        if count > 0:
            found[row] = ordered_quantile(ordered[:count], probability)
    return found
