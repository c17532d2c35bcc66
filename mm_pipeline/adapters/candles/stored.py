"""What is known of a market's candles before an update and after it. How one is made does not belong here."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from mm_pipeline.domain.arrays import Integers
from mm_pipeline.domain.candles import (
    NOTES,
    QUARANTINE_SCHEMA,
    WAITING,
    empty_candles,
    epoch_ms,
    merge_candles,
    no_covers,
    no_missing,
    used_covers,
    with_covers,
)
from mm_pipeline.domain.candles.missing import gaps_to_confirm
from mm_pipeline.domain.errors import ExchangeError, PipelineError
from mm_pipeline.domain.market import Market, Timeframe

_STEP_MS = Timeframe.M15.ms


def _no_quarantine() -> pl.DataFrame:
    return pl.DataFrame(schema=QUARANTINE_SCHEMA)


def _no_revisions() -> pl.DataFrame:
    return merge_candles(empty_candles(), empty_candles())[1]


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredCandles:
    """What is known of a market before an update.

    Attributes
    ----------
    market
        Whose candles.
    candles
        Clean raw candle frame, one stretch without unasked holes.
    quarantine
        Refused rows that still stand, and notes about revisions (``QUARANTINE_SCHEMA``).
    missing
        Bars that were asked for and not sent (``MISSING_SCHEMA``). The bar before the oldest candle stands for all
        that was asked for before it.
    covers
        15m candles made of finer ones, where the exchange's own was refused (``COVERS_SCHEMA``).
    asked_from_ms
        From where on everything before the oldest candle was asked for; None when not known.
    """

    market: Market
    candles: pl.DataFrame = field(default_factory=empty_candles)
    quarantine: pl.DataFrame = field(default_factory=_no_quarantine)
    missing: pl.DataFrame = field(default_factory=no_missing)
    covers: pl.DataFrame = field(default_factory=no_covers)
    asked_from_ms: int | None = None

    @property
    def refused_ms(self) -> Integers:
        """Open times in quarantine (epoch ms)."""
        return quarantined_times(self.quarantine)

    @property
    def waiting_ms(self) -> Integers:
        """Open times (epoch ms) of bars whose milder answers are not enough yet."""
        return np.unique(epoch_ms(self.quarantine.filter(reason=WAITING)["open_time"]))

    @property
    def believed(self) -> pl.DataFrame:
        """Raw candle frame: the exchange's own 15m candles, and covers where one is missing."""
        return with_covers(self.candles, self.covers)

    @property
    def hidden_ms(self) -> Integers:
        """Open times in quarantine (epoch ms) but those of bars that are covered."""
        refused_ms = self.refused_ms
        covered_ms = epoch_ms(used_covers(self.candles, self.covers)["open_time"])
        return refused_ms[~np.isin(refused_ms // _STEP_MS * _STEP_MS, covered_ms)]

    @property
    def gaps_ms(self) -> Integers:
        """Bars missing between candles that may not count as quiet yet (open times, epoch ms)."""
        return gaps_to_confirm(self.believed, self.refused_ms, self.missing)

    @property
    def before_oldest_ms(self) -> int | None:
        """Open time (epoch ms) of the bar before the oldest candle; None without candles."""
        return None if self.candles.is_empty() else int(epoch_ms(self.candles["open_time"])[0]) - _STEP_MS


@dataclass(frozen=True, kw_only=True, eq=False)
class CandleUpdate:
    """What is known after it; pass ``after`` to the next update.

    Attributes
    ----------
    after
        Candles, quarantine and reach as they are now, also where a problem ended the update half-way.
    revisions
        Closed bars whose content changed, old and new (see ``merge_candles``).
    refused
        Rows of this update's answers that went into quarantine.
    made
        Covers that this update has made (``COVERS_SCHEMA``).
    not_covered
        Why finer candles could not be had; None where they were not asked for, or came.
    duplicates_dropped
        Identical rows in this update's answers.
    requests_made
        Requests sent.
    clock_offset_ms
        Source's clock minus ours; None where it has none or could not be asked.
    problem
        Why the update is not complete; None when it is.
    """

    after: StoredCandles
    revisions: pl.DataFrame = field(default_factory=_no_revisions)
    refused: pl.DataFrame = field(default_factory=_no_quarantine)
    made: pl.DataFrame = field(default_factory=no_covers)
    not_covered: PipelineError | None = None
    duplicates_dropped: int = 0
    requests_made: int = 0
    clock_offset_ms: int | None = None
    problem: ExchangeError | None = None


def quarantined_times(quarantine: pl.DataFrame) -> Integers:
    """Open times in quarantine as epoch milliseconds, sorted and unique; rows without a time have none.

    Notes about revisions stand there for later answers, and hide nothing.
    """
    refused = quarantine.filter(~pl.col("reason").is_in(NOTES))
    return np.unique(epoch_ms(refused["open_time"].drop_nulls()))
