"""What clients asked of the paper exchange, so that a test can count calls and look at their times."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

_KEPT_CALLS = 100_000


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request. ``target`` is the whole path with the exchange's prefix and the query.

    ``at_s`` is real time (monotonic seconds), ``paper_ms`` the server's time; ``faults`` names the faults that hit it.
    """

    target: str
    status: int
    paper_ms: int
    faults: tuple[str, ...] = ()
    at_s: float = field(default_factory=time.monotonic)


class CallLog:
    """The newest calls, oldest first. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: deque[Call] = deque(maxlen=_KEPT_CALLS)

    def record(self, call: Call) -> None:
        """Append one call."""
        with self._lock:
            self._calls.append(call)

    def matching(self, path_contains: str = "") -> list[Call]:
        """Calls whose target contains the text, oldest first."""
        with self._lock:
            return [call for call in self._calls if path_contains in call.target]

    def count(self, path_contains: str = "") -> int:
        """Number of calls whose target contains the text."""
        return len(self.matching(path_contains))

    def clear(self) -> None:
        """Forget all calls."""
        with self._lock:
            self._calls.clear()

    def __iter__(self) -> Iterator[Call]:
        return iter(self.matching())

    def __len__(self) -> int:
        return self.count()
