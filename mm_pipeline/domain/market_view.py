"""What is known of one market over a stretch of history, and which bar an evaluation may use.

An evaluation sees the newest bar with ``known_at <= evaluated_at``; this is the only place where that is decided.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mm_pipeline.domain.candles import epoch_ms
from mm_pipeline.domain.indicators.windows import Floats
from mm_pipeline.domain.market import Timeframe

Times = NDArray[np.int64]


@dataclass(frozen=True)
class Timeline:
    """Rows of one timeframe in the order in which they became known.

    ``frame`` has ``open_time`` and ``known_at``; ``known_at`` never falls from one row to the next.
    """

    frame: pl.DataFrame

    def index_at(self, evaluated_ms: Times) -> Times:
        """Index of the newest row known at each evaluation (epoch ms); -1 where there is none."""
        return np.searchsorted(epoch_ms(self.frame["known_at"]), evaluated_ms, side="right") - 1

    def floats(self, name: str) -> Floats:
        """A numeric column, null as NaN."""
        return self.frame[name].cast(pl.Float64).to_numpy()

    def pick(self, values: Floats, evaluated_ms: Times) -> Floats:
        """Of values that stand beside the rows, those known at each evaluation; NaN where there is none."""
        index = self.index_at(evaluated_ms)
        if len(values) == 0:
            return np.full(len(evaluated_ms), np.nan)
        return np.where(index >= 0, values[np.maximum(index, 0)], np.nan)

    def at(self, evaluated_ms: Times) -> Timeline:
        """The newest row known at each evaluation, one row each; all null where there is none."""
        index = pl.Series(self.index_at(evaluated_ms), dtype=pl.Int64).replace(-1, None)
        return Timeline(self.frame.select(pl.all().gather(index)))

    def reaches_back_to(self, time_ms: int) -> bool:
        """Whether the first bar opens no later than the first bar that opens at or after ``time_ms``."""
        return len(self.frame) > 0 and int(epoch_ms(self.frame["open_time"])[0]) < time_ms + Timeframe.M15.ms


@dataclass(frozen=True)
class MarketView:
    """Bars, metrics and verdicts of one market.

    Attributes
    ----------
    bars
        15m bars.
    hourly, four_hourly
        Metrics and verdicts of the closed 1h and 4h bars, in one row each.
    quarantined_ms
        Open times (epoch ms) of refused candles.
    """

    bars: Timeline
    hourly: Timeline
    four_hourly: Timeline
    quarantined_ms: Times

    def timeline(self, timeframe: Timeframe) -> Timeline:
        """Rows of one timeframe."""
        return {Timeframe.M15: self.bars, Timeframe.H1: self.hourly, Timeframe.H4: self.four_hourly}[timeframe]
