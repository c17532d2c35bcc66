"""Gap filling, what is known when, and coarser bars."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mm_pipeline.domain.candles import BARS_SCHEMA, empty_candles, epoch_ms, fill_gaps, resample
from mm_pipeline.domain.market import Timeframe
from mm_pipeline_tests.candle_samples import at_ms, candle, raw, walk


def slots(frame: pl.DataFrame, column: str = "open_time") -> list[float]:
    return ((epoch_ms(frame[column]) - at_ms(0)) / Timeframe.M15.ms).tolist()


def test_gap_between_real_bars_is_filled_flat_and_known_at_its_end() -> None:
    bars = fill_gaps(raw([candle(0, 100.0), candle(3, 110.0)]), quarantined_ms=None)

    assert slots(bars) == [0, 1, 2, 3]
    assert bars["is_synthetic"].to_list() == [False, True, True, False]
    assert bars.select("open", "high", "low", "close", "volume").row(1) == (100.0, 100.0, 100.0, 100.0, 0.0)
    assert slots(bars, "close_time") == [1, 2, 3, 4]
    assert slots(bars, "known_at") == [1, 4, 4, 4]
    assert dict(bars.schema) == BARS_SCHEMA


def test_nothing_is_filled_past_the_newest_real_bar() -> None:
    assert slots(fill_gaps(walk([0, 1, 2]), quarantined_ms=np.array([at_ms(5)]))) == [0, 1, 2]


def test_quarantined_time_stays_a_hole_and_filling_goes_on_around_it() -> None:
    bars = fill_gaps(raw([candle(0, 100.0), candle(4, 90.0)]), quarantined_ms=np.array([at_ms(2)]))

    assert slots(bars) == [0, 1, 3, 4]
    assert bars["close"].to_list() == [100.0, 100.0, 100.0, 90.0]
    assert slots(bars, "known_at") == [1, 5, 5, 5]


def test_misaligned_quarantined_time_blocks_the_bar_it_falls_into() -> None:
    bars = fill_gaps(walk([0, 3]), quarantined_ms=np.array([at_ms(1) + 7_000]))

    assert slots(bars) == [0, 2, 3]


def test_quarantined_time_with_a_real_bar_keeps_the_real_bar() -> None:
    assert slots(fill_gaps(walk([0, 1, 2]), quarantined_ms=np.array([at_ms(1)]))) == [0, 1, 2]


def test_no_candles_give_no_bars() -> None:
    bars = fill_gaps(empty_candles(), quarantined_ms=None)

    assert bars.is_empty()
    assert dict(resample(bars, Timeframe.H1).schema) == BARS_SCHEMA


def test_coarse_bar_is_made_of_its_parts() -> None:
    bars = fill_gaps(walk(range(4)), quarantined_ms=None)

    hour = resample(bars, Timeframe.H1)

    assert hour.select("open", "high", "low", "close").row(0) == (
        bars["open"][0],
        bars["high"].max(),
        bars["low"].min(),
        bars["close"][3],
    )
    assert hour["volume"][0] == pytest.approx(bars["volume"].sum(), rel=1e-12)
    assert (slots(hour), slots(hour, "close_time"), slots(hour, "known_at")) == ([0], [4], [4])


def test_coarse_bar_with_a_part_missing_does_not_exist() -> None:
    bars = fill_gaps(walk(range(1, 12)), quarantined_ms=None)

    assert slots(resample(bars, Timeframe.H1)) == [4, 8]
    assert slots(resample(bars.filter(pl.col("open_time").ne(bars["open_time"][4])), Timeframe.H1)) == [8]


def test_coarse_bar_is_aligned_to_the_epoch() -> None:
    bars = fill_gaps(walk(range(3, 40)), quarantined_ms=None)

    assert slots(resample(bars, Timeframe.H4)) == [16]


def test_coarse_bar_is_synthetic_only_if_all_parts_are_and_known_with_the_last_of_them() -> None:
    bars = fill_gaps(walk([0, 13]), quarantined_ms=None)

    hours = resample(bars, Timeframe.H1)

    assert hours["is_synthetic"].to_list() == [False, True, True]
    assert slots(hours, "known_at") == [14, 14, 14]


@pytest.mark.parametrize("timeframe", [Timeframe.H1, Timeframe.H4])
def test_recorded_15m_candles_resample_to_the_exchanges_own(recorded_data: Path, timeframe: Timeframe) -> None:
    quarter_hours = pl.read_parquet(recorded_data / "binance_ETH-USDT_15m_2022-01-01_2025-09-30.parquet")
    own = pl.read_parquet(recorded_data / f"binance_ETH-USDT_{timeframe}_2024-01-01_2024-09-06.parquet")

    made = resample(fill_gaps(quarter_hours, quarantined_ms=None), timeframe)

    both = own.join(made, on="open_time", how="left", maintain_order="left")
    for name in ("open", "high", "low", "close"):
        assert both[name].equals(both[f"{name}_right"], null_equal=False), name
    assert (both["volume"] - both["volume_right"]).abs().max() < 1e-6
