"""Arithmetic of UTC months, the partitions of every frame. A month is its first instant."""

from __future__ import annotations

from datetime import UTC, datetime

from mm_pipeline.domain.errors import StorageError


def month_start(at: datetime) -> datetime:
    """First instant of the UTC month that holds ``at``."""
    return at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(at: datetime) -> datetime:
    """First instant of the UTC month after the one that holds ``at``."""
    first = month_start(at)
    return first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)


def previous_month(at: datetime) -> datetime:
    """First instant of the UTC month before the one that holds ``at``."""
    first = month_start(at)
    return first.replace(year=first.year - (first.month == 1), month=(first.month - 2) % 12 + 1)


def parse_month(text: str) -> datetime:
    """First instant of the month that ``text`` begins with: ``2024-02``, ``2024-02.parquet``, ``2024-02-01``."""
    return datetime(int(text[:4]), int(text[5:7]), 1, tzinfo=UTC)


def months_between(start: datetime, end: datetime, *, aligned: bool = False) -> list[datetime]:
    """Months that ``[start, end)`` touches, in order.

    Raises
    ------
    StorageError
        A naive or empty range; with ``aligned``, one that does not begin and end with a month.
    """
    if start.tzinfo is None or end.tzinfo is None or start >= end:
        raise StorageError(
            f"{start} to {end} is not a range of UTC time.", "Give aware datetimes, the earlier one first."
        )
    if aligned and any(at != month_start(at) for at in (start, end)):
        raise StorageError(f"{start} to {end} is not a range of whole UTC months.", "Write whole partitions.")
    months = [month_start(start)]
    while (following := next_month(months[-1])) < end:
        months.append(following)
    return months
