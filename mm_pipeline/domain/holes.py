"""Quarantined bars since a grid's start: as long as one is a hole, nobody knows whether its low touched the stop."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from mm_pipeline.domain.columns import Bools, Integers, times_of
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.market_view import MarketView

_STEP_MS = Timeframe.M15.ms
HOLE_AT: Final = "hole_at"


def oldest_hole(market: MarketView, started_ms: Integers, evaluated_ms: Integers) -> pl.Series:
    """Open time of the oldest hole since the grid's start, at each evaluation; null where there is none.

    A hole is a quarantined time without a bar. A bar in which the grid started counts: its low may be of a moment
    after the start.

    Parameters
    ----------
    started_ms, evaluated_ms
        Shape (n,), epoch ms: the grid's start and the evaluation of each row.
    """
    holes_ms = _holes_ms(market)
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


def _holes_ms(market: MarketView) -> Integers:
    slots_ms = np.unique(market.quarantined_ms // _STEP_MS * _STEP_MS)
    return np.asarray(slots_ms[~np.isin(slots_ms, market.bars.opened_ms)], dtype=np.int64)
