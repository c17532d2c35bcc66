"""Honest intervals of studies: whole calendar weeks are drawn again, all markets of a week together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from mm_pipeline.domain.arrays import Bools, Floats, Integers

WEEK_MS: Final = 7 * 86_400_000
_MONDAY_MS: Final = 4 * 86_400_000
"""1970-01-05, a Monday."""
DRAWS: Final = 2000


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Weeks:
    """Which calendar week each row belongs to, and how often each week is drawn in each resample."""

    week: Integers
    times_drawn: Integers

    @classmethod
    def of(cls, at_ms: Integers) -> Weeks:
        """Of rows at these times (epoch ms), any order, several markets mixed."""
        names, week = np.unique((at_ms - _MONDAY_MS) // WEEK_MS, return_inverse=True)
        return cls(week, _times_drawn(len(names)))

    def ratio(self, part: Floats | Bools, whole: Floats) -> Estimate:
        """Sum of one over sum of the other; NaN where there is nothing."""
        if not len(whole) or not np.sum(whole):
            return Estimate(np.nan, np.nan, np.nan)
        parts, wholes = (np.bincount(self.week, weights=values) for values in (part, whole))
        drawn, drawn_whole = self.times_drawn @ parts, self.times_drawn @ wholes
        is_there = drawn_whole != 0
        low, high = np.quantile(drawn[is_there] / drawn_whole[is_there], [0.025, 0.975]).tolist()
        return Estimate(float(parts.sum() / wholes.sum()), low, high)

    def mean(self, values: Floats) -> Estimate:
        """Mean of a value a row."""
        return self.ratio(values, np.ones(len(values)))


@lru_cache(maxsize=64)
def _times_drawn(count: int) -> Integers:
    """Shape ``(DRAWS, count)``; seeded, so that a rerun says the same."""
    if not count:
        return np.zeros((DRAWS, 0), dtype=np.int64)
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=DRAWS)
    drawn.flags.writeable = False
    return drawn
