"""Circuit states kept in this process only: for tests and one-off commands. The journal keeps them between runs."""

from __future__ import annotations

from mm_pipeline.domain.candles import HEALTHY, CircuitState


class MemoryCircuits:
    """A :class:`~mm_pipeline.domain.circuit_breaker.CircuitStore` in a dictionary."""

    def __init__(self) -> None:
        self._states: dict[str, CircuitState] = {}

    def load(self, name: str) -> CircuitState:
        """The newest state of a circuit, ``HEALTHY`` where nothing is known."""
        return self._states.get(name, HEALTHY)

    def save(self, name: str, state: CircuitState, *, at_ms: int) -> None:
        """Keep the state that a circuit has come to."""
        del at_ms  # nobody asks here when it was
        self._states[name] = state
