"""A wall-clock deadline that holds whatever the work is waiting for: a name look-up, headers, or a dripped body."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TypeVar

from mm_pipeline.domain.errors import DeadlineExceeded, ExchangeError

T = TypeVar("T")


class Deadline:
    """A moment after which no further request may be sent.

    Parameters
    ----------
    limit_s
        Seconds from now.
    """

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self.last_problem: ExchangeError | None = None
        self._end_s = time.monotonic() + limit_s

    @property
    def remaining_s(self) -> float:
        """Seconds left, not below 0."""
        return max(0.0, self._end_s - time.monotonic())

    def check(self) -> None:
        """Raise :class:`DeadlineExceeded` when nothing is left."""
        if self.remaining_s == 0.0:
            raise self.passed()

    def passed(self) -> DeadlineExceeded:
        """The error to raise, with the last thing that went wrong on the way."""
        last = f" Last problem: {self.last_problem.problem}" if self.last_problem else ""
        return DeadlineExceeded(
            f"no full answer within {self.limit_s:g} s.{last}",
            "Check the connection to the exchange; exchange_access.deadline is the limit.",
        )


def run_within(limit_s: float, work: Callable[[Deadline], T]) -> T:
    """Run ``work`` in a thread of its own and give up waiting after ``limit_s`` seconds.

    A timeout per read never fires on a body that drips, and a name look-up has none at all: only another thread can
    keep the time. An abandoned thread is a daemon and sends nothing more, because ``work`` checks its deadline before
    each request; what it holds (a client, a connection) must not be used again.

    Raises
    ------
    DeadlineExceeded
        When the time is over.
    """
    deadline = Deadline(limit_s)
    outcome: SimpleQueue[tuple[bool, T | BaseException]] = SimpleQueue()

    def run() -> None:
        try:
            outcome.put((True, work(deadline)))
        except BaseException as error:
            outcome.put((False, error))

    threading.Thread(target=run, name="fetch within a deadline", daemon=True).start()
    try:
        is_done, result = outcome.get(timeout=limit_s)
    except Empty:
        raise deadline.passed() from None
    if is_done:
        return result  # type: ignore[return-value]
    raise result  # type: ignore[misc]
