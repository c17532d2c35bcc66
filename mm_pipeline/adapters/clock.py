"""The only reader of the real clock. Everything else is given a ``Clock`` or a time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from mm_pipeline.domain.instants import from_ms, to_ms


class Clock(Protocol):
    """Tells the time, in whole milliseconds."""

    def now_ms(self) -> int:
        """UTC epoch milliseconds."""
        ...

    def now(self) -> datetime:
        """Aware UTC datetime of the same instant."""
        ...


@dataclass(frozen=True)
class SystemClock:
    """This machine's clock."""

    def now_ms(self) -> int:
        """UTC epoch milliseconds, now."""
        return time.time_ns() // 1_000_000

    def now(self) -> datetime:
        """Aware UTC datetime, now, in whole milliseconds."""
        return from_ms(self.now_ms())


@dataclass(frozen=True)
class FixedClock:
    """A clock that stands at one instant: for tests, replays and ``--at``.

    Parameters
    ----------
    at
        Aware datetime; read in whole milliseconds.
    """

    at: datetime

    def __post_init__(self) -> None:
        to_ms(self.at)

    def now_ms(self) -> int:
        """UTC epoch milliseconds of ``at``."""
        return to_ms(self.at)

    def now(self) -> datetime:
        """``at`` in UTC and whole milliseconds."""
        return from_ms(self.now_ms())
