"""ccxt's binance class against the second dialect, beside kucoin on the same server."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import ccxt
import polars as pl
import pytest

from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.domain.market import Market
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.exchange import PaperExchange
from mm_pipeline.paper.http.faults import NullData, RemovedSymbol
from mm_pipeline.paper.http.rate_limit import RateLimit
from mm_pipeline.paper.markets.markets import PaperMarket, SimulatedMarket
from mm_pipeline_tests.pipeline.test_paper_exchange_kucoin import kucoin_client

START = datetime(2025, 1, 1, tzinfo=UTC)
NOW = datetime(2025, 2, 20, 12, 7, 30, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
M15 = 900_000
SOURCE = SimulatedMarket(seed=9, start=START, bars=6000, quiet_share=0.02)
OTHER = SimulatedMarket(seed=10, start=START, bars=6000, start_price=2000.0)
MARKETS = [
    PaperMarket(market=Market("binance", "ETH/USDT"), source=SOURCE),
    PaperMarket(market=Market("kucoin", "ETH/USDT"), source=OTHER),
]


def binance_client(paper: PaperExchange) -> ccxt.binance:
    """A ccxt binance client, spot only, that talks to the paper exchange."""
    client = ccxt.binance({"timeout": 5000, "enableRateLimit": False, "options": {"fetchMarkets": {"types": ["spot"]}}})
    client.session.trust_env = False
    client.urls["api"] = dict.fromkeys(client.urls["api"], paper.base_url("binance"))
    return client


@pytest.fixture(scope="module")
def paper() -> Iterator[PaperExchange]:
    with PaperExchange(markets=MARKETS, clock=PaperClock.standing(NOW)) as exchange:
        yield exchange


@pytest.fixture
def client(paper: PaperExchange) -> Iterator[ccxt.binance]:
    made = binance_client(paper)
    yield made
    made.session.close()
    paper.faults.clear()


def test_markets_time_and_ticker_load(client: ccxt.binance) -> None:
    market = client.load_markets()["ETH/USDT"]
    assert (market["id"], market["spot"], market["active"]) == ("ETHUSDT", True, True)
    assert market["precision"]["price"] == 0.01
    assert market["precision"]["amount"] == 1e-7
    assert client.fetch_time() == NOW_MS
    ticker = client.fetch_ticker("ETH/USDT")
    newest = client.fetch_ohlcv("ETH/USDT", "15m")[-1]
    assert ticker["last"] == newest[4]


def test_paging_by_since_and_limit_gives_every_bar_quiet_ones_too(client: ccxt.binance) -> None:
    rows: list[list[float]] = []
    since_ms = int(START.timestamp() * 1000)
    while since_ms < NOW_MS:
        page = client.fetch_ohlcv("ETH/USDT", "15m", since=since_ms, limit=1000)
        rows += page
        since_ms = int(page[-1][0]) + M15
    expected = SOURCE.load(price_increment=0.01).filter(pl.col("open_time") + timedelta(minutes=15) <= NOW)
    columns = expected.select(pl.col("open_time").dt.epoch("ms"), "open", "high", "low", "close", "volume")
    assert [tuple(row) for row in rows[:-1]] == columns.rows()
    assert rows[-1][0] == NOW_MS // M15 * M15


def test_without_since_the_newest_bars_come(client: ccxt.binance) -> None:
    rows = client.fetch_ohlcv("ETH/USDT", "1h", limit=3)
    assert [row[0] for row in rows] == [NOW_MS // 3_600_000 * 3_600_000 - i * 3_600_000 for i in (2, 1, 0)]


@pytest.mark.parametrize(("timeframe", "count"), [("5m", 3), ("1m", 15)])
def test_finer_candles_make_up_the_15m_ones_quiet_ones_too(client: ccxt.binance, timeframe: str, count: int) -> None:
    parents = client.fetch_ohlcv("ETH/USDT", "15m", since=int(START.timestamp() * 1000), limit=60)
    parts = client.fetch_ohlcv("ETH/USDT", timeframe, since=parents[0][0], limit=60 * count)
    slots = [parts[at : at + count] for at in range(0, 60 * count, count)]

    made = [(slot[0][1], max(row[2] for row in slot), min(row[3] for row in slot), slot[-1][4]) for slot in slots]
    assert made == [tuple(row[1:5]) for row in parents]
    assert [sum(row[5] for row in slot) for slot in slots] == pytest.approx([row[5] for row in parents])
    assert client.fetch_ohlcv("ETH/USDT", timeframe)[-1][0] == NOW_MS // (M15 // count) * (M15 // count)


def test_both_exchanges_answer_at_once_with_their_own_prices(paper: PaperExchange, client: ccxt.binance) -> None:
    other = kucoin_client(paper)
    since_ms = NOW_MS - 8 * M15
    own = client.fetch_ohlcv("ETH/USDT", "15m", since=since_ms, limit=3)
    others = other.fetch_ohlcv("ETH/USDT", "15m", since=since_ms, limit=3)
    other.session.close()
    assert [row[0] for row in own] == [row[0] for row in others]
    assert [row[4] for row in own] != [row[4] for row in others]
    truth = {m: paper.state()["markets"][i]["last_price"] for i, m in enumerate(("binance", "kucoin"))}
    assert truth["binance"] != truth["kucoin"]


def test_symbol_that_was_removed_is_a_bad_symbol(paper: PaperExchange, client: ccxt.binance) -> None:
    client.load_markets()
    paper.faults.add(RemovedSymbol(symbol="ETH/USDT"), path_contains="/binance/")
    with pytest.raises(ccxt.BadSymbol):
        client.fetch_ohlcv("ETH/USDT", "15m")


def test_null_answer_becomes_four_empty_rows_in_ccxt(paper: PaperExchange, client: ccxt.binance) -> None:
    client.load_markets()
    paper.faults.add(NullData(), path_contains="klines")
    assert client.fetch_ohlcv("ETH/USDT", "15m") == [[None] * 6] * 4, "ccxt reads the letters n, u, l, l as rows"


def test_exhausted_weight_is_ddos_protection() -> None:
    limit = RateLimit(limit=20, window_s=60)
    with PaperExchange(markets=MARKETS, clock=PaperClock.standing(NOW), binance_limit=limit) as small:
        client = binance_client(small)
        client.load_markets()
        with pytest.raises(ccxt.DDoSProtection, match="-1003"):
            client.fetch_time()
        assert client.last_response_headers["Retry-After"] == "60"
        client.session.close()


def test_unknown_path_is_refused(client: ccxt.binance) -> None:
    with pytest.raises(ccxt.ExchangeError, match="is invalid"):
        client.publicGetDepth({"symbol": "ETHUSDT"})


def test_market_without_dialect_is_refused() -> None:
    with pytest.raises(ConfigError, match="kraken:ETH/USDT"):
        PaperExchange(markets=[PaperMarket(market=Market("kraken", "ETH/USDT"), source=SOURCE)])


def test_market_served_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="twice"):
        PaperExchange(markets=[MARKETS[0], MARKETS[0]])
