"""Request weights of a pool: a fixed window that opens with its first request, as KuCoin's gateway counts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RateLimit:
    """``limit`` request weights per ``window_s`` seconds of real time."""

    limit: int
    window_s: float


KUCOIN_PUBLIC = RateLimit(limit=2000, window_s=30.0)
"""KuCoin's public pool at VIP 0 (vendor documentation, rate limit page; header sample in the recorded answers)."""

KUCOIN_SPOT = RateLimit(limit=4000, window_s=30.0)
KUCOIN_MANAGEMENT = RateLimit(limit=2000, window_s=30.0)
"""KuCoin's pools of a signed-in user at VIP 0 (vendor documentation, rate limit page)."""

BINANCE_IP = RateLimit(limit=6000, window_s=60.0)
"""Binance spot REQUEST_WEIGHT per minute and address (vendor documentation, exchangeInfo.rateLimits)."""


@dataclass(frozen=True, kw_only=True)
class PoolState:
    """The pool after one request: the values that the answer's headers carry."""

    is_granted: bool
    limit: int
    remaining: int
    reset_ms: int

    @property
    def used(self) -> int:
        """Weights used in the present window."""
        return self.limit - self.remaining


class WeightPool:
    """Counts weights in a window that starts with the first request after the last one ended. Thread-safe."""

    def __init__(self, rate_limit: RateLimit, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rate_limit = rate_limit
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._window_ends_s = float("-inf")
        self._remaining = rate_limit.limit

    def take(self, weight: int) -> PoolState:
        """Take ``weight`` from the pool, or nothing when it does not hold that much."""
        with self._lock:
            now_s = self._monotonic()
            if now_s >= self._window_ends_s:
                self._window_ends_s = now_s + self._rate_limit.window_s
                self._remaining = self._rate_limit.limit
            is_granted = weight <= self._remaining
            if is_granted:
                self._remaining -= weight
            return PoolState(
                is_granted=is_granted,
                limit=self._rate_limit.limit,
                remaining=self._remaining,
                reset_ms=round((self._window_ends_s - now_s) * 1000),
            )
