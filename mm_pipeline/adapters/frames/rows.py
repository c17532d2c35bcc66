"""When the rows of a frame count: the bar that each belongs to, and when it was first known."""

from datetime import datetime
from typing import Final

import polars as pl

from mm_pipeline.domain.errors import StorageError
from mm_pipeline.domain.market import Timeframe

BAR_TIME: Final = "__bar_time"
_TIME_TYPE = pl.Datetime("ms", "UTC")


def up_to(frame: pl.DataFrame, newest: datetime) -> pl.DataFrame:
    """Rows that were known at an evaluation: made by then, of a bar that had closed and was there by then."""
    return frame.filter(known_at(frame) <= newest)


def known_at(frame: pl.DataFrame) -> pl.Expr:
    """When a row was first known; of a bare bar its end, a quarter of an hour after its open time."""
    for name in ("evaluated_at", "known_at", "close_time"):
        if name in frame.columns:
            return pl.col(name)
    return pl.col("open_time") + pl.duration(milliseconds=Timeframe.M15.ms, time_unit="ms")


def with_bar_time(frame: pl.DataFrame, dataset: str) -> pl.DataFrame:
    """The frame with the open time of each row's bar, sorted by it; rows of one bar keep their order."""
    column = "evaluated_at" if "evaluated_at" in frame.columns else "open_time"
    if frame.schema.get(column) != _TIME_TYPE:
        raise StorageError(
            f"a frame of {dataset} has no open_time or evaluated_at of type {_TIME_TYPE}.",
            "Give the time column that type before storing the frame.",
        )
    if frame[column].null_count():
        raise StorageError(f"a frame of {dataset} has rows without {column}.", "Leave such rows out.")
    lag_ms = Timeframe.M15.ms if column == "evaluated_at" else 0
    bar_time = pl.col(column) - pl.duration(milliseconds=lag_ms, time_unit="ms")
    return frame.with_columns(bar_time.alias(BAR_TIME)).sort(BAR_TIME, maintain_order=True)


def bars_in(timed: pl.DataFrame, start: datetime | None, end: datetime) -> pl.DataFrame:
    """Rows whose bar opened in ``[start, end)``, without the bar's time."""
    is_inside = pl.col(BAR_TIME) < end
    if start is not None:
        is_inside &= pl.col(BAR_TIME) >= start
    return timed.filter(is_inside).drop(BAR_TIME)
