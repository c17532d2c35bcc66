"""Bars as visible at a moment: nothing of the future, the passed part of the open bar, coarse bars of fine ones."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_pipeline.domain.errors import CandleFileError, ConfigError
from mm_pipeline.domain.market import Market
from mm_pipeline.paper.markets.market_data import MarketData, as_bars
from mm_pipeline.paper.markets.markets import PaperMarket, RecordedCandles, SimulatedMarket
from mm_pipeline.paper.markets.simulation import simulate_market

START = datetime(2025, 1, 1, tzinfo=UTC)
START_MS = 1_735_689_600_000
M15, H1, H4 = 900_000, 3_600_000, 14_400_000
BARS = 400
SOURCE = SimulatedMarket(seed=5, start=START, bars=BARS, quiet_share=0.1)
MARKET = MarketData(PaperMarket(market=Market("kucoin", "ETH/USDT"), source=SOURCE))
FRAME = simulate_market(seed=5, start=START, bars=BARS, quiet_share=0.1)
COLUMNS = ["open", "high", "low", "close", "volume"]


def _visible(now_ms: int, *, interval_ms: int = M15, with_quiet: bool = True) -> tuple[np.ndarray, np.ndarray]:
    return MARKET.bars(now_ms=now_ms, interval_ms=interval_ms, start_ms=0, stop_ms=now_ms + 1, with_quiet=with_quiet)


@settings(max_examples=60, deadline=None)
@given(now_ms=st.integers(START_MS - M15, START_MS + (BARS + 4) * M15))
def test_closed_bars_are_the_recorded_ones_and_the_open_one_lies_inside_its_final_self(now_ms: int) -> None:
    times, values = _visible(now_ms)
    closed = int(np.clip((now_ms - START_MS) // M15, 0, BARS))
    assert np.array_equal(values[:closed, :5], FRAME[:closed].select(COLUMNS).to_numpy())
    assert len(times) - closed == (closed < BARS and now_ms > START_MS + closed * M15)
    if len(times) > closed:
        opened, high, low, last, volume = values[closed, :5]
        final = FRAME.row(closed, named=True)
        assert opened == final["open"]
        assert final["low"] <= low <= min(opened, last)
        assert max(opened, last) <= high <= final["high"]
        assert volume <= final["volume"]


def test_open_bar_only_grows_until_it_is_its_final_self() -> None:
    index = 10
    at = START_MS + index * M15
    rows = [as_bars(*_visible(at + passed))[-1] for passed in range(1, M15 + 1, 8999)]
    assert all(early.high <= late.high and early.low >= late.low for early, late in pairwise(rows))
    assert all(early.volume <= late.volume for early, late in pairwise(rows))
    assert list(as_bars(*_visible(at + M15))[-1][1:6]) == list(FRAME.select(COLUMNS).row(index))


def test_open_bar_reaches_the_nearer_extreme_first() -> None:
    final = FRAME.with_row_index().filter(
        (pl.col("volume") > 0) & (pl.col("high") - pl.col("open") < pl.col("open") - pl.col("low") - 1)
    )
    index = final["index"][0]
    _, values = _visible(START_MS + index * M15 + M15 // 3)
    assert values[-1, 1] == FRAME["high"][index]
    assert values[-1, 2] == FRAME["open"][index]


@pytest.mark.parametrize("interval_ms", [H1, H4])
def test_coarse_bars_equal_polars_aggregation(interval_ms: int) -> None:
    times, values = _visible(START_MS + BARS * M15, interval_ms=interval_ms, with_quiet=False)
    expected = (
        FRAME.filter(pl.col("volume") > 0)
        .group_by_dynamic("open_time", every=f"{interval_ms}ms")
        .agg(pl.first("open"), pl.max("high"), pl.min("low"), pl.last("close"), pl.sum("volume"))
    )
    assert times.tolist() == expected["open_time"].dt.epoch("ms").to_list()
    assert np.allclose(values[:, :5], expected.select(COLUMNS).to_numpy(), rtol=1e-12)


def test_quiet_bars_are_left_out_when_asked() -> None:
    times, values = _visible(START_MS + BARS * M15, with_quiet=False)
    traded = FRAME.filter(pl.col("volume") > 0)
    assert times.tolist() == traded["open_time"].dt.epoch("ms").to_list()
    assert len(times) < BARS
    assert (values[:, 4] > 0).all()


def test_window_takes_its_start_and_leaves_its_stop() -> None:
    now_ms = START_MS + BARS * M15
    times, _ = MARKET.bars(
        now_ms=now_ms, interval_ms=M15, start_ms=START_MS + M15 - 1, stop_ms=START_MS + 4 * M15, with_quiet=True
    )
    assert ((times - START_MS) // M15).tolist() == [1, 2, 3]


def test_day_stats_cover_the_last_24_hours() -> None:
    stats = MARKET.day_stats(START_MS + 200 * M15)
    day = FRAME[104:200]
    assert stats is not None
    assert (stats.open, stats.last) == (day["open"][0], day["close"][-1])
    assert (stats.high, stats.low) == (day["high"].max(), day["low"].min())
    assert stats.volume == pytest.approx(day["volume"].sum())


def test_day_without_bars_is_flat_at_the_last_price() -> None:
    stats = MARKET.day_stats(START_MS + (BARS + 200) * M15)
    last = FRAME["close"][-1]
    assert stats is not None
    assert (stats.open, stats.high, stats.low, stats.last, stats.volume) == (last, last, last, last, 0)
    assert MARKET.day_stats(START_MS) is None
    assert MARKET.last_price(START_MS) is None


def test_truth_ends_with_the_newest_closed_bar() -> None:
    truth = MARKET.truth(START_MS + 3 * M15 + 1)
    assert truth == [(START_MS + i * M15, FRAME["true_regime"][i], FRAME["is_jump"][i]) for i in range(3)]


def _write(path: Path, frame: pl.DataFrame) -> Path:
    frame.write_parquet(path)
    return path


def test_recording_is_shifted_by_whole_4h_and_ends_by_now(tmp_path: Path) -> None:
    path = _write(tmp_path / "kucoin_ETH-USDT_15m.parquet", FRAME.select("open_time", *COLUMNS))
    now = datetime(2026, 5, 4, 13, 27, tzinfo=UTC)
    source = RecordedCandles.playing_at(path, recorded_at=START + timedelta(days=2), at=now)
    played = source.load(price_increment=0.01)
    moved = played["open_time"][0] - START
    assert moved % timedelta(hours=4) == timedelta(0)
    assert timedelta(0) <= now - (START + timedelta(days=2) + moved) < timedelta(hours=4)
    assert played.select(COLUMNS).equals(FRAME.select(COLUMNS))
    data = MarketData(PaperMarket(market=Market("kucoin", "ETH/USDT"), source=source))
    assert data.truth(2**60) is None


def test_shift_that_would_break_coarse_bars_is_refused() -> None:
    with pytest.raises(ConfigError, match="4h"):
        RecordedCandles(path=Path("x.parquet"), shift=timedelta(hours=1))


def test_missing_or_wrong_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CandleFileError, match=r"gone\.parquet"):
        RecordedCandles(path=tmp_path / "gone.parquet").load(price_increment=0.01)
    path = _write(tmp_path / "short.parquet", FRAME.select("open_time", "close"))
    with pytest.raises(CandleFileError, match=r"short\.parquet"):
        RecordedCandles(path=path).load(price_increment=0.01)


def test_recording_with_a_repeated_time_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "twice.parquet", pl.concat([FRAME[:5], FRAME[4:5]]))
    with pytest.raises(ConfigError, match="strict time order"):
        MarketData(PaperMarket(market=Market("kucoin", "ETH/USDT"), source=RecordedCandles(path=path)))


M5, M1 = 300_000, 60_000


@pytest.mark.parametrize("interval_ms", [M5, M1, 3 * M1])
def test_finer_bars_make_up_the_bars_that_they_are_made_of(interval_ms: int) -> None:
    end_ms = START_MS + BARS * M15
    times, values = _visible(end_ms, interval_ms=interval_ms)
    parts = pl.DataFrame(values[:, :5], schema=COLUMNS).with_columns(slot=pl.Series(times // M15))
    summed = parts.group_by("slot", maintain_order=True).agg(
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.col("volume").sum(),
    )
    prices = ["open", "high", "low", "close"]

    assert np.array_equal(times, np.arange(START_MS, end_ms, interval_ms))
    assert summed.select(prices).equals(FRAME.select(prices))
    assert np.allclose(summed["volume"], FRAME["volume"], rtol=0, atol=1e-8)
    assert (values[:, 1] >= values[:, [0, 3]].max(axis=1)).all()
    assert (values[:, 2] <= values[:, [0, 3]].min(axis=1)).all()
    assert np.array_equal(values[1:, 0][times[1:] % M15 > 0], values[:-1, 3][times[1:] % M15 > 0]), "one path"


@settings(max_examples=60, deadline=None)
@given(now_ms=st.integers(START_MS + 20 * M15, START_MS + 21 * M15), interval_ms=st.sampled_from([M5, M1]))
def test_finer_bars_show_nothing_of_the_future_and_agree_with_the_open_bar(now_ms: int, interval_ms: int) -> None:
    times, values = _visible(now_ms, interval_ms=interval_ms)
    whole = _visible(START_MS + BARS * M15, interval_ms=interval_ms)
    closed = times + interval_ms <= now_ms

    assert times[-1] < now_ms
    assert np.array_equal(values[closed], whole[1][: len(times)][closed])
    inside = values[times >= START_MS + (now_ms - 1 - START_MS) // M15 * M15]
    opened, high, low, last, volume = _visible(now_ms)[1][-1, :5]
    assert (inside[0, 0], inside[:, 1].max(), inside[:, 2].min(), inside[-1, 3]) == (opened, high, low, last)
    assert inside[:, 4].sum() == pytest.approx(volume, abs=1e-6)


def test_finer_bars_are_cut_to_what_is_asked_for_and_leave_quiet_ones_out() -> None:
    start_ms, stop_ms = START_MS + 3 * M15 + 1, START_MS + 5 * M15
    span = {"interval_ms": M5, "start_ms": start_ms, "stop_ms": stop_ms}
    times, _ = MARKET.bars(now_ms=START_MS + BARS * M15, with_quiet=True, **span)
    quiet = FRAME.filter(pl.col("volume") == 0)["open_time"].dt.epoch("ms").to_list()
    traded, _ = MARKET.bars(
        now_ms=START_MS + BARS * M15, interval_ms=M5, start_ms=START_MS, stop_ms=stop_ms + 200 * M15, with_quiet=False
    )

    assert times.tolist() == list(range(START_MS + 3 * M15 + M5, stop_ms, M5))
    assert not set((traded // M15 * M15).tolist()) & set(quiet)
    assert not MARKET.has_bars_of(7 * M1)
