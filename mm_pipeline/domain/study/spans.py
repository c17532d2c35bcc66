"""The dates at which a study places its grids. A span belongs to the month in which it begins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from mm_pipeline.domain.months import month_start, next_month
from mm_pipeline.domain.study.declaration import PlacedEvery

_WEEK: Final = timedelta(days=7)


@dataclass(frozen=True)
class StudySpan:
    """From one date to the next (UTC); ``label`` ends the ids of its grids: ``2024-03``, ``2024-w09``."""

    label: str
    start: datetime
    end: datetime


def spans_of(month: datetime, placed: PlacedEvery) -> list[StudySpan]:
    """Windows that begin in a UTC month, in order; the last week of a month reaches into the next one.

    Parameters
    ----------
    month
        Any instant of it.
    """
    first, end = month_start(month), next_month(month)
    if placed is PlacedEvery.MONTHLY:
        return [StudySpan(f"{first:%Y-%m}", first, end)]
    monday = first + timedelta(days=-first.weekday() % 7)
    found = []
    while monday < end:
        found.append(StudySpan(f"{monday:%G-w%V}", monday, monday + _WEEK))
        monday += _WEEK
    return found
