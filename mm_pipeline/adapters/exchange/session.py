"""One exchange asked within its limits: circuit, deadline, request budget, clock. What is asked is not known here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

from mm_pipeline.adapters.clock import Clock, SystemClock
from mm_pipeline.adapters.exchange.client import ExchangeClient
from mm_pipeline.adapters.exchange.deadline import Deadline, run_within
from mm_pipeline.adapters.exchange.request_budget import RequestBudget
from mm_pipeline.adapters.exchange.retries import Asking
from mm_pipeline.domain.candles import (
    HEALTHY,
    CircuitPhase,
    CircuitState,
    CircuitStore,
    ExchangePolicy,
    after_failure,
    circuit_phase,
)
from mm_pipeline.domain.errors import CircuitOpen, ClockSkewed, DeadlineExceeded, ExchangeError, RateLimited
from mm_pipeline.domain.instants import from_ms

C = TypeVar("C", bound=ExchangeClient)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ClockReading:
    """Exchange's clock minus ours; half of the round trip is the error nobody can know."""

    offset_ms: int | None
    error_ms: float
    read_at_s: float

    def is_beyond(self, limit: timedelta) -> bool:
        """Whether the clocks are certainly further apart than the limit."""
        return self.offset_ms is not None and abs(self.offset_ms) - self.error_ms > limit.total_seconds() * 1000


class ExchangeSession(Generic[C]):
    """Everything that is asked of one exchange by one process; threads take turns.

    Parameters
    ----------
    exchange
        ccxt id.
    circuit
        Name of its circuit, where that is not the exchange's: what is asked with a key may fail alone.
    policy
        Limits.
    clock
        The pipeline's clock, compared with the exchange's.
    circuits
        Where the circuit's state outlives this process.
    open_client
        Makes the client when it is first needed, and anew after a deadline has passed.
    wall
        Real time for the circuit, which a standing or hurried ``clock`` would not let close again.
    """

    def __init__(
        self,
        exchange: str,
        *,
        policy: ExchangePolicy,
        clock: Clock,
        circuits: CircuitStore,
        open_client: Callable[[], C],
        wall: Clock | None = None,
        circuit: str | None = None,
    ) -> None:
        self.exchange = exchange
        self._circuit = exchange if circuit is None else circuit
        self.policy = policy
        self._clock = clock
        self._circuits = circuits
        self._open_client = open_client
        self._wall = SystemClock() if wall is None else wall
        self._budget = RequestBudget(requests_per_s=policy.requests_per_s, burst_requests=policy.burst_requests)
        self._client: C | None = None
        self._lock = threading.Lock()
        self._requests_made = 0
        self._reading: ClockReading | None = None

    @property
    def requests_made(self) -> int:
        """HTTP requests sent, repetitions included."""
        return self._requests_made

    def run(
        self,
        task: Callable[[Asking[C]], T],
        *,
        closes_circuit: bool,
        opens_circuit: bool = True,
        limit_s: float | None = None,
    ) -> T:
        """Do a task within the deadline, unless the circuit is open.

        Parameters
        ----------
        task
            Given someone to ask.
        closes_circuit
            Whether its success shows that the exchange is well again.
        opens_circuit
            Whether its failure counts against the exchange as a whole.
        limit_s
            Seconds that it may take; None for the policy's deadline.

        Raises
        ------
        CircuitOpen, DeadlineExceeded
            And whatever the task raises; a transient failure counts against the circuit where it may.
        """
        with self._lock:
            state = self._circuits.load(self._circuit)
            phase = circuit_phase(state, now_ms=self._wall.now_ms(), policy=self.policy)
            if phase is CircuitPhase.OPEN:
                raise _circuit_open(self.exchange, state)
            if self._client is None:
                self._client = self._open_client()
            client = self._client
            attempts = self.policy.attempts if phase is CircuitPhase.CLOSED else 1
            try:
                result = run_within(
                    self.policy.deadline.total_seconds() if limit_s is None else limit_s,
                    lambda deadline: task(self._asking(client, attempts=attempts, deadline=deadline)),
                )
            except ExchangeError as error:
                if isinstance(error, DeadlineExceeded):
                    self._client = None  # its thread may still be reading from it
                if opens_circuit:
                    self._note_failure(state, error, client)
                raise
            if closes_circuit and state != HEALTHY:
                self._circuits.save(self._circuit, HEALTHY, at_ms=self._wall.now_ms())
            return result

    def read_clock(self, asking: Asking[C]) -> ClockReading:
        """Compare the clocks; asked for once per ``clock_check_interval``."""
        interval_s = self.policy.clock_check_interval.total_seconds()
        kept = self._reading
        if kept is not None and time.monotonic() - kept.read_at_s < interval_s:
            return kept
        asked_ms = self._clock.now_ms()
        server_ms = asking.ask("its time", asking.client.server_time_ms)
        answered_ms = self._clock.now_ms()
        reading = ClockReading(
            offset_ms=None if server_ms is None else server_ms - (asked_ms + answered_ms) // 2,
            error_ms=(answered_ms - asked_ms) / 2,
            read_at_s=time.monotonic(),
        )
        is_skewed = reading.is_beyond(self.policy.max_clock_offset)
        self._reading = None if is_skewed else reading  # a clock that was put right is believed at once
        return reading

    def check_clock(self, asking: Asking[C]) -> ClockReading:
        """Compare the clocks, and raise :class:`ClockSkewed` when they are too far apart."""
        reading = self.read_clock(asking)
        if reading.is_beyond(self.policy.max_clock_offset):
            raise ClockSkewed(
                f"the clock of {self.exchange} is {(reading.offset_ms or 0) / 1000:+.1f} s off ours, more than "
                f"{self.policy.max_clock_offset.total_seconds():g} s (exchange_access.max_clock_offset).",
                "Let this machine's clock follow a time server.",
            )
        return reading

    def _asking(self, client: C, *, attempts: int, deadline: Deadline) -> Asking[C]:
        def before_request() -> None:
            self._budget.acquire()
            deadline.check()
            self._requests_made += 1

        client.on_request(before_request)
        return Asking(client, exchange=self.exchange, policy=self.policy, attempts=attempts, deadline=deadline)

    def _note_failure(self, state: CircuitState, error: ExchangeError, client: C) -> None:
        if not (error.is_transient or isinstance(error, DeadlineExceeded)):
            return
        rest_s = client.last_answer.rest_s if isinstance(error, RateLimited) else 0.0
        now_ms = self._wall.now_ms()
        failed = after_failure(
            state,
            now_ms=now_ms,
            policy=self.policy,
            problem=error.problem,
            rest_ms=int(rest_s * 1000),
        )
        self._circuits.save(self._circuit, failed, at_ms=now_ms)


def _circuit_open(exchange: str, state: CircuitState) -> CircuitOpen:
    until = from_ms(state.open_until_ms or 0).strftime("%H:%M:%S")
    return CircuitOpen(
        f"{exchange} failed {state.failures} times in a row, last: {state.problem}",
        f"It is left alone until {until} UTC and then tried once (exchange_access.breaker_cool_down).",
    )
