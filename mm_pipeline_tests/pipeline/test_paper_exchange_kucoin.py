"""ccxt's own kucoin class against the paper exchange over HTTP, unchanged."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ccxt
import polars as pl
import pytest

from mm_pipeline.domain.market import Market
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.exchange import PaperExchange
from mm_pipeline.paper.http.bar_edits import revise_bar
from mm_pipeline.paper.http.faults import EditedBars
from mm_pipeline.paper.markets.markets import PaperMarket, RecordedCandles, SimulatedMarket

START = datetime(2025, 1, 1, tzinfo=UTC)
NOW = datetime(2025, 2, 20, 12, 7, 30, tzinfo=UTC)
M15 = 900_000
SOURCE = SimulatedMarket(seed=9, start=START, bars=6000, quiet_share=0.02)


def kucoin_client(paper: PaperExchange, *, timeout_ms: int = 5000) -> ccxt.kucoin:
    """A ccxt kucoin client that talks to the paper exchange."""
    options = {"uta": False, "hf": True, "fetchMarkets": {"types": ["spot"], "fetchTickersFees": False}}
    client = ccxt.kucoin({"timeout": timeout_ms, "enableRateLimit": False, "options": options})
    client.session.trust_env = False
    client.urls["api"] = dict.fromkeys(client.urls["api"], paper.base_url("kucoin"))
    return client


@pytest.fixture(scope="module")
def paper() -> Iterator[PaperExchange]:
    market = PaperMarket(market=Market("kucoin", "ETH/USDT"), source=SOURCE)
    with PaperExchange(markets=[market], clock=PaperClock.standing(NOW)) as exchange:
        yield exchange


@pytest.fixture(scope="module")
def client(paper: PaperExchange) -> Iterator[ccxt.kucoin]:
    made = kucoin_client(paper)
    yield made
    made.session.close()


def _all_pages(client: Any, *, since_ms: int, until_ms: int, limit: int) -> list[list[float]]:
    rows: list[list[float]] = []
    while since_ms < until_ms:
        rows += client.fetch_ohlcv("ETH/USDT", "15m", since=since_ms, limit=limit)
        since_ms += limit * M15
    return rows


def test_markets_load_with_increments(client: ccxt.kucoin, paper: PaperExchange) -> None:
    paper.calls.clear()
    market = client.load_markets(reload=True)["ETH/USDT"]
    assert (market["id"], market["spot"], market["active"]) == ("ETH-USDT", True, True)
    assert market["precision"] == {"amount": 1e-7, "price": 0.01}
    assert set(client.currencies) == {"ETH", "USDT"}
    asked = [call.target.removeprefix("/kucoin") for call in paper.calls]
    assert sorted(asked) == ["/api/v2/symbols", "/api/v3/currencies"]


def test_time_and_status_are_the_servers(client: ccxt.kucoin) -> None:
    assert client.fetch_time() == int(NOW.timestamp() * 1000)
    assert client.fetch_status()["status"] == "ok"


@pytest.mark.parametrize("limit", [100, 1500])
def test_paging_by_since_and_limit_gives_every_traded_bar_once(client: ccxt.kucoin, limit: int) -> None:
    since_ms = int(START.timestamp() * 1000)
    rows = _all_pages(client, since_ms=since_ms, until_ms=int(NOW.timestamp() * 1000), limit=limit)
    frame = SOURCE.load(price_increment=0.01)
    expected = frame.filter((pl.col("open_time") + timedelta(minutes=15) <= NOW) & (pl.col("volume") > 0))
    columns = expected.select(pl.col("open_time").dt.epoch("ms"), "open", "high", "low", "close", "volume")
    assert [tuple(row) for row in rows[:-1]] == columns.rows()
    assert rows[-1][0] == int(NOW.timestamp() * 1000) // M15 * M15, "the open bar comes last"


def test_hourly_candles_are_made_of_15m_ones(client: ccxt.kucoin) -> None:
    since_ms = int(START.timestamp() * 1000)
    hour = client.fetch_ohlcv("ETH/USDT", "1h", since=since_ms, limit=10)[4]
    parts = client.fetch_ohlcv("ETH/USDT", "15m", since=hour[0], limit=4)
    assert hour[1] == parts[0][1]
    assert hour[2] == max(part[2] for part in parts)
    assert hour[3] == min(part[3] for part in parts)
    assert hour[4] == parts[-1][4]
    assert hour[5] == pytest.approx(sum(part[5] for part in parts))


@pytest.mark.parametrize("timeframe", ["5m", "1m"])
def test_finer_candles_make_up_the_15m_ones(client: ccxt.kucoin, timeframe: str) -> None:
    parents = client.fetch_ohlcv("ETH/USDT", "15m", since=int(START.timestamp() * 1000), limit=10)
    for opened_ms, first, high, low, last, volume in parents:
        count = {"5m": 3, "1m": 15}[timeframe]
        parts = client.fetch_ohlcv(
            "ETH/USDT", timeframe, since=opened_ms, limit=count, params={"endAt": opened_ms // 1000 + 899}
        )
        assert len(parts) == count
        assert (parts[0][1], max(part[2] for part in parts), min(part[3] for part in parts)) == (first, high, low)
        assert (parts[-1][4], sum(part[5] for part in parts)) == (last, pytest.approx(volume))


@pytest.mark.parametrize("broken", ["15min", "5min"])
def test_fault_can_be_of_one_timeframe_alone(paper: PaperExchange, client: ccxt.kucoin, broken: str) -> None:
    at_ms = int(NOW.timestamp() * 1000) // M15 * M15 - 8 * M15
    rule = paper.faults.add(EditedBars(edit=revise_bar(at_ms, high=1.0)), path_contains=f"type={broken}&")
    try:
        highs = {name: client.fetch_ohlcv("ETH/USDT", name, since=at_ms, limit=2)[0][2] for name in ("15m", "5m")}
    finally:
        paper.faults.remove(rule)

    assert {name for name, high in highs.items() if high == 1.0} == {broken.removesuffix("in")}


def test_ticker_agrees_with_the_newest_candle(client: ccxt.kucoin) -> None:
    ticker = client.fetch_ticker("ETH/USDT")
    newest = client.fetch_ohlcv("ETH/USDT", "15m", since=int(NOW.timestamp() * 1000) - 4 * M15, limit=10)[-1]
    assert ticker["last"] == newest[4]
    assert ticker["bid"] < ticker["ask"]
    assert ticker["low"] <= ticker["last"] <= ticker["high"]
    assert ticker["timestamp"] == int(NOW.timestamp() * 1000)


def test_all_tickers_load(client: ccxt.kucoin) -> None:
    assert client.fetch_tickers()["ETH/USDT"]["last"] == client.fetch_ticker("ETH/USDT")["last"]


def test_unlisted_symbol_is_named_by_ccxt(client: ccxt.kucoin) -> None:
    with pytest.raises(ccxt.BadSymbol, match="XRP/USDT"):
        client.fetch_ohlcv("XRP/USDT", "15m")


def test_unknown_url_is_not_supported(client: ccxt.kucoin) -> None:
    with pytest.raises(ccxt.NotSupported, match="404000"):
        client.publicGetMarkets()


def test_signed_endpoint_knows_no_key_where_there_is_no_account(paper: PaperExchange) -> None:
    client = kucoin_client(paper)
    client.apiKey, client.secret, client.password = "key", "secret", "passphrase"
    client.nonce = paper.clock.now_ms
    with pytest.raises(ccxt.AuthenticationError, match="400003"):
        client.privateGetHfAccountsOpened()
    client.session.close()


def test_recorded_candles_are_served_unchanged(recorded_data: Path) -> None:
    path = recorded_data / "kucoin_ETH-USDT_15m_2025-01-01_2025-09-30.parquet"
    now = datetime(2025, 3, 1, 12, tzinfo=UTC)
    market = PaperMarket(market=Market("kucoin", "ETH/USDT"), source=RecordedCandles(path=path))
    with PaperExchange(markets=[market], clock=PaperClock.standing(now)) as exchange:
        client = kucoin_client(exchange)
        since_ms = int(datetime(2025, 2, 1, tzinfo=UTC).timestamp() * 1000)
        rows = _all_pages(client, since_ms=since_ms, until_ms=int(now.timestamp() * 1000), limit=1000)
        client.session.close()
    recorded = pl.read_parquet(path).filter(
        pl.col("open_time").is_between(datetime(2025, 2, 1, tzinfo=UTC), now, closed="left")
    )
    columns = recorded.select(pl.col("open_time").dt.epoch("ms"), "open", "high", "low", "close", "volume")
    assert [tuple(row) for row in rows] == columns.rows()


def test_several_clients_at_once_get_the_same_answers(paper: PaperExchange) -> None:
    paper.calls.clear()
    clients = [kucoin_client(paper) for _ in range(6)]
    request = {"symbol": "ETH-USDT", "type": "1hour", "startAt": int(START.timestamp())}
    with ThreadPoolExecutor(len(clients)) as pool:
        asked = [pool.submit(client.publicGetMarketCandles, request) for client in clients for _ in range(5)]
        answers = [future.result()["data"] for future in asked]
    for client in clients:
        client.session.close()
    assert all(answer == answers[0] for answer in answers)
    assert paper.calls.count("candles") == 30


def test_time_moves_while_the_server_runs(paper: PaperExchange, client: ccxt.kucoin) -> None:
    paper.clock.advance(timedelta(minutes=15))
    assert client.fetch_time() == int(NOW.timestamp() * 1000) + M15
    newest = client.fetch_ohlcv("ETH/USDT", "15m", since=int(NOW.timestamp() * 1000) - 2 * M15, limit=10)[-1]
    assert newest[0] == int(NOW.timestamp() * 1000) // M15 * M15 + M15
    paper.clock.stand_at(NOW)
