"""The paper exchange's own time: real, faster, or standing. Settable while the server runs."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mm_pipeline.domain.errors import ConfigError


@dataclass(frozen=True)
class _Course:
    """Paper time = ``paper_ms`` + ``speed`` x (real time - ``real_ms``)."""

    real_ms: float
    paper_ms: float
    speed: float


class PaperClock:
    """Server time of the paper exchange, in epoch milliseconds.

    Build it with :meth:`real`, :meth:`running` or :meth:`standing`; change it while the server runs with
    :meth:`stand_at`, :meth:`run_from` and :meth:`advance`. A change is one assignment, so request threads
    see the old course or the new one, never a mixture.
    """

    def __init__(self, course: _Course) -> None:
        self._course = course

    @classmethod
    def real(cls) -> PaperClock:
        """Follow the machine's clock."""
        real_ms = _real_ms()
        return cls(_Course(real_ms, real_ms, 1.0))

    @classmethod
    def running(cls, start: datetime, *, speed: float) -> PaperClock:
        """Run from ``start`` at ``speed`` paper seconds per real second."""
        return cls(_course_from(start, speed))

    @classmethod
    def standing(cls, at: datetime) -> PaperClock:
        """Stand at ``at`` until told otherwise."""
        return cls(_course_from(at, 0.0))

    @property
    def speed(self) -> float:
        """Paper seconds per real second; 0 while the clock stands."""
        return self._course.speed

    def now_ms(self) -> int:
        """Server time in epoch milliseconds (UTC)."""
        course = self._course
        return math.floor(course.paper_ms + course.speed * (_real_ms() - course.real_ms))

    def now(self) -> datetime:
        """Server time as an aware UTC datetime."""
        return datetime.fromtimestamp(self.now_ms() / 1000, UTC)

    def stand_at(self, at: datetime) -> None:
        """Stop the clock at ``at``."""
        self._course = _course_from(at, 0.0)

    def run_from(self, start: datetime, *, speed: float) -> None:
        """Let the clock run from ``start``, ``speed`` times as fast as the real one."""
        self._course = _course_from(start, speed)

    def advance(self, by: timedelta) -> None:
        """Move the time forward (or back, by a negative length) and keep the speed."""
        course = self._course
        self._course = _Course(course.real_ms, course.paper_ms + by.total_seconds() * 1000, course.speed)


def _real_ms() -> float:
    return time.time() * 1000


def _course_from(start: datetime, speed: float) -> _Course:
    if start.tzinfo is None:
        raise ConfigError(f"paper time {start.isoformat()} has no time zone.", "Give it in UTC.")
    if not (math.isfinite(speed) and speed >= 0):
        raise ConfigError(f"paper clock speed {speed} cannot be run.", "Give a finite number, 0 or more.")
    return _Course(_real_ms(), start.timestamp() * 1000, speed)
