"""Circuit breaker as a pure table: after so many failures in a row an exchange, or a channel, is left alone a while."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Protocol


class BreakerPolicy(Protocol):
    """The two thresholds of a circuit breaker."""

    @property
    def breaker_failures(self) -> int:
        """Failures in a row that open it."""
        ...

    @property
    def breaker_cool_down(self) -> timedelta:
        """How long it stays open."""
        ...


class CircuitPhase(StrEnum):
    """What a fetch may do: ask, ask once, or not ask."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


@dataclass(frozen=True)
class CircuitState:
    """What is remembered of an exchange between processes.

    Attributes
    ----------
    failures
        Failed fetches in a row.
    open_until_ms
        Epoch milliseconds before which the exchange is not asked; None when it may be.
    problem
        The last failure in words.
    """

    failures: int = 0
    open_until_ms: int | None = None
    problem: str = ""


HEALTHY = CircuitState()


class CircuitStore(Protocol):
    """Keeps circuit states; in a database where each run is a new process."""

    def load(self, name: str) -> CircuitState:
        """The newest state of a circuit, ``HEALTHY`` where nothing is known."""
        ...

    def save(self, name: str, state: CircuitState, *, at_ms: int) -> None:
        """Record the state that a circuit has come to."""
        ...


def circuit_phase(state: CircuitState, *, now_ms: int, policy: BreakerPolicy) -> CircuitPhase:
    """Say what the state allows at ``now_ms``.

    A moment further away than the cool-down cannot have been written by this clock; the exchange is then tried once, so
    that a clock that jumped back does not blind the watch.
    """
    is_tripped = state.failures >= policy.breaker_failures
    if state.open_until_ms is None:
        return CircuitPhase.CLOSED
    remaining_ms = state.open_until_ms - now_ms
    if 0 < remaining_ms <= _cool_down_ms(policy):
        return CircuitPhase.OPEN
    return CircuitPhase.HALF_OPEN if is_tripped or remaining_ms > 0 else CircuitPhase.CLOSED


def after_failure(
    state: CircuitState, *, now_ms: int, policy: BreakerPolicy, problem: str, rest_ms: int = 0
) -> CircuitState:
    """Count a failed fetch.

    Parameters
    ----------
    rest_ms
        For how long the exchange itself asked to be left alone (its rate limit's reset); at most the cool-down is kept.
    """
    failures = state.failures + 1
    cool_down_ms = _cool_down_ms(policy)
    rest_ms = cool_down_ms if failures >= policy.breaker_failures else min(rest_ms, cool_down_ms)
    return CircuitState(failures, now_ms + rest_ms if rest_ms > 0 else None, problem)


def _cool_down_ms(policy: BreakerPolicy) -> int:
    return int(policy.breaker_cool_down.total_seconds() * 1000)
