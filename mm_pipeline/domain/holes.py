"""Quarantined bars since a grid's start: as long as one is a hole, nobody knows what its low and its close did.

A bar that is made of finer candles is no hole; that it is made so is told.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from mm_pipeline.domain.arrays import Bools, Integers
from mm_pipeline.domain.candles.data_policy import DataPolicy
from mm_pipeline.domain.columns import epoch_ms, times_of
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.market_view import MarketView

_STEP_MS = Timeframe.M15.ms
HOLE_AT: Final = "hole_at"
COVER_NOTES: Final = "cover_notes"
"""Column of quality: at most one sentence on bars that are made of finer candles; not there where none is."""


def oldest_hole(market: MarketView, started_ms: Integers, evaluated_ms: Integers) -> pl.Series:
    """Open time of the oldest hole since the grid's start, at each evaluation; null where there is none.

    A hole is a quarantined time without a bar. A bar in which the grid started counts: its low may be of a moment
    after the start.

    Parameters
    ----------
    started_ms, evaluated_ms
        Shape (n,), epoch ms: the grid's start and the evaluation of each row.
    """
    holes_ms = holes_of(market)
    place = np.searchsorted(holes_ms, started_ms - _STEP_MS, side="right")
    oldest_ms = np.append(holes_ms, np.iinfo(np.int64).max // 2)[place]
    return times_of(oldest_ms, HOLE_AT, is_there=oldest_ms + _STEP_MS <= evaluated_ms)


def hole_reasons(holes: pl.Series) -> pl.Series:
    """List of at most one sentence for each row."""
    said = pl.format(
        "the bar of {} UTC is quarantined: whether the stop was touched or the range broken in it is not known",
        pl.col(HOLE_AT).dt.strftime("%Y-%m-%d %H:%M"),
    )
    return holes.to_frame().select(pl.concat_list(said).list.drop_nulls()).to_series()


def is_hole(holes: pl.Series) -> Bools:
    """Where there is one."""
    return holes.is_not_null().to_numpy()


def hides_coarse_close(market: MarketView, timeframe: Timeframe, started_ms: Integers, evaluated_ms: Integers) -> Bools:
    """Whether a coarse bar that opened since the grid's start, and has closed by the evaluation, has a hole in it.

    Parameters
    ----------
    started_ms, evaluated_ms
        Shape (n,), epoch ms.
    """
    opened_ms = np.unique(holes_of(market) // timeframe.ms * timeframe.ms)
    place = np.searchsorted(opened_ms, started_ms)
    first_ms = np.append(opened_ms, np.iinfo(np.int64).max // 2)[place]
    return np.asarray(first_ms + timeframe.ms <= evaluated_ms)


def with_cover_notes(quality: pl.DataFrame, market: MarketView, policy: DataPolicy) -> pl.DataFrame:
    """Quality with a sentence where bars within ``data.quarantine_window`` are made of finer candles."""
    covers = market.covers.sort("open_time")
    if covers.is_empty():
        return quality
    evaluated_ms, closed_ms = epoch_ms(quality["evaluated_at"]), epoch_ms(covers["open_time"]) + _STEP_MS
    window_ms = int(policy.quarantine_window.total_seconds() * 1000)
    end = np.searchsorted(closed_ms, evaluated_ms, side="right")
    count = end - np.searchsorted(closed_ms, evaluated_ms - window_ms, side="right")
    newest = covers.select("open_time", "made_of")[np.maximum(end - 1, 0)].with_columns(
        pl.Series("others", np.maximum(count - 1, 0))
    )
    told = pl.format(
        "the bar of {} UTC{} is made of {} candles: the exchange's own 15m candle is quarantined",
        pl.col("open_time").dt.strftime("%Y-%m-%d %H:%M"),
        pl.when(pl.col("others") > 0).then(pl.format(" (and {} before it)", "others")).otherwise(pl.lit("")),
        "made_of",
    )
    notes = newest.select(pl.concat_list(pl.when(pl.Series(count > 0)).then(told)).list.drop_nulls()).to_series()
    return quality.with_columns(notes.alias(COVER_NOTES))


def cover_notes_in(quality: pl.DataFrame) -> list[pl.Series]:
    """The column of notes, where there is one."""
    return [quality[COVER_NOTES]] if COVER_NOTES in quality.columns else []


def holes_of(market: MarketView) -> Integers:
    """Open times (epoch ms, ascending) of 15m bars that were refused and have no bar."""
    slots_ms = np.unique(market.quarantined_ms // _STEP_MS * _STEP_MS)
    return np.asarray(slots_ms[~np.isin(slots_ms, market.bars.opened_ms)], dtype=np.int64)
