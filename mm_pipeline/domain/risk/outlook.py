"""How likely the stop of a grid is at each evaluation, for the exit state to ask (SPEC 6)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from mm_pipeline.domain.arrays import Floats, Times
from mm_pipeline.domain.risk.estimate import STOP_HORIZONS, stop_probability
from mm_pipeline.domain.risk.history import RiskHistory
from mm_pipeline.domain.risk.policy import RiskPolicy

_DAY = STOP_HORIZONS.index("24h")


@dataclass(frozen=True, eq=False)
class StopOutlook:
    """A market's past, asked for the probability of a stop.

    Attributes
    ----------
    bars
        15m Bars frame, back to where windows begin.
    policy
        Thresholds of risk.
    """

    bars: pl.DataFrame
    policy: RiskPolicy

    @cached_property
    def history(self) -> RiskHistory:
        """The windows, found when they are first asked for."""
        return RiskHistory.of(self.bars, self.policy)

    def p_stop_24h(self, evaluated_ms: Times, stop_loss: Floats) -> Floats:
        """P(a 15m low touches the stop within 24 h) at each evaluation; NaN where it is not known or there is no stop.

        Parameters
        ----------
        evaluated_ms, stop_loss
            Shape ``(n,)``: evaluations (epoch ms), and the stop in force at each, quote; NaN where there is none.
        """
        found = np.full(len(evaluated_ms), np.nan)
        for stop in np.unique(stop_loss[stop_loss > 0]).tolist():
            rows = np.flatnonzero(stop_loss == stop)
            known = self.history.known_at(evaluated_ms[rows], self.policy)
            found[rows] = stop_probability(self.history, known, stop, self.policy)[:, _DAY]
        return found
