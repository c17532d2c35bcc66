"""Candles from any exchange that ccxt knows, asked for politely and never taken on trust."""

from __future__ import annotations

import difflib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import polars as pl

from mm_pipeline.adapters.candle_sources.asking import Asking
from mm_pipeline.adapters.candle_sources.deadline import Deadline, run_within
from mm_pipeline.adapters.candle_sources.exchange_client import ExchangeClient
from mm_pipeline.adapters.candle_sources.memory import within
from mm_pipeline.adapters.candle_sources.request_budget import RequestBudget
from mm_pipeline.adapters.clock import Clock, SystemClock, from_ms
from mm_pipeline.domain.candles import (
    HEALTHY,
    CircuitPhase,
    CircuitState,
    CircuitStore,
    ExchangePolicy,
    after_failure,
    circuit_phase,
    empty_candles,
    epoch_ms,
)
from mm_pipeline.domain.errors import (
    CandleSourceError,
    CircuitOpen,
    ClockSkewed,
    DeadlineExceeded,
    MarketNotFound,
    RateLimited,
)
from mm_pipeline.domain.market import Market, Timeframe

T = TypeVar("T")
_STEP_MS = Timeframe.M15.ms


@dataclass(frozen=True, kw_only=True)
class _ClockReading:
    """Exchange's clock minus ours; half of the round trip is the error nobody can know."""

    offset_ms: int | None
    error_ms: float
    read_at_s: float

    def is_beyond(self, limit: timedelta) -> bool:
        return self.offset_ms is not None and abs(self.offset_ms) - self.error_ms > limit.total_seconds() * 1000


class ExchangeCandles:
    """A :class:`~mm_pipeline.domain.candles.source.CandleSource` over an exchange; its markets share client and budget.

    A fetch is refused while the circuit is open, ends by its wall-clock deadline, spends the request budget, and checks
    this machine's clock against the exchange's. Threads take turns.

    Parameters
    ----------
    exchange
        ccxt id, for example ``kucoin``.
    policy
        Limits.
    clock
        The pipeline's clock, compared with the exchange's.
    circuits
        Where the circuit's state outlives this process.
    base_url
        Address in place of all of the exchange's own (the paper exchange on loopback).
    wall
        Real time for the circuit, which a standing or hurried ``clock`` would not let close again.

    Raises
    ------
    ConfigError
        When ccxt knows no such exchange (at the first question).
    """

    def __init__(
        self,
        exchange: str,
        *,
        policy: ExchangePolicy,
        clock: Clock,
        circuits: CircuitStore,
        base_url: str | None = None,
        wall: Clock | None = None,
    ) -> None:
        self.exchange = exchange
        self._policy = policy
        self._clock = clock
        self._circuits = circuits
        self._base_url = base_url
        self._wall = SystemClock() if wall is None else wall
        self._budget = RequestBudget(requests_per_s=policy.requests_per_s, burst_requests=policy.burst_requests)
        self._client: ExchangeClient | None = None
        self._lock = threading.Lock()
        self._requests_made = 0
        self._reading: _ClockReading | None = None

    @property
    def requests_made(self) -> int:
        """HTTP requests sent, repetitions included."""
        return self._requests_made

    def fetch(self, market: Market, *, start_ms: int, end_ms: int) -> pl.DataFrame:
        """Read all 15m candles with ``start_ms <= open_time < end_ms``, page by page.

        Raises
        ------
        CircuitOpen, DeadlineExceeded, ClockSkewed, RateLimited, ExchangeUnavailable, MalformedAnswer, MarketNotFound
            Each with what was seen and what to do.
        """
        if market.exchange != self.exchange:
            raise MarketNotFound(f"{market} is not a market of {self.exchange}.", "Ask the source of its exchange.")

        def pages(asking: Asking) -> pl.DataFrame:
            self._check_clock(asking)
            self._check_listed(asking, market)
            return _fetch_pages(asking, market, start_ms=start_ms, end_ms=end_ms)

        return self._guarded(pages, closes_circuit=True)

    def clock_offset_ms(self) -> int | None:
        """Exchange's clock minus ours; asked for once per ``clock_check_interval``."""
        return self._guarded(self._read_clock, closes_circuit=False).offset_ms

    def _guarded(self, task: Callable[[Asking], T], *, closes_circuit: bool) -> T:
        with self._lock:
            state = self._circuits.load(self.exchange)
            phase = circuit_phase(state, now_ms=self._wall.now_ms(), policy=self._policy)
            if phase is CircuitPhase.OPEN:
                raise _circuit_open(self.exchange, state)
            client = self._open_client()
            attempts = self._policy.attempts if phase is CircuitPhase.CLOSED else 1
            try:
                result = run_within(
                    self._policy.deadline.total_seconds(),
                    lambda deadline: task(self._asking(client, attempts=attempts, deadline=deadline)),
                )
            except CandleSourceError as error:
                self._note_failure(state, error, client)
                raise
            if closes_circuit and state != HEALTHY:
                self._circuits.save(self.exchange, HEALTHY)
            return result

    def _open_client(self) -> ExchangeClient:
        if self._client is None:
            self._client = ExchangeClient(
                self.exchange,
                timeout_s=self._policy.request_timeout.total_seconds(),
                max_page_bars=self._policy.max_page_bars,
                base_url=self._base_url,
            )
        return self._client

    def _asking(self, client: ExchangeClient, *, attempts: int, deadline: Deadline) -> Asking:
        def before_request() -> None:
            self._budget.acquire()
            deadline.check()
            self._requests_made += 1

        client.on_request(before_request)
        return Asking(client, exchange=self.exchange, policy=self._policy, attempts=attempts, deadline=deadline)

    def _note_failure(self, state: CircuitState, error: CandleSourceError, client: ExchangeClient) -> None:
        if isinstance(error, DeadlineExceeded):
            self._client = None  # its thread may still be reading from it
        elif not error.is_transient:
            return
        rest_s = client.last_answer.rest_s if isinstance(error, RateLimited) else 0.0
        failed = after_failure(
            state,
            now_ms=self._wall.now_ms(),
            policy=self._policy,
            problem=error.problem,
            rest_ms=int(rest_s * 1000),
        )
        self._circuits.save(self.exchange, failed)

    def _read_clock(self, asking: Asking) -> _ClockReading:
        interval_s = self._policy.clock_check_interval.total_seconds()
        kept = self._reading
        if kept is not None and time.monotonic() - kept.read_at_s < interval_s:
            return kept
        asked_ms = self._clock.now_ms()
        server_ms = asking.ask("its time", asking.client.server_time_ms)
        answered_ms = self._clock.now_ms()
        reading = _ClockReading(
            offset_ms=None if server_ms is None else server_ms - (asked_ms + answered_ms) // 2,
            error_ms=(answered_ms - asked_ms) / 2,
            read_at_s=time.monotonic(),
        )
        is_skewed = reading.is_beyond(self._policy.max_clock_offset)
        self._reading = None if is_skewed else reading  # a clock that was put right is believed at once
        return reading

    def _check_clock(self, asking: Asking) -> None:
        reading = self._read_clock(asking)
        if reading.is_beyond(self._policy.max_clock_offset):
            raise ClockSkewed(
                f"the clock of {self.exchange} is {(reading.offset_ms or 0) / 1000:+.1f} s off ours, more than "
                f"{self._policy.max_clock_offset.total_seconds():g} s (exchange_access.max_clock_offset).",
                "Let this machine's clock follow a time server.",
            )

    def _check_listed(self, asking: Asking, market: Market) -> None:
        symbols = asking.ask("its symbols", asking.client.symbols)
        if market.symbol not in symbols:
            close = difflib.get_close_matches(market.symbol, symbols)
            hint = f"Similar ones are {', '.join(close)}." if close else "Check the spelling; it may be delisted."
            raise MarketNotFound(f"{self.exchange} does not list {market.symbol}.", hint)


def _fetch_pages(asking: Asking, market: Market, *, start_ms: int, end_ms: int) -> pl.DataFrame:
    """Ask page after page, and on from where a page ended early: only an empty answer means that there are no trades.

    An exchange that gives fewer rows than it was asked for would otherwise leave holes that look like quiet bars.
    """
    answers = [empty_candles()]
    page_ms = asking.client.page_bars * _STEP_MS
    at_ms = start_ms
    while at_ms < end_ms:
        page_end_ms = min(at_ms + page_ms, end_ms)
        answer = _fetch_page(asking, market, start_ms=at_ms, end_ms=page_end_ms)
        answers.append(answer)
        next_ms = page_end_ms if answer.is_empty() else int(epoch_ms(answer["open_time"]).max()) + _STEP_MS
        at_ms = min(next_ms // _STEP_MS * _STEP_MS, page_end_ms)
    return pl.concat(answers)


def _fetch_page(asking: Asking, market: Market, *, start_ms: int, end_ms: int) -> pl.DataFrame:
    raw = asking.ask(
        f"candles of {market.symbol}",
        lambda: asking.client.candles(market.symbol, start_ms=start_ms, end_ms=end_ms),
    )
    return within(raw, start_ms=start_ms, end_ms=end_ms)


def _circuit_open(exchange: str, state: CircuitState) -> CircuitOpen:
    until = from_ms(state.open_until_ms or 0).strftime("%H:%M:%S")
    return CircuitOpen(
        f"{exchange} failed {state.failures} times in a row, last: {state.problem}",
        f"It is left alone until {until} UTC and then tried once (exchange_access.breaker_cool_down).",
    )
