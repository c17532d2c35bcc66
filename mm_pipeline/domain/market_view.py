"""What is known of one market over a stretch of history, and which bar an evaluation may use.

An evaluation sees the newest bar with ``known_at <= evaluated_at``; this is the only place where that is decided.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
import polars as pl

from mm_pipeline.domain.arrays import Bools, Floats, Times
from mm_pipeline.domain.candles.covers import no_covers
from mm_pipeline.domain.columns import epoch_ms, floats_of, picked
from mm_pipeline.domain.market import Timeframe


def run_lengths(flags: Bools, evaluated_ms: Times) -> Times:
    """How many evaluations in a row, each a 15m bar after the one before, have their flag set; 0 where it is not."""
    position = np.arange(len(flags))
    begins = flags.copy()
    begins[1:] &= ~flags[:-1] | (np.diff(evaluated_ms) != Timeframe.M15.ms)
    began = np.maximum.accumulate(np.where(begins, position, 0))
    return np.where(flags, position - began + 1, 0)


@dataclass(frozen=True)
class Timeline:
    """Rows of one timeframe in the order in which they became known.

    ``frame`` has ``open_time`` and ``known_at``; ``known_at`` never falls from one row to the next.
    """

    frame: pl.DataFrame

    @cached_property
    def opened_ms(self) -> Times:
        """Open time of each row (epoch ms)."""
        return epoch_ms(self.frame["open_time"])

    @cached_property
    def known_ms(self) -> Times:
        """When each row became known (epoch ms)."""
        return epoch_ms(self.frame["known_at"])

    def closed_ms(self, timeframe: Timeframe) -> Times:
        """Close time of each row (epoch ms), the rows being of this timeframe."""
        return self.opened_ms + timeframe.ms

    def index_at(self, evaluated_ms: Times) -> Times:
        """Index of the newest row known at each evaluation (epoch ms); -1 where there is none."""
        return np.searchsorted(self.known_ms, evaluated_ms, side="right") - 1

    def floats(self, name: str) -> Floats:
        """A numeric column, null as NaN."""
        return floats_of(self.frame[name])

    def is_named(self, name: str, value: str) -> Floats:
        """1 where a column of names holds this one, 0 where another, NaN where none."""
        return floats_of(self.frame[name] == value)

    def at(self, evaluated_ms: Times) -> AsOf:
        """What is known at each evaluation (epoch ms)."""
        return AsOf(self, self.index_at(evaluated_ms))

    def reaches_back_to(self, time_ms: int) -> bool:
        """Whether the first bar opens no later than the first bar that opens at or after ``time_ms``."""
        return len(self.frame) > 0 and int(self.opened_ms[0]) < time_ms + Timeframe.M15.ms


@dataclass(frozen=True)
class AsOf:
    """The newest row known at each of n evaluations.

    Attributes
    ----------
    timeline
        The rows there are.
    index
        Which of them is known, shape (n,); -1 where there is none.
    """

    timeline: Timeline
    index: Times

    def pick(self, values: Floats) -> Floats:
        """Of values that stand beside the rows, the known ones; NaN where there is none."""
        return np.append(values, np.nan)[self.index]

    def floats(self, name: str) -> Floats:
        """A numeric column, NaN where it is null or nothing is known."""
        return self.pick(self.timeline.floats(name))

    def has(self, name: str) -> Bools:
        """Whether a column has a value; not where nothing is known."""
        return np.append(self.timeline.frame[name].is_not_null().to_numpy(), False)[self.index]

    def column(self, name: str) -> pl.Series:
        """A column, null where nothing is known."""
        return picked(self.timeline.frame[name], self.index)

    @property
    def frame(self) -> pl.DataFrame:
        """All columns, one row for each evaluation."""
        return pl.DataFrame([self.column(name) for name in self.timeline.frame.columns])


class StopForecast(Protocol):
    """What says how likely a stop is."""

    def p_stop_24h(self, evaluated_ms: Times, stop_loss: Floats) -> Floats:
        """P(the stop is touched within 24 h) at each evaluation (epoch ms), for the stop in force at each (quote)."""
        ...


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
        Open times (epoch ms) of refused candles that nothing covers.
    covers
        Bars that are made of finer candles (``COVERS_SCHEMA``).
    gaps_ms
        Open times (epoch ms) of bars that are missing in the only answer so far, and were filled flat.
    stops
        How likely a stop is, from a longer past than the bars; None where nobody asks.
    """

    bars: Timeline
    hourly: Timeline
    four_hourly: Timeline
    quarantined_ms: Times
    covers: pl.DataFrame = field(default_factory=no_covers)
    gaps_ms: Times = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    stops: StopForecast | None = None

    def timeline(self, timeframe: Timeframe) -> Timeline:
        """Rows of one timeframe."""
        return {Timeframe.M15: self.bars, Timeframe.H1: self.hourly, Timeframe.H4: self.four_hourly}[timeframe]
