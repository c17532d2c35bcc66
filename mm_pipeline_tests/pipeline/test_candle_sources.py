"""One suite for every candle source: memory, files, and an exchange over HTTP through ccxt (two dialects)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from mm_pipeline.adapters.candles.candle_files import CandleFile, CandleFiles
from mm_pipeline.adapters.candles.exchange_candles import ExchangeCandles
from mm_pipeline.adapters.candles.memory_candles import MemoryCandles
from mm_pipeline.adapters.candles.stored import StoredCandles
from mm_pipeline.adapters.candles.update import update_candles
from mm_pipeline.adapters.clock import FixedClock
from mm_pipeline.adapters.exchange.memory_circuits import MemoryCircuits
from mm_pipeline.domain.candles import RAW_SCHEMA, CandleSource, empty_candles
from mm_pipeline.domain.errors import CandleFileError, ExchangeError, MarketNotFound
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.market import Market
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.exchange import PaperExchange
from mm_pipeline.paper.markets.markets import PaperMarket, RecordedCandles
from mm_pipeline_tests.candle_samples import DAY_MS, STEP_MS, at_ms, exchange_policy, walk

BARS = 3_300
GONE = {1_499, 1_500, 1_777, 1_778}
KUCOIN, BINANCE = Market("kucoin", "ETH/USDT"), Market("binance", "ETH/USDT")
NOW_MS = at_ms(BARS)
Build = Callable[[], tuple[CandleSource, Market]]


@pytest.fixture(scope="module")
def candles() -> pl.DataFrame:
    """More than two pages of candles, bars missing inside and on the edge of a page."""
    return walk(slot for slot in range(BARS) if slot not in GONE)


@pytest.fixture(scope="module")
def paper(candles: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PaperExchange]:
    path = tmp_path_factory.mktemp("served") / "candles.parquet"
    candles.write_parquet(path)
    markets = [PaperMarket(market=market, source=RecordedCandles(path=path)) for market in (KUCOIN, BINANCE)]
    with PaperExchange(markets=markets, clock=PaperClock.standing(from_ms(NOW_MS))) as server:
        yield server


@pytest.fixture(params=["memory", "files", "kucoin", "binance"])
def build(request: pytest.FixtureRequest, candles: pl.DataFrame, paper: PaperExchange, tmp_path: Path) -> Build:
    def from_files() -> tuple[CandleSource, Market]:
        parts = {"2025-01": candles[:1000], "2025-02": candles[1000:]}
        for name, part in parts.items():
            part.write_parquet(tmp_path / f"kucoin_ETH-USDT_15m_{name}.parquet")
        return CandleFiles(sorted(tmp_path.glob("*.parquet"))), KUCOIN

    def from_exchange(market: Market) -> tuple[CandleSource, Market]:
        source = ExchangeCandles(
            market.exchange,
            policy=exchange_policy(),
            clock=FixedClock(from_ms(NOW_MS)),
            circuits=MemoryCircuits(),
            base_url=paper.base_url(market.exchange),
        )
        return source, market

    return {
        "memory": lambda: (MemoryCandles({KUCOIN: candles}), KUCOIN),
        "files": from_files,
        "kucoin": lambda: from_exchange(KUCOIN),
        "binance": lambda: from_exchange(BINANCE),
    }[str(request.param)]


def test_whole_range_comes_in_full_and_in_the_promised_columns(build: Build, candles: pl.DataFrame) -> None:
    source, market = build()

    raw = source.fetch(market, start_ms=at_ms(0), end_ms=NOW_MS)

    assert dict(raw.schema) == RAW_SCHEMA
    assert_same_candles(raw, candles)


def test_range_is_half_open(build: Build, candles: pl.DataFrame) -> None:
    source, market = build()

    raw = source.fetch(market, start_ms=at_ms(100), end_ms=at_ms(103))

    assert_same_candles(raw, candles[100:103])


def test_range_without_trades_is_empty_and_no_error(build: Build) -> None:
    source, market = build()

    raw = source.fetch(market, start_ms=at_ms(1_777), end_ms=at_ms(1_779))

    assert raw.equals(empty_candles())


def test_range_before_the_first_candle_is_empty_and_no_error(build: Build) -> None:
    source, market = build()

    assert source.fetch(market, start_ms=at_ms(0) - DAY_MS, end_ms=at_ms(0)).is_empty()


def test_unknown_market_is_not_found(build: Build) -> None:
    source, market = build()

    with pytest.raises(MarketNotFound, match="ETH/USDX") as caught:
        source.fetch(Market(market.exchange, "ETH/USDX"), start_ms=at_ms(0), end_ms=NOW_MS)

    assert caught.value.code == "market_not_found"
    assert caught.value.hint


def test_requests_are_counted(build: Build) -> None:
    source, market = build()

    source.fetch(market, start_ms=at_ms(0), end_ms=NOW_MS)

    assert source.requests_made > 0


def test_clock_is_compared_where_there_is_one(build: Build) -> None:
    source, _ = build()

    assert source.clock_offset_ms() == (0 if isinstance(source, ExchangeCandles) else None)


def test_update_from_nothing_and_again_gives_the_same_candles(build: Build, candles: pl.DataFrame) -> None:
    source, market = build()
    wanted = {"start_ms": at_ms(0), "end_ms": NOW_MS, "now_ms": NOW_MS, "policy": exchange_policy()}

    first = update_candles(source, StoredCandles(market=market), **wanted)
    again = update_candles(source, first.after, **wanted | {"now_ms": NOW_MS + 15 * 60_000})
    settled = update_candles(source, again.after, **wanted)

    assert first.problem is None
    assert_same_candles(first.after.candles, candles)
    assert again.after.candles.equals(first.after.candles)
    assert again.revisions.is_empty()
    assert settled.requests_made <= 1


def assert_same_candles(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    found = found.sort("open_time")
    assert found["open_time"].equals(expected["open_time"])
    for name in list(RAW_SCHEMA)[1:]:
        digits = 8 if name == "volume" else 12
        assert (found[name] - expected[name]).abs().max() <= 10.0**-digits, name


class TestFiles:
    def test_recorded_file_reads_as_it_is(self, recorded_data: Path) -> None:
        path = recorded_data / "kucoin_ETH-USDT_15m_2025-01-01_2025-09-30.parquet"
        source = CandleFiles([path])

        raw = source.fetch(KUCOIN, start_ms=0, end_ms=2**50)

        assert source.markets == (KUCOIN,)
        assert raw.equals(pl.read_parquet(path))

    @pytest.mark.parametrize(
        "name",
        ["eth.parquet", "kucoin_ETHUSDT_15m.parquet", "kucoin_eth-usdt_15m.parquet", "KUCOIN_ETH-USDT_15m.parquet"],
    )
    def test_name_that_tells_no_market_is_refused_with_a_mend(self, name: str) -> None:
        with pytest.raises(CandleFileError, match=name) as caught:
            CandleFiles([Path(name)])

        assert "kucoin_ETH-USDT_15m_2025-01-01" in caught.value.hint

    @pytest.mark.parametrize("timeframe", ["1m", "5m", "1h", "4h"])
    def test_other_timeframe_is_refused_with_a_mend(self, timeframe: str) -> None:
        with pytest.raises(CandleFileError, match=f"holds {timeframe} candles") as caught:
            CandleFiles([Path(f"kucoin_ETH-USDT_{timeframe}_2025-01-01_2025-09-30.parquet")])

        assert "15m file" in caught.value.hint

    def test_market_may_be_told_where_the_name_does_not(self, tmp_path: Path) -> None:
        walk(range(3)).write_parquet(tmp_path / "mine.parquet")

        raw = CandleFiles([CandleFile(tmp_path / "mine.parquet", KUCOIN)]).fetch(KUCOIN, start_ms=0, end_ms=2**50)

        assert len(raw) == 3

    def test_time_in_another_unit_and_whole_numbers_are_read(self, tmp_path: Path) -> None:
        path = tmp_path / "kucoin_ETH-USDT_15m.parquet"
        walk(range(3)).with_columns(
            pl.col("open_time").cast(pl.Datetime("ns", "UTC")), pl.col("volume").cast(pl.Int64)
        ).write_parquet(path)

        raw = CandleFiles([path]).fetch(KUCOIN, start_ms=0, end_ms=2**50)

        assert dict(raw.schema) == RAW_SCHEMA

    @pytest.mark.parametrize(
        ("spoil", "says"),
        [
            (lambda frame: frame.drop("volume"), "lacks the columns volume"),
            (lambda frame: frame.with_columns(pl.col("open_time").dt.replace_time_zone(None)), "not a datetime in UTC"),
            (lambda frame: frame.with_columns(pl.col("open_time").to_physical()), "not a datetime in UTC"),
            (lambda frame: frame.with_columns(pl.col("close").cast(pl.String)), "close of .* are not numbers"),
            (
                lambda frame: frame.with_columns(open_time=pl.lit(None, dtype=RAW_SCHEMA["open_time"])),
                "rows without open_time",
            ),
        ],
    )
    def test_wrong_columns_are_refused_with_file_and_mend(
        self, tmp_path: Path, spoil: Callable[[pl.DataFrame], pl.DataFrame], says: str
    ) -> None:
        path = tmp_path / "kucoin_ETH-USDT_15m.parquet"
        spoil(walk(range(3))).write_parquet(path)

        with pytest.raises(CandleFileError, match=says) as caught:
            CandleFiles([path]).fetch(KUCOIN, start_ms=0, end_ms=2**50)

        assert path.name in caught.value.problem
        assert caught.value.hint

    @pytest.mark.parametrize("content", [b"", b"PAR1 this is not a Parquet file PAR1", b"open_time,open\n1,2\n"])
    def test_file_that_is_not_parquet_is_refused(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "kucoin_ETH-USDT_15m.parquet"
        path.write_bytes(content)

        with pytest.raises(CandleFileError, match="cannot be read as Parquet"):
            CandleFiles([path]).fetch(KUCOIN, start_ms=0, end_ms=2**50)

    def test_missing_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(CandleFileError, match="does not exist"):
            CandleFiles([tmp_path / "kucoin_ETH-USDT_15m.parquet"]).fetch(KUCOIN, start_ms=0, end_ms=2**50)


def test_memory_raises_the_problem_it_was_given() -> None:
    source = MemoryCandles({KUCOIN: walk(range(3))}, {KUCOIN: ExchangeError("away")})

    with pytest.raises(ExchangeError, match="away"):
        source.fetch(KUCOIN, start_ms=0, end_ms=STEP_MS)


def test_page_edges_are_asked_for_once(paper: PaperExchange) -> None:
    """3,300 bars, two of them missing over the first page's end: the next page begins where the first one ended."""
    source = ExchangeCandles(
        "kucoin",
        policy=exchange_policy(),
        clock=FixedClock(datetime.fromtimestamp(NOW_MS / 1000, UTC)),
        circuits=MemoryCircuits(),
        base_url=paper.base_url("kucoin"),
    )
    paper.calls.clear()

    source.fetch(KUCOIN, start_ms=at_ms(0), end_ms=NOW_MS)

    assert paper.calls.count("market/candles") == 3
