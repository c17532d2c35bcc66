"""Episodes as a sample: their mean, the mean of their worst tenth, and how far either is from another sample's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mm_pipeline.application.studies.resampling import Estimate, Weeks
from mm_pipeline.domain.arrays import Floats, Integers, Times

TAIL: Final = 0.1
"""ES10: the worst tenth."""
POWER_Z: Final = 2.8
"""Standard errors of the smallest effect that a two-sided test at 5 % sees in four of five samples (1.96 + 0.84)."""


@dataclass(frozen=True, eq=False)
class Episodes:
    """PnL of episodes, in % of the capital, and when each began (epoch ms); shape ``(m,)`` each."""

    at_ms: Times
    pnl_pct: Floats

    @classmethod
    def joined(cls, parts: Sequence[Episodes]) -> Episodes:
        """Those of several series."""
        return cls(np.concatenate([part.at_ms for part in parts]), np.concatenate([part.pnl_pct for part in parts]))

    @property
    def mean_pct(self) -> float:
        """PnL per episode; NaN where there is none."""
        return float(self.pnl_pct.mean()) if len(self.pnl_pct) else np.nan

    @property
    def es10_pct(self) -> float:
        """Mean of the worst tenth; NaN where there is none."""
        return float(worst_tenths(self.pnl_pct[None, :])[0])


def worst_tenths(values: Floats) -> Floats:
    """Mean of the worst tenth of each line, the value at the edge of the tenth in part; NaN where there is none."""
    wanted = TAIL * values.shape[1]
    if not wanted:
        return np.full(len(values), np.nan)
    share = np.clip(wanted - np.arange(values.shape[1]), 0.0, 1.0)
    found: Floats = np.sort(values, axis=1) @ share / wanted
    return found


Statistic = Callable[[Floats, Integers, Integers], Floats]


def resampled_mean(values: Floats, week: Integers, times_drawn: Integers) -> Floats:
    """Mean of each resample, shape ``(draws,)``; NaN where it has no value. See :class:`Weeks`."""
    weeks = times_drawn.shape[1]
    count = times_drawn @ np.bincount(week, minlength=weeks)
    with np.errstate(invalid="ignore"):
        found: Floats = times_drawn @ np.bincount(week, weights=values, minlength=weeks) / count
    return found


def resampled_worst_tenth(values: Floats, week: Integers, times_drawn: Integers) -> Floats:
    """Mean of the worst tenth of each resample, shape ``(draws,)``; NaN where it has no value."""
    from mm_pipeline.application.studies.policies.worst_tenth_loop import worst_tenth_of_draws

    order = np.argsort(values, kind="stable")
    counts = np.bincount(week, minlength=times_drawn.shape[1])
    wanted: Floats = TAIL * (times_drawn @ counts).astype(np.float64)
    return worst_tenth_of_draws(values[order], week[order], times_drawn, wanted)


def difference(ours: Episodes, theirs: Episodes, statistic: Statistic) -> Estimate:
    """A statistic of ours less that of theirs, with its 95 % interval: the same calendar weeks are drawn for both."""
    if not len(ours.pnl_pct) or not len(theirs.pnl_pct):
        return Estimate(np.nan, np.nan, np.nan)
    weeks, count = Weeks.of(np.concatenate([ours.at_ms, theirs.at_ms])), len(ours.at_ms)
    once = np.ones((1, weeks.times_drawn.shape[1]), dtype=np.int64)

    def less(times_drawn: Integers) -> Floats:
        mine = statistic(ours.pnl_pct, weeks.week[:count], times_drawn)
        return mine - statistic(theirs.pnl_pct, weeks.week[count:], times_drawn)

    low, high = np.nanquantile(less(weeks.times_drawn), [0.025, 0.975]).tolist()
    return Estimate(float(less(once)[0]), low, high)


def smallest_effect(estimate: Estimate) -> float:
    """What the design behind an estimate can see: ``POWER_Z`` standard errors."""
    return POWER_Z * (estimate.high - estimate.low) / (2 * 1.96)
