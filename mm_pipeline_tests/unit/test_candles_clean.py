"""Which rows of an answer are believed: one case per rule, and the rules' order."""

from __future__ import annotations

import math

import polars as pl
import pytest

from mm_pipeline.domain.candles import QUARANTINE_SCHEMA, CleanCandles, QuarantineReason, clean_candles, merge_candles
from mm_pipeline.domain.errors import ContractError
from mm_pipeline.domain.market import Timeframe
from mm_pipeline_tests.candle_samples import Row, at_ms, candle, raw

NOW_MS = at_ms(10)


def clean(*rows: Row) -> CleanCandles:
    return clean_candles(raw(rows), timeframe=Timeframe.M15, now_ms=NOW_MS)


def with_(row: Row, **changes: float | int | None) -> Row:
    names = ("open_time", "open", "high", "low", "close", "volume")
    values = dict(zip(names, row, strict=True)) | changes
    return tuple(values[name] for name in names)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"open_time": None}, QuarantineReason.NULL_TIME),
        ({"open_time": at_ms(3) + 1}, QuarantineReason.MISALIGNED_TIME),
        ({"open_time": at_ms(9) + 60_000}, QuarantineReason.MISALIGNED_TIME),
        ({"open_time": at_ms(10)}, QuarantineReason.NOT_CLOSED),
        ({"close": math.nan}, QuarantineReason.PRICE_NOT_FINITE),
        ({"open": None}, QuarantineReason.PRICE_NOT_FINITE),
        ({"high": math.inf}, QuarantineReason.PRICE_NOT_FINITE),
        ({"low": 0.0}, QuarantineReason.PRICE_NOT_POSITIVE),
        ({"low": -99.0}, QuarantineReason.PRICE_NOT_POSITIVE),
        ({"volume": math.nan}, QuarantineReason.VOLUME_NOT_FINITE),
        ({"volume": None}, QuarantineReason.VOLUME_NOT_FINITE),
        ({"volume": -1e-9}, QuarantineReason.VOLUME_NEGATIVE),
        ({"high": 99.9}, QuarantineReason.HIGH_BELOW_BODY),
        ({"low": 99.6}, QuarantineReason.LOW_ABOVE_BODY),
        ({"high": 98.0, "low": 101.0}, QuarantineReason.HIGH_BELOW_BODY),
    ],
)
def test_broken_row_is_quarantined_with_its_reason_and_the_rest_goes_on(
    changes: dict[str, float | int | None], reason: QuarantineReason
) -> None:
    result = clean(candle(0), with_(candle(3), **changes), candle(5))

    assert result.quarantine["reason"].to_list() == [reason]
    assert result.candles["open_time"].to_physical().to_list() == [at_ms(0), at_ms(5)]
    assert dict(result.quarantine.schema) == QUARANTINE_SCHEMA


def test_bar_that_closes_now_is_closed() -> None:
    assert len(clean(candle(9)).candles) == 1


def test_zero_volume_is_a_candle() -> None:
    assert len(clean(with_(candle(1), volume=0.0)).candles) == 1


def test_high_and_low_on_the_body_are_a_candle() -> None:
    assert len(clean(with_(candle(1), high=100.0, low=99.5)).candles) == 1


def test_identical_duplicates_are_dropped_and_counted() -> None:
    result = clean(candle(1), candle(2), candle(1), candle(1))

    assert (len(result.candles), len(result.quarantine), result.duplicates_dropped) == (2, 0, 2)


def test_identical_broken_duplicates_are_one_row_of_quarantine() -> None:
    result = clean(*[with_(candle(1), close=math.nan)] * 3)

    assert (len(result.candles), len(result.quarantine), result.duplicates_dropped) == (0, 1, 2)


def test_same_time_with_different_content_refuses_all_versions() -> None:
    result = clean(candle(1), with_(candle(1), close=100.5), with_(candle(1), volume=11.0), candle(2))

    assert result.quarantine["reason"].to_list() == [QuarantineReason.CONFLICT] * 3
    assert len(result.candles) == 1


def test_valid_version_beside_an_invalid_one_is_refused_too() -> None:
    result = clean(candle(1), with_(candle(1), volume=-1.0))

    assert sorted(result.quarantine["reason"]) == [QuarantineReason.CONFLICT, QuarantineReason.VOLUME_NEGATIVE]
    assert result.candles.is_empty()


def test_reversed_answer_comes_out_sorted() -> None:
    result = clean(*(candle(slot) for slot in (7, 3, 5, 0)))

    assert result.candles["open_time"].is_sorted()


def test_empty_answer_is_empty() -> None:
    result = clean()

    assert (len(result.candles), len(result.quarantine), result.duplicates_dropped) == (0, 0, 0)


def test_frame_with_other_types_is_refused() -> None:
    with pytest.raises(ContractError, match="volume"):
        clean_candles(raw([candle(0)]).with_columns(pl.col("volume").cast(pl.Int64)), timeframe=Timeframe.M15, now_ms=0)


def test_later_fetch_supersedes_and_names_the_revision() -> None:
    stored = raw([candle(0), candle(1), candle(2)])
    fetched = raw([candle(1, 100.0, 12.0), candle(2), candle(3)])

    merged, revisions = merge_candles(stored, fetched)

    assert merged["open_time"].to_physical().to_list() == [at_ms(slot) for slot in range(4)]
    assert merged["volume"].to_list() == [10.0, 12.0, 10.0, 10.0]
    assert revisions.select("open_time", "volume_before", "volume_after").rows() == [
        (stored["open_time"][1], 10.0, 12.0)
    ]


def test_same_candles_again_are_no_revision() -> None:
    stored = raw([candle(0), candle(1)])

    merged, revisions = merge_candles(stored, stored)

    assert merged.equals(stored)
    assert revisions.is_empty()
