"""Every exchange of the library that lists spot candles: constructed, and asked over HTTP against a sample answer.

The answers are small: one candle in the form that each exchange documents. Requests go to a server on loopback whatever
address they name; nothing else is replaced.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import ccxt
import pytest
import requests
from requests.adapters import HTTPAdapter

from mm_pipeline.adapters.exchange.client import ExchangeClient
from mm_pipeline.adapters.exchange.deadline import Deadline
from mm_pipeline.adapters.exchange.retries import Asking
from mm_pipeline.domain.errors import ExchangeError, MalformedAnswer, ProgramFault
from mm_pipeline.settings import load_settings

SAMPLES = json.loads((Path(__file__).parents[1] / "samples" / "ccxt_candles.json").read_text())
REFUSED = {"cex": "ArgumentsRequired", "luno": "AuthenticationError"}
"""Exchanges whose trade candles cannot be had without more than an id: cex has those of its order book alone."""
START_MS, END_MS = 1_700_000_100_000, 1_700_001_000_000
EARLIEST_MS, LATEST_MS = 1_262_304_000_000, 1_893_456_000_000  # 2010 and 2030


def listed() -> list[str]:
    """Ids of the exchanges that list spot candles of 15 minutes."""
    made = {name: getattr(ccxt, name)() for name in ccxt.exchanges}
    return [
        name
        for name, exchange in made.items()
        if exchange.has.get("fetchOHLCV") and exchange.has.get("spot") and "15m" in (exchange.timeframes or {})
    ]


LISTED = listed()


class _Loopback(HTTPAdapter):
    """Send every request to one server on this machine."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        parts = urlsplit(request.url or "")
        request.url = f"http://127.0.0.1:{self._port}{parts.path or '/'}" + (f"?{parts.query}" if parts.query else "")
        return super().send(request, *args, **kwargs)


@contextmanager
def serving(answer: Any) -> Iterator[int]:
    """Port of a server that answers every request with the same JSON."""
    body = json.dumps(answer).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def client_of(exchange: str, port: int) -> ExchangeClient:
    client = ExchangeClient(exchange, timeout_s=5, max_page_bars=1500)
    redirected(client._ccxt, port)
    return client


def redirected(library: Any, port: int) -> None:
    library.session.trust_env = False
    for scheme in ("http://", "https://"):
        library.session.mount(scheme, _Loopback(port))
    library.enableRateLimit = False


def with_market(library: Any) -> None:
    names = {"symbol": "ETH/USDT", "base": "ETH", "quote": "USDT", "baseId": "ETH", "quoteId": "USDT"}
    kinds = {"id": "ETHUSDT", "numericId": 1, "type": "spot", "spot": True, "active": True, "info": {}}
    numbers = {"precision": {"amount": 0.01, "price": 0.01}, "priceScale": 8, "valueScale": 8}
    if library.id == "nado":
        kinds["id"] = "1"
    library.set_markets([library.safe_market_structure(names | kinds | numbers)])


def test_every_listed_exchange_has_a_sample() -> None:
    assert len(LISTED) > 60
    assert set(LISTED) - set(SAMPLES) == set(REFUSED)


@pytest.mark.parametrize("exchange", [name for name in LISTED if name not in REFUSED])
def test_an_exchange_gives_a_candle(exchange: str) -> None:
    with serving(SAMPLES[exchange]) as port:
        client = client_of(exchange, port)
        with_market(client._ccxt)
        frame = client.candles("ETH/USDT", start_ms=START_MS, end_ms=END_MS)
    assert len(frame)
    opened, first, high, low, last = frame.row(0)[:5]
    assert EARLIEST_MS < opened.timestamp() * 1000 < LATEST_MS
    assert 0 < low <= min(first, last) <= max(first, last) <= high


@pytest.mark.parametrize("exchange", LISTED)
def test_a_list_of_symbols_fails_no_sooner_than_in_the_library(exchange: str) -> None:
    """What we set before asking for symbols must not break the library's own reading of them."""
    with serving({}) as port:
        plain = getattr(ccxt, exchange)({"enableRateLimit": False})
        redirected(plain, port)
        ours = client_of(exchange, port)
        outcomes = [_outcome(plain.fetch_markets), _outcome(ours._ccxt.fetch_markets)]
    assert outcomes[1] in (outcomes[0], "read")


@pytest.mark.parametrize("exchange", ["htx", "mexc"])
def test_switches_of_kinds_keep_their_shape(exchange: str) -> None:
    client = ExchangeClient(exchange, timeout_s=5, max_page_bars=1500)
    kinds = client._ccxt.options["fetchMarkets"]["types"]
    assert {name for name, is_listed in kinds.items() if is_listed} == {"spot"}
    assert len(kinds) > 1


def test_names_of_kinds_become_spot_alone() -> None:
    for exchange in ("binance", "okx", "gate"):
        client = ExchangeClient(exchange, timeout_s=5, max_page_bars=1500)
        assert client._ccxt.options["fetchMarkets"]["types"] == ["spot"]


def test_an_answer_that_the_library_cannot_read_may_be_a_fault_of_the_program() -> None:
    with serving({}) as port:
        client = client_of("htx", port)
        client._ccxt.options["fetchMarkets"]["types"] = ["spot"]  # breaks the library's reading of any answer
        with pytest.raises(MalformedAnswer, match=r"AttributeError.*fault of the program or of ccxt"):
            asking_of(client).ask("its symbols", client.symbols)


def test_a_fault_before_any_answer_is_called_a_fault_of_the_program() -> None:
    with serving({}) as port:
        client = client_of("htx", port)
        client._ccxt.fetch("http://127.0.0.1/earlier")  # an answer of an earlier question
        with pytest.raises(ProgramFault, match="failed before any answer came"):
            asking_of(client).ask("candles", lambda: broken_before_asking(client))


def broken_before_asking(client: ExchangeClient) -> None:
    raise KeyError(client)


def test_exchanges_without_candles_of_trades_are_refused_with_the_cause() -> None:
    for exchange, cause in REFUSED.items():
        with serving({}) as port:
            client = client_of(exchange, port)
            with_market(client._ccxt)
            with pytest.raises(ExchangeError, match=cause):
                asking_of(client).ask("candles", partial(client.candles, "ETH/USDT", start_ms=START_MS, end_ms=END_MS))


def asking_of(client: ExchangeClient) -> Asking[ExchangeClient]:
    policy = load_settings().exchange_access
    return Asking(client, exchange=client._ccxt.id, policy=policy, attempts=1, deadline=Deadline(30.0))


def _outcome(question: Any) -> str:
    try:
        question()
    except Exception as error:
        return type(error).__name__
    return "read"
