"""A token bucket: how often one process may ask one exchange, whatever the number of markets."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class RequestBudget:
    """Lets ``burst_requests`` through at once and then ``requests_per_s``; callers wait in the order of their arrival.

    Parameters
    ----------
    requests_per_s, burst_requests
        Rate and depth of the bucket.
    now_s, sleep
        Monotonic seconds and waiting; given by tests.
    """

    def __init__(
        self,
        *,
        requests_per_s: float,
        burst_requests: int,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._requests_per_s = requests_per_s
        self._burst_requests = burst_requests
        self._now_s = now_s
        self._sleep = sleep
        self._lock = threading.Lock()
        self._tokens = float(burst_requests)
        self._counted_s = now_s()

    def acquire(self) -> None:
        """Take one request, waiting until the budget allows it."""
        with self._lock:
            now_s = self._now_s()
            gained = (now_s - self._counted_s) * self._requests_per_s
            self._tokens = min(float(self._burst_requests), self._tokens + gained) - 1.0
            self._counted_s = now_s
            wait_s = max(0.0, -self._tokens / self._requests_per_s)
        if wait_s > 0.0:
            self._sleep(wait_s)
