"""Hansen's test of superior predictive ability: is the best of all variants better than the luckiest of so many?"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from mm_pipeline.domain.arrays import Floats, Integers

BLOCK_WEEKS: Final = 4
"""Mean length of a block of weeks that are drawn together."""
_DRAWS: Final = 2000


def spa_p_value(gains: Floats, *, block: float = BLOCK_WEEKS, seed: int = 0) -> float:
    """P value of "no variant gains anything", with Hansen's consistent recentring (Hansen 2005).

    Parameters
    ----------
    gains
        Shape ``(weeks, variants)``: gain of each variant over the benchmark, in order of time.
    block
        Mean block of the stationary bootstrap (Politis and Romano 1994), weeks.

    Returns
    -------
    float
        NaN where there are fewer than two weeks, or no variant differs from the benchmark.
    """
    weeks = len(gains)
    if weeks < 2:
        return float("nan")
    draws = np.array([gains[rows].mean(axis=0) for rows in stationary_rows(weeks, block, seed)])
    mean = gains.mean(axis=0)
    spread = math.sqrt(weeks) * np.sqrt(np.mean((draws - mean) ** 2, axis=0))
    is_there = spread > 0
    if not is_there.any():
        return float("nan")
    mean, spread, draws = mean[is_there], spread[is_there], draws[:, is_there]
    best = max(0.0, float(np.max(math.sqrt(weeks) * mean / spread)))
    is_poor = math.sqrt(weeks) * mean / spread < -math.sqrt(2 * math.log(math.log(max(weeks, 3))))
    centred = draws - np.where(is_poor, 0.0, mean)
    luck = np.maximum(np.max(math.sqrt(weeks) * centred / spread, axis=1), 0.0)
    return float(np.mean(luck > best))


def stationary_rows(rows: int, block: float, seed: int) -> Integers:
    """Shape ``(draws, rows)``: rows of each resample; a block goes on with probability ``1 - 1 / block``."""
    random = np.random.default_rng(seed)
    begins = random.random((_DRAWS, rows)) < 1 / block
    begins[:, 0] = True
    start = random.integers(0, rows, size=(_DRAWS, rows))
    place = np.arange(rows)
    begun = np.maximum.accumulate(np.where(begins, place, 0), axis=1)
    found: Integers = (np.take_along_axis(start, begun, axis=1) + place - begun) % rows
    return found
