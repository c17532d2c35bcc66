"""Bars as plain lists; plain loops that fill gaps and resample (SPEC 1 and 2). No quarantine, no data quality."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime

import polars as pl

MS_15M = 900_000
MS_1H = 4 * MS_15M
MS_4H = 4 * MS_1H

_TIMES = ("open_time", "close_time", "known_at")


@dataclass(frozen=True, repr=False)
class Bars:
    """Bars of one timeframe, oldest first; times in UTC epoch milliseconds, prices in quote, volume in base."""

    open_time: list[int]
    close_time: list[int]
    known_at: list[int]
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    volume: list[float]
    is_synthetic: list[bool]

    def __len__(self) -> int:
        return len(self.close)

    def first(self, count: int) -> Bars:
        """The oldest ``count`` bars."""
        return Bars(*(getattr(self, field.name)[:count] for field in fields(self)))


def bars_of(frame: pl.DataFrame) -> Bars:
    """Read a bars frame into lists."""
    times = [frame[name].dt.epoch("ms").to_list() for name in _TIMES]
    return Bars(*times, *(frame[field.name].to_list() for field in fields(Bars) if field.name not in _TIMES))


def frame_of(bars: Bars) -> pl.DataFrame:
    """Write lists into a bars frame."""
    frame = pl.DataFrame({field.name: getattr(bars, field.name) for field in fields(bars)})
    return frame.with_columns(pl.col(_TIMES).cast(pl.Datetime("ms", "UTC")), pl.col("is_synthetic").cast(pl.Boolean))


def filled(raw: pl.DataFrame) -> Bars:
    """15m bars of raw candles: every missing bar between two real ones is flat at the last close.

    A filled bar is known only when the real bar that ends its gap closes.
    """
    bars = Bars([], [], [], [], [], [], [], [], [])
    for row in raw.sort("open_time").iter_rows(named=True):
        opened = round(row["open_time"].timestamp() * 1000)
        while bars.open_time and bars.open_time[-1] + MS_15M < opened:
            price = bars.close[-1]
            _append(bars, bars.open_time[-1] + MS_15M, (price, price, price, price, 0.0), opened + MS_15M, True)
        values = (row["open"], row["high"], row["low"], row["close"], row["volume"])
        _append(bars, opened, values, opened + MS_15M, False)
    return bars


def resampled(bars: Bars, length_ms: int) -> Bars:
    """Coarse bars aligned to the epoch, of those 15m bars whose bucket is complete; length in milliseconds."""
    coarse = Bars([], [], [], [], [], [], [], [], [])
    parts: list[int] = []
    for i in range(len(bars)):
        if parts and bars.open_time[parts[0]] // length_ms != bars.open_time[i] // length_ms:
            parts = []
        parts.append(i)
        if len(parts) * MS_15M < length_ms:
            continue
        coarse.open_time.append(bars.open_time[parts[0]])
        coarse.close_time.append(bars.open_time[parts[0]] + length_ms)
        coarse.known_at.append(max(bars.known_at[j] for j in parts))
        coarse.open.append(bars.open[parts[0]])
        coarse.high.append(max(bars.high[j] for j in parts))
        coarse.low.append(min(bars.low[j] for j in parts))
        coarse.close.append(bars.close[parts[-1]])
        coarse.volume.append(sum(bars.volume[j] for j in parts))
        coarse.is_synthetic.append(all(bars.is_synthetic[j] for j in parts))
    return coarse


def newest_known(bars: Bars, at: int) -> int | None:
    """Index of the newest bar known at a moment (epoch ms), None when there is none; ``known_at`` never falls."""
    newest = None
    low, high = 0, len(bars)
    while low < high:
        middle = (low + high) // 2
        if bars.known_at[middle] <= at:
            newest, low = middle, middle + 1
        else:
            high = middle
    return newest


def epoch_ms(*moment: int) -> int:
    """Epoch milliseconds of a UTC moment given as year, month, day, hour, minute."""
    return round(datetime(*moment, tzinfo=UTC).timestamp() * 1000)  # type: ignore[arg-type, misc]


def _append(
    bars: Bars, opened: int, values: tuple[float, float, float, float, float], known: int, is_synthetic: bool
) -> None:
    bars.open_time.append(opened)
    bars.close_time.append(opened + MS_15M)
    bars.known_at.append(known)
    for column, value in zip((bars.open, bars.high, bars.low, bars.close, bars.volume), values, strict=True):
        column.append(value)
    bars.is_synthetic.append(is_synthetic)
