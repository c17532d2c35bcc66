"""The paper exchange: several exchanges' dialects over one HTTP server, one clock, one set of faults.

Paths: ``/kucoin/api/...`` and ``/binance/api/v3/...`` speak the dialects; ``/paper/state`` and ``/paper/truth`` are
this server's own.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from mm_pipeline.adapters.exchange.paper_address import paper_base_url
from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.paper.binance import BinanceDialect
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.http.calls import Call, CallLog
from mm_pipeline.paper.http.dialect import Dialect
from mm_pipeline.paper.http.faults import Fault, FaultPlan
from mm_pipeline.paper.http.http_server import HttpServer
from mm_pipeline.paper.http.rate_limit import BINANCE_IP, KUCOIN_MANAGEMENT, KUCOIN_PUBLIC, KUCOIN_SPOT, RateLimit
from mm_pipeline.paper.http.wire import Answer, Request
from mm_pipeline.paper.kucoin.dialect import KucoinDialect
from mm_pipeline.paper.markets.market_data import MarketData
from mm_pipeline.paper.markets.markets import PaperMarket
from mm_pipeline.paper.trading.account import PaperAccount
from mm_pipeline.paper.trading.desk import TradingDesk

_logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class PaperConfig:
    """The arguments of :class:`PaperExchange`. ``port`` 0 takes a free one; ``host`` is loopback unless told."""

    markets: Sequence[PaperMarket]
    clock: PaperClock = field(default_factory=PaperClock.real)
    port: int = 0
    host: str = LOOPBACK
    accounts: Sequence[PaperAccount] = ()
    kucoin_public_limit: RateLimit = KUCOIN_PUBLIC
    binance_limit: RateLimit = BINANCE_IP
    kucoin_spot_limit: RateLimit = KUCOIN_SPOT
    kucoin_management_limit: RateLimit = KUCOIN_MANAGEMENT


class PaperExchange:
    """A running paper exchange; a context manager.

    Parameters
    ----------
    markets
        What is listed; ``market.exchange`` chooses the dialect (``kucoin`` or ``binance``).
    clock
        Server time; settable while it runs through :attr:`clock`.
    port, host
        Where it listens once started; the port stays the same over :meth:`stop` and :meth:`start`.
    accounts
        Accounts on ``kucoin``; grids that they name are traded as the clock goes on.
    kucoin_public_limit, binance_limit, kucoin_spot_limit, kucoin_management_limit
        Request weights; the last two of each account.

    Attributes
    ----------
    clock, faults, calls
        The server's time, the rules of its faults, and what clients have asked so far.
    desks
        The accounts at work, in the order of ``accounts``.

    Raises
    ------
    ConfigError, CandleFileError
        When a market has no dialect, is served twice, or its candles cannot be loaded.
    """

    def __init__(
        self,
        *,
        markets: Sequence[PaperMarket],
        clock: PaperClock | None = None,
        port: int = 0,
        host: str = LOOPBACK,
        accounts: Sequence[PaperAccount] = (),
        kucoin_public_limit: RateLimit = KUCOIN_PUBLIC,
        binance_limit: RateLimit = BINANCE_IP,
        kucoin_spot_limit: RateLimit = KUCOIN_SPOT,
        kucoin_management_limit: RateLimit = KUCOIN_MANAGEMENT,
    ) -> None:
        self.clock = clock or PaperClock.real()
        self.faults = FaultPlan()
        self.calls = CallLog()
        self._host, self._port = host, port
        self._server: HttpServer | None = None
        self._markets = [MarketData(paper) for paper in markets]
        by_exchange: dict[str, list[MarketData]] = {"kucoin": [], "binance": []}
        for data in self._markets:
            if data.paper.market.exchange not in by_exchange:
                raise ConfigError(f"{data.paper.market} has no paper dialect.", "Use kucoin or binance.")
            by_exchange[data.paper.market.exchange].append(data)
        kucoin = KucoinDialect(
            by_exchange["kucoin"],
            public_limit=kucoin_public_limit,
            accounts=accounts,
            clock=self.clock,
            spot_limit=kucoin_spot_limit,
            management_limit=kucoin_management_limit,
        )
        self.desks: Sequence[TradingDesk] = kucoin.desks
        self._dialects: dict[str, Dialect] = {
            "kucoin": kucoin,
            "binance": BinanceDialect(by_exchange["binance"], limit=binance_limit),
        }

    @classmethod
    def from_config(cls, config: PaperConfig) -> PaperExchange:
        """The exchange that a configuration describes, not yet started."""
        return cls(**vars(config))

    def start(self) -> Self:
        """Listen and serve from a thread."""
        if self._server is None:
            self._server = HttpServer(self._host, self._port, self._respond)
            self._port = self._server.server_port
            self._server.start()
        return self

    def stop(self) -> None:
        """Stop serving and end every connection; :meth:`start` brings it back on the same port."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Root of the server, without a trailing slash."""
        if not self._port:
            raise ConfigError("the paper exchange has no port yet.", "Start it first.")
        return f"http://{self._host}:{self._port}"

    def base_url(self, exchange_id: str) -> str:
        """What every key of a ccxt client's ``urls["api"]`` is to be set to for this exchange."""
        if exchange_id not in self._dialects:
            raise ConfigError(f"exchange {exchange_id!r} has no paper dialect.", "Use kucoin or binance.")
        return paper_base_url(self.url, exchange_id)

    def state(self) -> dict[str, Any]:
        """The clock, the markets and what is going wrong on purpose, as ``/paper/state`` shows them."""
        now_ms = self.clock.now_ms()
        return {
            "now": self.clock.now().isoformat(),
            "now_ms": now_ms,
            "speed": self.clock.speed,
            "calls": len(self.calls),
            "faults": self.faults.names(),
            "markets": [_market_state(data, now_ms) for data in self._markets],
        }

    def _respond(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        faults = self.faults.strike(target)
        answer = self._answer(method, target, headers, body, faults)
        for fault in faults:
            answer = fault.spoil(answer)
        names = tuple(type(fault).__name__ for fault in faults)
        self.calls.record(Call(target=target, status=answer.status, paper_ms=self.clock.now_ms(), faults=names))
        return answer

    def _answer(
        self, method: str, target: str, headers: dict[str, str], body: bytes, faults: Sequence[Fault]
    ) -> Answer:
        parts = urlsplit(target)
        exchange, _, path = parts.path.removeprefix("/").partition("/")
        request = Request(
            exchange=exchange,
            method=method,
            path=f"/{path}",
            target=f"/{path}?{parts.query}" if parts.query else f"/{path}",
            now_ms=self.clock.now_ms(),
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers=headers,
            body=body,
        )
        for fault in faults:
            request = fault.prepare(request)
        if exchange == "paper":
            return self._own_answer(request)
        dialect = self._dialects.get(exchange)
        return _not_found(f"no exchange {exchange!r} here") if dialect is None else dialect.answer(request)

    def _own_answer(self, request: Request) -> Answer:
        if request.path == "/state":
            return Answer(payload=self.state())
        if request.path != "/truth":
            return _not_found("only /paper/state and /paper/truth are here")
        wanted = request.query.get("symbol", "").replace("-", "/")
        exchange = request.query.get("exchange")
        for data in self._markets:
            market = data.paper.market
            truth = data.truth(request.now_ms) if market.symbol == wanted else None
            if truth is not None and exchange in {None, market.exchange}:
                columns = ["open_time_ms", "true_regime", "is_jump"]
                return Answer(payload={"market": str(market), "columns": columns, "rows": truth})
        return _not_found(f"no simulated market {wanted!r}: recorded candles have no known truth")


def serve(config: PaperConfig, *, on_ready: Callable[[PaperExchange], None] | None = None) -> None:
    """Serve until SIGINT or SIGTERM; for the main thread of a process.

    Parameters
    ----------
    config
        What to serve, and where.
    on_ready
        Called once it listens, for example to print its addresses.
    """
    is_over = threading.Event()
    chosen = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: is_over.set()) for number in chosen}
    try:
        with PaperExchange.from_config(config) as paper:
            if on_ready is not None:
                on_ready(paper)
            is_over.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _market_state(data: MarketData, now_ms: int) -> dict[str, Any]:
    first_ms, end_ms = data.span_ms
    return {
        "market": str(data.paper.market),
        "bar_ms": data.base_ms,
        "first_ms": first_ms,
        "end_ms": end_ms,
        "last_price": data.last_price(now_ms),
        "is_over": now_ms >= end_ms,
    }


def _not_found(message: str) -> Answer:
    return Answer(status=404, payload={"error": message})
