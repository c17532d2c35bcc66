"""Which rows of an answer can be believed. Nothing is repaired here: a row is a candle, a duplicate, or quarantined."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from mm_pipeline.domain.candles.frames import RAW_SCHEMA, check_raw
from mm_pipeline.domain.market import FinerTimeframe, Timeframe

_PRICES = ("open", "high", "low", "close")


class QuarantineReason(StrEnum):
    """Why a row was refused, in the order in which the rules are asked."""

    NULL_TIME = "null_time"
    MISALIGNED_TIME = "misaligned_time"
    NOT_CLOSED = "not_closed"
    PRICE_NOT_FINITE = "price_not_finite"
    PRICE_NOT_POSITIVE = "price_not_positive"
    VOLUME_NOT_FINITE = "volume_not_finite"
    VOLUME_NEGATIVE = "volume_negative"
    HIGH_BELOW_BODY = "high_below_body"
    LOW_ABOVE_BODY = "low_above_body"
    CONFLICT = "conflict"


QUARANTINE_SCHEMA: dict[str, pl.DataType] = {**RAW_SCHEMA, "reason": pl.String()}
"""Refused rows as they came, each with its :class:`QuarantineReason`."""


@dataclass(frozen=True, eq=False)
class CleanCandles:
    """An answer, every row of it accounted for.

    Attributes
    ----------
    candles
        Raw candle frame: sorted by ``open_time``, unique, valid, closed.
    quarantine
        ``QUARANTINE_SCHEMA``: every refused row with its reason, sorted by time.
    duplicates_dropped
        Rows identical to another row of the same answer.
    """

    candles: pl.DataFrame
    quarantine: pl.DataFrame
    duplicates_dropped: int


def clean_candles(raw: pl.DataFrame, *, timeframe: Timeframe | FinerTimeframe, now_ms: int) -> CleanCandles:
    """Split one answer of a source into candles, quarantine and a count of identical duplicates (SPEC 2).

    ``len(raw) == len(candles) + len(quarantine) + duplicates_dropped`` holds for every input. A time with two different
    contents is refused in all its versions, also where only one of them is invalid: which one the exchange meant is not
    ours to guess. A row that breaks several rules carries the first one in the order of :class:`QuarantineReason`.

    Parameters
    ----------
    raw
        Raw candle frame of **one** answer, any order, nulls and NaN allowed.
    timeframe
        Length of the bars; their times must be multiples of it.
    now_ms
        Epoch milliseconds; a bar that closes later is not closed.

    Raises
    ------
    ContractError
        When ``raw`` has other columns or types than a raw candle frame.
    """
    check_raw(raw)
    distinct = raw.unique(maintain_order=True)
    judged = distinct.with_columns(reason=_reason(timeframe, now_ms)).sort("open_time", maintain_order=True)
    return CleanCandles(
        candles=judged.filter(pl.col("reason").is_null()).drop("reason"),
        quarantine=judged.filter(pl.col("reason").is_not_null()),
        duplicates_dropped=len(raw) - len(distinct),
    )


def _reason(timeframe: Timeframe | FinerTimeframe, now_ms: int) -> pl.Expr:
    opened_ms = pl.col("open_time").to_physical()
    body_high = pl.max_horizontal("open", "close")
    body_low = pl.min_horizontal("open", "close")
    rules = {
        QuarantineReason.NULL_TIME: pl.col("open_time").is_null(),
        QuarantineReason.MISALIGNED_TIME: opened_ms % timeframe.ms != 0,
        QuarantineReason.NOT_CLOSED: opened_ms + timeframe.ms > now_ms,
        QuarantineReason.PRICE_NOT_FINITE: pl.any_horizontal(_is_not_finite(price) for price in _PRICES),
        QuarantineReason.PRICE_NOT_POSITIVE: pl.any_horizontal(pl.col(price) <= 0 for price in _PRICES),
        QuarantineReason.VOLUME_NOT_FINITE: _is_not_finite("volume"),
        QuarantineReason.VOLUME_NEGATIVE: pl.col("volume") < 0,
        QuarantineReason.HIGH_BELOW_BODY: pl.col("high") < body_high,
        QuarantineReason.LOW_ABOVE_BODY: pl.col("low") > body_low,
        QuarantineReason.CONFLICT: pl.len().over("open_time") > 1,
    }
    return pl.coalesce(pl.when(broken).then(pl.lit(reason.value)) for reason, broken in rules.items())


def _is_not_finite(column: str) -> pl.Expr:
    return ~pl.col(column).is_finite().fill_null(False)
