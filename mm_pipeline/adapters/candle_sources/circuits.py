"""Circuit states kept in this process only: for tests and one-off commands. The journal keeps them between runs."""

from __future__ import annotations

from mm_pipeline.domain.candles import HEALTHY, CircuitState


class MemoryCircuits:
    """A :class:`~mm_pipeline.domain.candles.circuit.CircuitStore` in a dictionary."""

    def __init__(self) -> None:
        self._states: dict[str, CircuitState] = {}

    def load(self, exchange: str) -> CircuitState:
        """State of an exchange, ``HEALTHY`` where nothing is known."""
        return self._states.get(exchange, HEALTHY)

    def save(self, exchange: str, state: CircuitState) -> None:
        """Replace the state of an exchange."""
        self._states[exchange] = state
