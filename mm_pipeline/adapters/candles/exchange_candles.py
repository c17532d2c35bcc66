"""Candles from any exchange that ccxt knows, asked for politely and never taken on trust."""

from __future__ import annotations

import difflib

import polars as pl

from mm_pipeline.adapters.candles.memory_candles import within
from mm_pipeline.adapters.clock import Clock
from mm_pipeline.adapters.exchange.client import ExchangeClient
from mm_pipeline.adapters.exchange.retries import Asking
from mm_pipeline.adapters.exchange.session import ExchangeSession
from mm_pipeline.domain.arrays import Integers
from mm_pipeline.domain.candles import CircuitStore, ExchangePolicy, empty_candles, epoch_ms, finer_pages
from mm_pipeline.domain.errors import MarketNotFound
from mm_pipeline.domain.market import FinerTimeframe, Market, Timeframe


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
        self._ticks: dict[Market, float] = {}

        def open_client() -> ExchangeClient:
            return ExchangeClient(
                exchange,
                timeout_s=policy.request_timeout.total_seconds(),
                max_page_bars=policy.max_page_bars,
                base_url=base_url,
            )

        self._session = ExchangeSession(
            exchange, policy=policy, clock=clock, circuits=circuits, open_client=open_client, wall=wall
        )

    @property
    def requests_made(self) -> int:
        """HTTP requests sent, repetitions included."""
        return self._session.requests_made

    @property
    def leaves_nothing_out(self) -> bool:
        """False: an answer over a network may have holes."""
        return False

    def fetch(self, market: Market, *, start_ms: int, end_ms: int) -> pl.DataFrame:
        """Read all 15m candles with ``start_ms <= open_time < end_ms``, page by page.

        Raises
        ------
        CircuitOpen, DeadlineExceeded, ClockSkewed, RateLimited, ExchangeUnavailable, MalformedAnswer, MarketNotFound
            Each with what was seen and what to do.
        """
        if market.exchange != self.exchange:
            raise MarketNotFound(f"{market} is not a market of {self.exchange}.", "Ask the source of its exchange.")

        def pages(asking: Asking[ExchangeClient]) -> pl.DataFrame:
            self._session.check_clock(asking)
            self._check_listed(asking, market)
            return fetch_pages(asking, market, start_ms=start_ms, end_ms=end_ms)

        return self._session.run(pages, closes_circuit=True)

    def finer(
        self, market: Market, slots_ms: Integers, *, timeframe: FinerTimeframe, max_requests: int, turn: int
    ) -> pl.DataFrame:
        """Finer candles of 15m slots, asked for within the same limits; see ``FinerSource``.

        What goes wrong with them does not open the circuit: 15m candles must not be lost for it.
        """

        def pages(asking: Asking[ExchangeClient]) -> pl.DataFrame:
            self._session.check_clock(asking)
            page_bars = asking.client.page_bars
            parts = finer_pages(slots_ms, timeframe=timeframe, page_bars=page_bars, max_pages=max_requests, turn=turn)
            answers = [
                _fetch_page(asking, market, start_ms=part.start_ms, end_ms=part.end_ms, timeframe=timeframe)
                for part in parts
            ]
            return pl.concat([empty_candles(), *answers])

        return self._session.run(pages, closes_circuit=False, opens_circuit=False)

    @property
    def price_ticks(self) -> dict[Market, float]:
        """See ``TickSource``; known of a market once its candles were asked for."""
        return dict(self._ticks)

    def clock_offset_ms(self) -> int | None:
        """Exchange's clock minus ours; asked for once per ``clock_check_interval``."""
        return self._session.run(self._session.read_clock, closes_circuit=False).offset_ms

    def _check_listed(self, asking: Asking[ExchangeClient], market: Market) -> None:
        symbols = asking.ask("its symbols", asking.client.symbols)
        if market.symbol not in symbols:
            close = difflib.get_close_matches(market.symbol, symbols)
            hint = f"Similar ones are {', '.join(close)}." if close else "Check the spelling; it may be delisted."
            raise MarketNotFound(f"{self.exchange} does not list {market.symbol}.", hint)
        tick = asking.client.price_tick(market.symbol)
        if tick is not None:
            self._ticks[market] = tick


def fetch_pages(
    asking: Asking[ExchangeClient],
    market: Market,
    *,
    start_ms: int,
    end_ms: int,
    timeframe: Timeframe = Timeframe.M15,
) -> pl.DataFrame:
    """Ask page after page, and on from where a page ended early: only an empty answer means that there are no trades.

    An exchange that gives fewer rows than it was asked for would otherwise leave holes that look like quiet bars.
    """
    answers = [empty_candles()]
    page_ms = asking.client.page_bars * timeframe.ms
    at_ms = start_ms
    while at_ms < end_ms:
        page_end_ms = min(at_ms + page_ms, end_ms)
        answer = _fetch_page(asking, market, start_ms=at_ms, end_ms=page_end_ms, timeframe=timeframe)
        answers.append(answer)
        next_ms = page_end_ms if answer.is_empty() else int(epoch_ms(answer["open_time"]).max()) + timeframe.ms
        at_ms = min(next_ms // timeframe.ms * timeframe.ms, page_end_ms)
    return pl.concat(answers)


def _fetch_page(
    asking: Asking[ExchangeClient],
    market: Market,
    *,
    start_ms: int,
    end_ms: int,
    timeframe: Timeframe | FinerTimeframe = Timeframe.M15,
) -> pl.DataFrame:
    kind = "candles" if timeframe is Timeframe.M15 else f"{timeframe} candles"
    raw = asking.ask(
        f"{kind} of {market.symbol}",
        lambda: asking.client.candles(market.symbol, start_ms=start_ms, end_ms=end_ms, timeframe=timeframe),
    )
    return within(raw, start_ms=start_ms, end_ms=end_ms)
