"""Every kind of fault as ccxt's kucoin class sees it; what the watchdog does about them is tested with the watchdog."""

import math
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import ccxt
import pytest

from mm_pipeline.domain.market import Market
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.exchange import PaperExchange
from mm_pipeline.paper.http.bar_edits import drop_bar, repeat_bar, revise_bar, shuffle_bars
from mm_pipeline.paper.http.faults import (
    PAGE_1015,
    PAGE_BAD_GATEWAY,
    PAGE_GATEWAY_TIMEOUT,
    ClockOffset,
    ConnectionLost,
    Delayed,
    DrippedBody,
    EditedBars,
    ErrorStatus,
    Fault,
    HtmlPage,
    NullData,
    RemovedSymbol,
    TruncatedJson,
    kucoin_internal_error,
    kucoin_too_many_requests,
)
from mm_pipeline.paper.markets.markets import PaperMarket, SimulatedMarket
from mm_pipeline_tests.pipeline.test_paper_exchange_kucoin import kucoin_client

START = datetime(2025, 1, 1, tzinfo=UTC)
START_MS = 1_735_689_600_000
NOW = datetime(2025, 1, 10, tzinfo=UTC)
M15 = 900_000
AT = START_MS + 4 * M15
MARKET = PaperMarket(market=Market("kucoin", "ETH/USDT"), source=SimulatedMarket(seed=3, start=START, bars=1000))


@pytest.fixture(scope="module")
def server() -> Iterator[PaperExchange]:
    with PaperExchange(markets=[MARKET], clock=PaperClock.standing(NOW)) as exchange:
        yield exchange


@pytest.fixture
def paper(server: PaperExchange) -> Iterator[PaperExchange]:
    yield server
    server.faults.clear()
    server.calls.clear()


@pytest.fixture(scope="module")
def client(server: PaperExchange) -> Iterator[ccxt.kucoin]:
    made = kucoin_client(server, timeout_ms=1000)
    made.load_markets()
    yield made
    made.session.close()


def _fetch(client: ccxt.kucoin) -> list[list[float]]:
    return client.fetch_ohlcv("ETH/USDT", "15m", since=START_MS, limit=10)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (kucoin_too_many_requests(reset_ms=4000), ccxt.RateLimitExceeded),
        (kucoin_internal_error(), ccxt.ExchangeNotAvailable),
        (HtmlPage(page=PAGE_BAD_GATEWAY, status=502), ccxt.ExchangeNotAvailable),
        (HtmlPage(page=PAGE_GATEWAY_TIMEOUT, status=504), ccxt.RequestTimeout),
        (HtmlPage(page=PAGE_1015, status=429), ccxt.RateLimitExceeded),
        (ErrorStatus(status=503, payload={"code": "990000", "msg": "unknown"}), ccxt.ExchangeError),
        (ErrorStatus(status=504, payload={"code": "990000", "msg": "unknown"}), ccxt.ExchangeError),
        (ConnectionLost(is_reset=True), ccxt.NetworkError),
        (ConnectionLost(is_reset=False), ccxt.NetworkError),
        (Delayed(delay_s=1.5), ccxt.RequestTimeout),
        (RemovedSymbol(symbol="ETH/USDT"), ccxt.BadRequest),
    ],
    ids=lambda value: getattr(value, "__name__", f"{type(value).__name__}-{getattr(value, 'status', '')}"),
)
def test_fault_becomes_this_ccxt_error_once_and_then_is_over(
    paper: PaperExchange, client: ccxt.kucoin, fault: Fault, error: type[Exception]
) -> None:
    paper.faults.add(fault, path_contains="candles", times=1)
    with pytest.raises(error) as caught:
        _fetch(client)
    assert type(caught.value) is error
    assert len(_fetch(client)) == 10
    assert [call.faults for call in paper.calls.matching("candles")] == [(type(fault).__name__,), ()]


@pytest.mark.parametrize(
    "fault",
    [HtmlPage(), HtmlPage(page=PAGE_1015), NullData(), TruncatedJson()],
    ids=["html", "1015", "null", "truncated"],
)
def test_broken_answer_with_status_200_is_an_empty_list_to_ccxt(
    paper: PaperExchange, client: ccxt.kucoin, fault: Fault
) -> None:
    paper.faults.add(fault, path_contains="candles", times=1)
    assert _fetch(client) == []
    assert client.last_http_response.startswith(("<", "{"))


def test_rate_limit_tells_when_to_come_back(paper: PaperExchange, client: ccxt.kucoin) -> None:
    paper.faults.add(kucoin_too_many_requests(reset_ms=4000), path_contains="candles", times=1)
    with pytest.raises(ccxt.RateLimitExceeded, match="429000"):
        _fetch(client)
    assert client.last_response_headers["gw-ratelimit-reset"] == "4000"
    assert client.last_response_headers["gw-ratelimit-remaining"] == "0"


def test_dripped_body_outlasts_the_read_timeout_without_an_error(paper: PaperExchange, client: ccxt.kucoin) -> None:
    paper.faults.add(DrippedBody(chunk_bytes=64, pause_s=0.12), path_contains="candles", times=1)
    begun_s = time.monotonic()
    assert len(_fetch(client)) == 10
    assert time.monotonic() - begun_s > client.timeout / 1000


def test_edited_bars_pass_through_ccxt(paper: PaperExchange, client: ccxt.kucoin) -> None:
    clean = _fetch(client)
    paper.faults.add(EditedBars(edit=revise_bar(AT, close=math.nan)), path_contains="candles", times=1)
    assert math.isnan(_fetch(client)[4][4])
    paper.faults.add(EditedBars(edit=revise_bar(AT, close=None)), path_contains="candles", times=1)
    assert _fetch(client)[4][4] is None
    paper.faults.add(EditedBars(edit=revise_bar(AT, low=-1.0, high=1.0)), path_contains="candles", times=1)
    assert _fetch(client)[4][2:4] == [1.0, -1.0]
    paper.faults.add(EditedBars(edit=drop_bar(AT)), path_contains="candles", times=1)
    assert _fetch(client) == clean[:4] + clean[5:]
    paper.faults.add(EditedBars(edit=repeat_bar(AT, close=7.0)), path_contains="candles", times=1)
    assert [row[4] for row in _fetch(client) if row[0] == AT] in ([clean[4][4], 7.0], [7.0, clean[4][4]])
    paper.faults.add(EditedBars(edit=shuffle_bars()), path_contains="candles", times=1)
    assert sorted(_fetch(client)) == clean
    assert _fetch(client) == clean


def test_shuffled_rows_leave_the_server_out_of_order(paper: PaperExchange, client: ccxt.kucoin) -> None:
    paper.faults.add(EditedBars(edit=shuffle_bars()), path_contains="candles", times=1)
    request = {"symbol": "ETH-USDT", "type": "15min", "startAt": START_MS // 1000, "endAt": AT // 1000 + 9000}
    times = [int(row[0]) for row in client.publicGetMarketCandles(request)["data"]]
    assert times != sorted(times, reverse=True)


def test_clock_offset_shows_in_the_servers_time(paper: PaperExchange, client: ccxt.kucoin) -> None:
    paper.faults.add(ClockOffset(offset_ms=-300_000), path_contains="timestamp", times=1)
    assert client.fetch_time() == int(NOW.timestamp() * 1000) - 300_000
    assert client.fetch_time() == int(NOW.timestamp() * 1000)


def test_removed_symbol_is_missing_from_the_list(paper: PaperExchange) -> None:
    paper.faults.add(RemovedSymbol(symbol="ETH/USDT"))
    client = kucoin_client(paper)
    assert client.load_markets() == {}
    client.session.close()


def test_null_symbols_are_an_empty_market_list_to_ccxt(paper: PaperExchange) -> None:
    paper.faults.add(NullData(), path_contains="symbols")
    client = kucoin_client(paper)
    assert client.load_markets() == {}
    client.session.close()


def test_html_instead_of_the_time_is_none_to_ccxt(paper: PaperExchange, client: ccxt.kucoin) -> None:
    paper.faults.add(HtmlPage(), path_contains="timestamp")
    assert client.fetch_time() is None


def test_calls_are_counted_with_their_times(paper: PaperExchange, client: ccxt.kucoin) -> None:
    begun_s = time.monotonic()
    for _ in range(3):
        client.fetch_time()
    assert paper.calls.count("timestamp") == len(paper.calls) == 3
    times = [call.at_s for call in paper.calls]
    assert begun_s <= times[0] <= times[1] <= times[2] <= time.monotonic()
    assert {(call.status, call.paper_ms) for call in paper.calls} == {(200, int(NOW.timestamp() * 1000))}


def test_stopped_server_refuses_and_comes_back_on_its_port(paper: PaperExchange, client: ccxt.kucoin) -> None:
    address = paper.url
    paper.stop()
    with pytest.raises(ccxt.NetworkError):
        _fetch(client)
    paper.start()
    assert paper.url == address
    assert len(_fetch(client)) == 10


def test_stop_does_not_wait_for_a_delayed_answer(client: ccxt.kucoin) -> None:
    slow = PaperExchange(markets=[MARKET], clock=PaperClock.standing(NOW)).start()
    slow.faults.add(Delayed(delay_s=60))
    impatient = kucoin_client(slow, timeout_ms=100)
    with pytest.raises(ccxt.RequestTimeout):
        impatient.fetch_time()
    begun_s = time.monotonic()
    slow.stop()
    impatient.session.close()
    assert time.monotonic() - begun_s < 5
