"""Stored candles: one stretch without unasked holes, whatever order months are asked for in."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mm_pipeline.adapters.candles.candle_store import CandleStore
from mm_pipeline.adapters.candles.memory_candles import MemoryCandles
from mm_pipeline.adapters.candles.update import update_candles
from mm_pipeline.adapters.frames.store import FrameStore
from mm_pipeline.domain.candles import RAW_SCHEMA
from mm_pipeline.domain.errors import ExchangeUnavailable
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.domain.market import Market
from mm_pipeline.settings import load_settings
from mm_pipeline_tests.dagster_samples import ranging_candles

ETH = Market("kucoin", "ETH/USDT")
START = datetime(2025, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
BAR = timedelta(minutes=15)
POLICY = load_settings().exchange_access


class Shelved:
    """A shelf, the source it is filled from, and every range that was asked for."""

    def __init__(self, folder: Path, candles: pl.DataFrame) -> None:
        self.shelf = CandleStore(FrameStore(str(folder)))
        self.source = MemoryCandles({ETH: candles})
        self.asked: list[tuple[int, int]] = []
        fetch = self.source.fetch

        def noted(market: Market, *, start_ms: int, end_ms: int) -> pl.DataFrame:
            self.asked.append((start_ms, end_ms))
            return fetch(market, start_ms=start_ms, end_ms=end_ms)

        self.source.fetch = noted  # type: ignore[method-assign]

    def update(self, first_day: float, last_day: float) -> list[datetime]:
        """Bring the days up to date; months whose candles changed."""
        span: dict[str, Any] = {"start_ms": to_ms(START + first_day * DAY), "end_ms": to_ms(START + last_day * DAY)}
        stored = self.shelf.load(ETH, **span)
        update = update_candles(self.source, stored, **span, now_ms=span["end_ms"], policy=POLICY)
        return self.shelf.save(update.after, **span)

    def bars(self, first_day: float, last_day: float) -> pl.DataFrame:
        return self.shelf.bars(ETH, start_ms=to_ms(START + first_day * DAY), end_ms=to_ms(START + last_day * DAY)).bars


@pytest.fixture(scope="module")
def candles() -> pl.DataFrame:
    return ranging_candles(START, 120, quiet_share=0.02)


@pytest.fixture
def shelved(tmp_path: Path, candles: pl.DataFrame) -> Shelved:
    return Shelved(tmp_path, candles)


def test_what_was_fetched_is_read_back_filled(shelved: Shelved, candles: pl.DataFrame) -> None:
    assert shelved.update(10, 40) == [START, START + 31 * DAY]
    bars = shelved.bars(10, 40)
    real = bars.filter(~pl.col("is_synthetic"))
    inside = pl.col("open_time").is_between(START + 10 * DAY, START + 40 * DAY, closed="left")
    assert real.select(list(RAW_SCHEMA)).equals(candles.filter(inside))
    assert bars["open_time"].diff().drop_nulls().unique().to_list() == [BAR]


def test_next_tick_asks_for_the_newest_day_alone_and_writes_one_month(shelved: Shelved) -> None:
    shelved.update(10, 40)
    shelved.asked.clear()
    assert shelved.update(10, 40 + 1 / 96) == [START + 31 * DAY]
    (asked,) = shelved.asked
    assert asked[1] - asked[0] <= (POLICY.reask_bars + 1) * 900_000


def test_time_that_was_never_asked_for_is_not_filled_as_if_nothing_was_traded(
    shelved: Shelved, candles: pl.DataFrame
) -> None:
    shelved.update(0, 20)
    shelved.update(60, 90)
    bars = shelved.bars(0, 90)
    assert bars["open_time"][0] == candles.filter(pl.col("open_time") >= START + 60 * DAY)["open_time"][0]
    shelved.asked.clear()
    shelved.update(0, 90)
    assert min(start for start, _ in shelved.asked) == to_ms(START)
    whole = shelved.bars(0, 90)
    synthetic = whole.filter(
        pl.col("is_synthetic") & pl.col("open_time").is_between(START + 20 * DAY, START + 60 * DAY)
    )
    assert 0 < synthetic.height < 40 * 96 * 0.05


def test_hole_that_was_filled_is_not_asked_for_again(shelved: Shelved) -> None:
    shelved.update(0, 20)
    shelved.update(60, 90)
    shelved.update(0, 90)
    shelved.asked.clear()
    shelved.update(0, 90)
    assert sum(end - start for start, end in shelved.asked) <= (POLICY.reask_bars + 1) * 900_000


def test_months_before_the_market_was_listed_are_asked_for_once(tmp_path: Path, candles: pl.DataFrame) -> None:
    listed = Shelved(tmp_path, candles.filter(pl.col("open_time") >= START + 30 * DAY))
    listed.update(0, 60)
    listed.asked.clear()
    listed.update(0, 60)
    assert min(start for start, _ in listed.asked) > to_ms(START + 58 * DAY)
    assert listed.bars(0, 60)["open_time"][0] >= START + 30 * DAY


def test_update_that_fails_half_way_keeps_one_stretch(
    tmp_path: Path, candles: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Shelved(tmp_path, candles)
    made.update(60, 90)
    fetch = made.source.fetch
    small = POLICY.model_copy(update={"bars_per_fetch": 96 * 10})
    monkeypatch.setattr("mm_pipeline_tests.pipeline.test_dagster_candle_shelf.POLICY", small)

    def fails_before_day_30(market: Market, *, start_ms: int, end_ms: int) -> pl.DataFrame:
        if start_ms < to_ms(START + 30 * DAY):
            raise ExchangeUnavailable("away.", "Wait.")
        return fetch(market, start_ms=start_ms, end_ms=end_ms)

    made.source.fetch = fails_before_day_30  # type: ignore[method-assign]
    made.update(0, 90)
    bars = made.bars(0, 90)
    assert bars["open_time"][0] >= START + 30 * DAY
    assert bars["open_time"].diff().drop_nulls().unique().to_list() == [BAR]
    made.source.fetch = fetch  # type: ignore[method-assign]
    made.update(0, 90)
    assert made.bars(0, 90)["open_time"][0] < START + DAY


def test_refused_candle_is_kept_apart_and_leaves_when_it_is_mended(shelved: Shelved, candles: pl.DataFrame) -> None:
    at = START + 12 * DAY
    is_bad = pl.col("open_time") == at
    shelved.source.candles[ETH] = candles.with_columns(high=pl.when(is_bad).then(1.0).otherwise("high"))
    shelved.update(10, 20)
    span: dict[str, Any] = {"start_ms": to_ms(START + 10 * DAY), "end_ms": to_ms(START + 20 * DAY)}
    broken = shelved.shelf.bars(ETH, **span)
    assert broken.quarantined_ms.tolist() == [to_ms(at)]
    assert at not in broken.bars["open_time"].to_list()
    shelved.source.candles[ETH] = candles
    shelved.update(10, 20)
    mended = shelved.shelf.bars(ETH, **span)
    assert mended.quarantined_ms.tolist() == []
    assert at in mended.bars["open_time"].to_list()


def test_nothing_stored_is_a_frame_without_rows(shelved: Shelved) -> None:
    assert shelved.bars(0, 10).is_empty()
