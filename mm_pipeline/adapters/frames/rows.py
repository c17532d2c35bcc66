"""When the rows of a frame count: the bar that each belongs to, and when it was first known."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl

from mm_pipeline.domain.arrays import Times
from mm_pipeline.domain.columns import epoch_ms
from mm_pipeline.domain.errors import StorageError
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.domain.market import Timeframe

_TIME_TYPE: Final = pl.Datetime("ms", "UTC")


def up_to(frame: pl.DataFrame, newest: datetime) -> pl.DataFrame:
    """Rows that were known at an evaluation: made by then, of a bar that had closed and was there by then."""
    return frame.filter(known_at(frame) <= newest)


def known_at(frame: pl.DataFrame) -> pl.Expr:
    """When a row was first known; of a bare bar its end, a quarter of an hour after its open time."""
    for name in ("evaluated_at", "known_at", "close_time"):
        if name in frame.columns:
            return pl.col(name)
    return pl.col("open_time") + pl.duration(milliseconds=Timeframe.M15.ms, time_unit="ms")


@dataclass(frozen=True)
class ByBar:
    """Rows in the order of their bars; rows of one bar keep theirs.

    Attributes
    ----------
    frame
        The rows.
    opened_ms
        Open time of each row's bar (epoch ms), ascending, shape ``(rows,)``.
    """

    frame: pl.DataFrame
    opened_ms: Times

    def between(self, start: datetime | None, end: datetime) -> pl.DataFrame:
        """Rows whose bar opened in ``[start, end)``; back to the first without ``start``."""
        first = 0 if start is None else self._place(start)
        return self.frame.slice(first, max(0, self._place(end) - first))

    def _place(self, moment: datetime) -> int:
        return int(np.searchsorted(self.opened_ms, to_ms(moment), side="left"))


def by_bar(frame: pl.DataFrame, dataset: str) -> ByBar:
    """A frame's rows in the order of their bars.

    Raises
    ------
    StorageError
        When it has no time of a bar, or a row lacks it.
    """
    column = "evaluated_at" if "evaluated_at" in frame.columns else "open_time"
    if frame.schema.get(column) != _TIME_TYPE:
        raise StorageError(
            f"a frame of {dataset} has no open_time or evaluated_at of type {_TIME_TYPE}.",
            "Give the time column that type before storing the frame.",
        )
    if frame[column].null_count():
        raise StorageError(f"a frame of {dataset} has rows without {column}.", "Leave such rows out.")
    lag_ms = Timeframe.M15.ms if column == "evaluated_at" else 0
    ordered = frame if frame[column].is_sorted() else frame.sort(column, maintain_order=True)
    return ByBar(ordered, epoch_ms(ordered[column]) - lag_ms)
