"""From clean 15m candles to bars: flat bars where nothing was traded, and coarser bars made of complete ones."""

from __future__ import annotations

import numpy as np
import polars as pl

from mm_pipeline.domain.arrays import Integers
from mm_pipeline.domain.candles.frames import BARS_SCHEMA
from mm_pipeline.domain.columns import epoch_ms, times_of
from mm_pipeline.domain.market import Timeframe


def fill_gaps(candles: pl.DataFrame, *, quarantined_ms: Integers | None) -> pl.DataFrame:
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
    is_filled = real_ms[source] != slots_ms
    if quarantined_ms is not None:
        refused_ms = np.asarray(quarantined_ms, dtype=np.int64) // step * step
        is_kept = ~(is_filled & np.isin(slots_ms, refused_ms))
        slots_ms, source, is_filled = slots_ms[is_kept], source[is_kept], is_filled[is_kept]
    close = candles["close"].to_numpy()[source]
    prices = {name: np.where(is_filled, close, candles[name].to_numpy()[source]) for name in ("open", "high", "low")}
    return pl.DataFrame(
        [
            times_of(slots_ms, "open_time"),
            times_of(slots_ms + step, "close_time"),
            times_of(real_ms[source + is_filled] + step, "known_at"),
            *(pl.Series(name, values) for name, values in prices.items()),
            pl.Series("close", close),
            pl.Series("volume", np.where(is_filled, 0.0, candles["volume"].to_numpy()[source])),
            pl.Series("is_synthetic", is_filled),
        ]
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
    if bars.is_empty():
        return bars
    opened_ms = epoch_ms(bars["open_time"])
    slots = opened_ms // timeframe.ms
    first = np.flatnonzero(np.diff(slots, prepend=-1))
    is_whole = np.diff(first, append=len(slots)) == timeframe.ms // Timeframe.M15.ms
    last = np.append(first[1:], len(slots))[is_whole] - 1

    def reduced(name: str, ufunc: np.ufunc) -> pl.Series:
        return pl.Series(name, ufunc.reduceat(bars[name].to_numpy(), first)[is_whole])

    return pl.DataFrame(
        [
            times_of(slots[last] * timeframe.ms, "open_time"),
            bars["close_time"][last],
            times_of(np.maximum.reduceat(epoch_ms(bars["known_at"]), first)[is_whole], "known_at"),
            bars["open"][first[is_whole]],
            reduced("high", np.maximum),
            reduced("low", np.minimum),
            bars["close"][last],
            reduced("volume", np.add),
            reduced("is_synthetic", np.logical_and),
        ]
    )
