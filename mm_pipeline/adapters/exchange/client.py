"""One ccxt exchange made honest: every answer is looked at before ccxt can turn it into an empty list."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import polars as pl

from mm_pipeline.adapters.exchange.errors import LastAnswer
from mm_pipeline.domain.candles import RAW_SCHEMA, empty_candles
from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.domain.market import FinerTimeframe, Timeframe

_OPTIONS: dict[str, dict[str, Any]] = {
    # With credentials set, these two would make account-mode calls before the first candle.
    "kucoin": {"uta": False, "hf": True, "fetchMarkets": {"fetchTickersFees": False}},
}

_NEED_UNTIL = frozenset({"zebpay"})
"""Exchanges that refuse a question about candles without its end."""


class ExchangeClient:
    """The three questions a candle source asks, over ccxt's class of the exchange; not thread-safe.

    Parameters
    ----------
    exchange
        ccxt id.
    timeout_s
        Seconds between two reads of one answer.
    max_page_bars
        Most bars to ask for at once; less where ccxt knows that the exchange gives less.
    base_url
        Address in place of all of the exchange's own (the paper exchange); None for the real ones.

    Raises
    ------
    ConfigError
        When ccxt knows no such exchange.
    """

    def __init__(self, exchange: str, *, timeout_s: float, max_page_bars: int, base_url: str | None = None) -> None:
        self._ccxt = _checked_exchange(exchange, timeout_ms=int(timeout_s * 1000))
        if base_url is not None:
            self._ccxt.urls["api"] = dict.fromkeys(self._ccxt.urls["api"], base_url)
            self._ccxt.session.trust_env = False
        spot = (self._ccxt.features or {}).get("spot") or {}
        limit = (spot.get("fetchOHLCV") or {}).get("limit")
        self.page_bars = min(max_page_bars, limit) if limit else max_page_bars

    @property
    def last_answer(self) -> LastAnswer:
        """What the last request brought over HTTP."""
        answer: LastAnswer = self._ccxt.last_answer
        return answer

    def on_request(self, hook: Callable[[], None]) -> None:
        """Call ``hook`` before each HTTP request; what it raises stops the request."""
        self._ccxt.before_request = hook

    def server_time_ms(self) -> int | None:
        """Exchange's time in epoch milliseconds; None where it does not tell."""
        if not self._ccxt.has.get("fetchTime"):
            return None
        server_ms = self._ccxt.fetch_time()
        if not isinstance(server_ms, int):
            raise ValueError(f"the exchange's time is {server_ms!r}")
        return server_ms

    def symbols(self) -> frozenset[str]:
        """Spot symbols the exchange lists; asked for once."""
        markets = self._ccxt.load_markets()
        if not markets:
            raise ValueError("the list of symbols is empty")
        return frozenset(markets)

    def price_tick(self, symbol: str) -> float | None:
        """The smallest step of a symbol's price in quote; None where the exchange's list of symbols does not tell."""
        import ccxt

        told = self._ccxt.market(symbol)["precision"]["price"]
        if not isinstance(told, (int, float)) or self._ccxt.precisionMode not in {ccxt.TICK_SIZE, ccxt.DECIMAL_PLACES}:
            return None
        tick = float(told) if self._ccxt.precisionMode == ccxt.TICK_SIZE else 10.0**-told
        return tick if 0.0 < tick < float("inf") else None

    def candles(
        self, symbol: str, *, start_ms: int, end_ms: int, timeframe: Timeframe | FinerTimeframe = Timeframe.M15
    ) -> pl.DataFrame:
        """One page of raw candles, as sent; rows outside the range are the caller's to drop.

        Raises
        ------
        Exception
            ccxt's errors, or ``ValueError`` and its like when the answer is no list of candles.
        """
        bars = -(-(end_ms - start_ms) // timeframe.ms)
        rows = self._ccxt.fetch_ohlcv(symbol, timeframe.value, start_ms, bars, self._page_end(end_ms))
        if not rows and not _has_list(self._ccxt.last_json):
            raise ValueError("there is no list of candles in it")
        return _raw_frame(rows)

    def forget_answer(self) -> None:
        """Begin a new question: an error before its first request must not be blamed on an earlier answer."""
        self._ccxt.last_answer = LastAnswer()

    def _page_end(self, end_ms: int) -> dict[str, int]:
        """How the end of a page is given where the exchange wants one."""
        if self._ccxt.id == "kucoin":
            # KuCoin loses the oldest row when the end of the window is itself a bar: end one second before it.
            return {"endAt": (end_ms - 1000) // 1000}
        return {"until": end_ms} if self._ccxt.id in _NEED_UNTIL else {}


class _CheckedAnswers:
    """Mixed into ccxt's class in front of its own methods."""

    before_request: Callable[[], None] = staticmethod(lambda: None)
    last_answer = LastAnswer()
    last_json: Any = None

    def fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        self.last_answer, self.last_json = LastAnswer(), None
        self.before_request()
        answer = super().fetch(url, method, headers, body)  # type: ignore[misc]
        if self.last_json is None:
            raise ValueError("it is not JSON")
        return answer

    def on_rest_response(self, code: int, reason: str, url: str, method: str, *received: Any) -> Any:
        headers, body, *_ = received
        self.last_answer = LastAnswer(code, body, {name.lower(): value for name, value in headers.items()})
        return super().on_rest_response(code, reason, url, method, *received)  # type: ignore[misc]

    def parse_json(self, http_response: str) -> Any:
        self.last_json = super().parse_json(http_response)  # type: ignore[misc]
        return self.last_json

    def parse_ohlcvs(self, ohlcvs: Any, market: Any = None, *_: Any, **__: Any) -> list[Any]:
        """Keep every row: ccxt's own drops rows without a time silently."""
        return [self.parse_ohlcv(row, market) for row in ohlcvs]  # type: ignore[attr-defined]


def _checked_exchange(exchange: str, *, timeout_ms: int) -> Any:
    import ccxt

    # Its debug log prints the key headers of signed requests.
    for name in ("ccxt", "ccxt.base.exchange"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if exchange not in ccxt.exchanges:
        raise ConfigError(f"ccxt knows no exchange {exchange!r}.", "Use an id of its list, like kucoin or binance.")
    checked = type(exchange, (_CheckedAnswers, getattr(ccxt, exchange)), {})
    client = checked({"timeout": timeout_ms, "enableRateLimit": True, "options": _OPTIONS.get(exchange, {})})
    markets = client.options.get("fetchMarkets")
    if isinstance(markets, dict) and "types" in markets:
        markets["types"] = _spot_alone(markets["types"])
    return client


def _spot_alone(types: Any) -> Any:
    """Kinds of market to list, in the shape that the library keeps them in: names, or a switch per name."""
    if isinstance(types, dict):
        return {name: name == "spot" for name in types}
    return ["spot"] if "spot" in types else types


def _has_list(answer: Any) -> bool:
    if isinstance(answer, dict):
        return any(_has_list(value) for value in answer.values())
    return isinstance(answer, list)


def _raw_frame(rows: list[list[Any]]) -> pl.DataFrame:
    if not rows:
        return empty_candles()
    if any(row[0] is None for row in rows):
        raise ValueError("a candle has no time")
    columns = zip(RAW_SCHEMA.items(), zip(*rows, strict=True), strict=True)
    return pl.DataFrame(
        [
            pl.Series(name, values, dtype=pl.Int64 if name == "open_time" else kind).cast(kind)
            for (name, kind), values in columns
        ]
    )
