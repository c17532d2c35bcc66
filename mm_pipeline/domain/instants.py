"""Instants as whole UTC epoch milliseconds, and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def to_ms(at: datetime) -> int:
    """UTC epoch milliseconds of an aware datetime, rounded down; exact, no floating point.

    Raises
    ------
    ValueError
        When ``at`` carries no time zone.
    """
    if at.tzinfo is None:
        raise ValueError(f"{at!r} has no time zone; times here are aware")
    return (at - _EPOCH) // _MILLISECOND


def from_ms(ms: int) -> datetime:
    """Aware UTC datetime of epoch milliseconds; the inverse of ``to_ms``."""
    return _EPOCH + ms * _MILLISECOND
