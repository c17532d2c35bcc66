"""From clean 15m candles to bars: flat bars where nothing was traded, and coarser bars made of complete ones."""

from __future__ import annotations

import numpy as np
import polars as pl

from mm_pipeline.domain.candles.frames import BARS_SCHEMA, Int64Array, epoch_ms, times_of
from mm_pipeline.domain.market import Timeframe


def fill_gaps(candles: pl.DataFrame, *, quarantined_ms: Int64Array | None) -> pl.DataFrame:
    """Fill the missing 15m bars between two real ones flat, and say when each bar is known.

    An exchange sends no candle for a bar without trades, so a bar missing between two real ones had the close before it
    as its only price. How long the gap is does not matter; after the newest real bar nothing is filled, because nobody
    knows yet whether those bars had trades. A quarantined time stays a hole (a bad crash bar must not hide a stop
    breach), and filling goes on around it with the close of the last real bar before.

    Parameters
    ----------
    candles
        Clean raw candle frame of 15m bars (sorted, unique).
    quarantined_ms
        Epoch milliseconds of refused open times, any order; a misaligned one blocks the bar it falls into.

    Returns
    -------
    pl.DataFrame
        Bars frame. ``known_at`` of a real bar is its close; of a filled one, that of the real bar that ends its gap.
    """
    if candles.is_empty():
        return pl.DataFrame(schema=BARS_SCHEMA)
    step = Timeframe.M15.ms
    real_ms = epoch_ms(candles["open_time"])
    slots_ms = np.arange(real_ms[0], real_ms[-1] + step, step, dtype=np.int64)
    source = np.searchsorted(real_ms, slots_ms, side="right") - 1
    is_synthetic = real_ms[source] != slots_ms
    is_kept = ~is_synthetic
    if quarantined_ms is None:
        is_kept |= True
    else:
        is_kept |= ~np.isin(slots_ms, np.asarray(quarantined_ms, dtype=np.int64) // step * step)
    ends_gap = source + is_synthetic
    filled = pl.Series("is_synthetic", is_synthetic[is_kept])
    price = pl.when("is_synthetic").then("close")
    last_real: pl.DataFrame = candles[source[is_kept]]
    return (
        last_real.with_columns(
            filled,
            times_of(slots_ms[is_kept], "open_time"),
            times_of(slots_ms[is_kept] + step, "close_time"),
            times_of(real_ms[ends_gap[is_kept]] + step, "known_at"),
        )
        .with_columns(
            *(price.otherwise(name).alias(name) for name in ("open", "high", "low")),
            volume=pl.when("is_synthetic").then(0.0).otherwise("volume"),
        )
        .select(list(BARS_SCHEMA))
    )


def resample(bars: pl.DataFrame, timeframe: Timeframe) -> pl.DataFrame:
    """Make coarser bars, aligned to the epoch, of those slots whose 15m bars are all there.

    Parameters
    ----------
    bars
        15m Bars frame (sorted, unique), holes allowed.
    timeframe
        Target; ``M15`` returns ``bars`` as it is.

    Returns
    -------
    pl.DataFrame
        Bars frame: first open, highest high, lowest low, last close, summed volume; synthetic if all parts are;
        ``known_at`` the latest of the parts.
    """
    if timeframe is Timeframe.M15:
        return bars
    parts = timeframe.ms // Timeframe.M15.ms
    opened = (pl.col("open_time").to_physical() // timeframe.ms * timeframe.ms).cast(BARS_SCHEMA["open_time"])
    return (
        bars.group_by(opened.alias("slot"), maintain_order=True)
        .agg(
            pl.col("close_time").last(),
            pl.col("known_at").max(),
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("volume").sum(),
            pl.col("is_synthetic").all(),
            part_count=pl.len(),
        )
        .filter(pl.col("part_count") == parts)
        .rename({"slot": "open_time"})
        .select(list(BARS_SCHEMA))
    )
