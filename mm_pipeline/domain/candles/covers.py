"""15m candles made of finer ones, where the exchange's own is quarantined: a hole that is covered is no hole.

All finer bars of a 15m slot must be there and valid; a slot that lacks one, or has a refused one, stays a hole.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from mm_pipeline.domain.arrays import Integers
from mm_pipeline.domain.candles.clean import clean_candles
from mm_pipeline.domain.candles.frames import RAW_SCHEMA
from mm_pipeline.domain.candles.plan import FetchRange
from mm_pipeline.domain.columns import TIME, epoch_ms
from mm_pipeline.domain.market import FinerTimeframe, Timeframe

_STEP_MS = Timeframe.M15.ms

FINER: Final = (FinerTimeframe.M5, FinerTimeframe.M1)
"""Which bars are asked for to cover a hole, in this order."""

COVERS_SCHEMA: dict[str, pl.DataType] = {**RAW_SCHEMA, "made_of": pl.String(), "made_at": TIME}
"""A 15m candle made of finer ones: of which (``5m``, ``1m``), and when it was made."""


def no_covers() -> pl.DataFrame:
    """Return a frame of covers without rows."""
    return pl.DataFrame(schema=COVERS_SCHEMA)


def make_covers(raw: pl.DataFrame, slots_ms: Integers, *, timeframe: FinerTimeframe, now_ms: int) -> pl.DataFrame:
    """Make the 15m candles of those slots whose finer bars are all there and valid.

    Parameters
    ----------
    raw
        Raw candle frame of **one** answer of this timeframe, any order and condition.
    slots_ms
        Open times (epoch ms) of the 15m bars that are wanted.
    timeframe
        Of the finer bars.
    now_ms
        Epoch ms; a bar that closes later is not closed.

    Returns
    -------
    pl.DataFrame
        ``COVERS_SCHEMA``, sorted: open of the first, close of the last, highest high, lowest low, summed volume. The
        candle itself passes the rules of :func:`clean_candles`.
    """
    answer = clean_candles(raw, timeframe=timeframe, now_ms=now_ms)
    slot = (pl.col("open_time").to_physical() // _STEP_MS * _STEP_MS).cast(TIME)
    refused = answer.quarantine.drop_nulls("open_time").select(slot)
    made = (
        answer.candles.with_columns(slot.alias("slot"))
        .group_by("slot", maintain_order=True)
        .agg(
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("volume").sum(),
            pl.len().alias("bars"),
        )
        .rename({"slot": "open_time"})
        .filter(
            pl.col("bars") == _STEP_MS // timeframe.ms,
            pl.col("open_time").to_physical().is_in(slots_ms.tolist()),
        )
        .join(refused, on="open_time", how="anti", maintain_order="left")
    )
    candles = clean_candles(made.select(list(RAW_SCHEMA)), timeframe=Timeframe.M15, now_ms=now_ms).candles
    return candles.with_columns(
        made_of=pl.lit(timeframe.value, dtype=pl.String), made_at=pl.lit(now_ms, dtype=pl.Int64).cast(TIME)
    )


def holes_in(candles: pl.DataFrame, refused_ms: Integers, *, end_ms: int) -> Integers:
    """Open times (epoch ms, sorted) of 15m bars before ``end_ms`` that were refused and have no candle.

    Only those after the oldest candle: what lies before it is not known at all.
    """
    if candles.is_empty():
        return np.empty(0, dtype=np.int64)
    opened_ms = epoch_ms(candles["open_time"])
    slots_ms = np.unique(refused_ms // _STEP_MS * _STEP_MS)
    is_inside = (slots_ms > opened_ms[0]) & (slots_ms + _STEP_MS <= end_ms)
    return np.asarray(slots_ms[is_inside & ~np.isin(slots_ms, opened_ms)], dtype=np.int64)


def with_covers(candles: pl.DataFrame, covers: pl.DataFrame) -> pl.DataFrame:
    """Candles, and where one is missing its cover; the exchange's own candle always wins.

    A cover before the oldest candle is left out, as nobody asked for what lies between them.
    """
    used = used_covers(candles, covers)
    return candles if used.is_empty() else pl.concat([candles, used.select(list(RAW_SCHEMA))]).sort("open_time")


def used_covers(candles: pl.DataFrame, covers: pl.DataFrame) -> pl.DataFrame:
    """Covers that stand in for a candle which is missing."""
    if covers.is_empty() or candles.is_empty():
        return covers.clear()
    inside = covers.filter(pl.col("open_time") > candles["open_time"][0])
    return inside.join(candles, on="open_time", how="anti", maintain_order="left")


def finer_pages(
    slots_ms: Integers, *, timeframe: FinerTimeframe, page_bars: int, max_pages: int, turn: int
) -> list[FetchRange]:
    """Ranges of one page each that bring finer bars of 15m slots, neighbouring slots together.

    Parameters
    ----------
    slots_ms
        Open times (epoch ms) of the slots, ascending.
    page_bars
        Finer bars that one answer brings.
    max_pages
        Most ranges. The newest slots always come first: they tell of now. The others take turns.
    turn
        Counts the updates, so that a hole that nothing ever covers keeps no other from being asked for.
    """
    page_ms = max(page_bars * timeframe.ms // _STEP_MS, 1) * _STEP_MS
    pages: list[FetchRange] = []
    for slot in slots_ms[::-1].tolist():
        if pages and slot + page_ms >= pages[-1].end_ms:
            pages[-1] = FetchRange(slot, pages[-1].end_ms)
        else:
            pages.append(FetchRange(slot, slot + _STEP_MS))
    newest, others = pages[:1], pages[1:]
    first = turn * (max_pages - 1) % len(others) if others else 0
    return (newest + others[first:] + others[:first])[: max(max_pages, 0)]
