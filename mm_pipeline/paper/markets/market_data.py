"""The bars of one market as they are visible at a moment: closed ones, and the part that has passed of the open one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.paper.http.wire import Bar
from mm_pipeline.paper.markets.markets import PaperMarket

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]

_DAY_MS = 86_400_000
_AMOUNT_DECIMALS = 8
_CORNER_SHARES = np.array([0.0, 1 / 3, 2 / 3, 1.0])
"""After which share of a bar's time its path is at each corner."""


@dataclass(frozen=True, kw_only=True)
class DayStats:
    """The last 24 hours of a market in quote and base units; the newest trade's price is ``last``."""

    open: float
    high: float
    low: float
    last: float
    volume: float = 0.0
    turnover: float = 0.0


class MarketData:
    """Read-only bars of one served market.

    Parameters
    ----------
    paper
        The market and where its candles come from. They are loaded here, once.

    Raises
    ------
    ConfigError
        When there are fewer than two bars, or their times do not strictly increase.
    """

    def __init__(self, paper: PaperMarket) -> None:
        frame = paper.source.load(price_increment=paper.price_increment)
        self.paper = paper
        self._times: Times = frame["open_time"].dt.epoch("ms").to_numpy()
        gaps = np.diff(self._times)
        if gaps.size == 0 or gaps.min() <= 0:
            raise ConfigError(f"{paper.market}: two bars or more in strict time order are needed to play it.", "")
        self.base_ms = int(gaps.min())
        """Length of the bars behind the market, in milliseconds; coarser and finer ones are made of them."""
        prices = {name: frame[name].cast(pl.Float64).to_numpy() for name in ("open", "high", "low", "close")}
        volume = frame["volume"].cast(pl.Float64).to_numpy()
        turnover = volume * np.mean(list(prices.values()), axis=0)
        self._values: Floats = np.column_stack([*prices.values(), volume, turnover])
        self._truth = _truth_of(frame)

    @property
    def span_ms(self) -> tuple[int, int]:
        """Open time of the first bar and close time of the last, in epoch milliseconds."""
        return int(self._times[0]), int(self._times[-1]) + self.base_ms

    @property
    def bar_count(self) -> int:
        """Number of bars behind the market."""
        return int(self._times.size)

    def open_ms(self, index: int) -> int:
        """Open time of a bar by its number, in epoch milliseconds."""
        return int(self._times[index])

    def corners(self, index: int) -> tuple[float, float, float, float]:
        """The path of a bar by its number: open, nearer extreme (a tie: the low), other extreme, close; quote."""
        opened, high, low, close = (float(price) for price in self._values[index, :4])
        nearer, other = (low, high) if opened - low <= high - opened else (high, low)
        return opened, nearer, other, close

    def bars(
        self, *, now_ms: int, interval_ms: int, start_ms: int, stop_ms: int, with_quiet: bool
    ) -> tuple[Times, Floats]:
        """Bars with ``start_ms <= open_time < stop_ms`` that have begun by ``now_ms``, oldest first.

        Parameters
        ----------
        interval_ms
            A multiple of :attr:`base_ms`, or a part of it; bars are aligned to the epoch.
        with_quiet
            Whether bars without trades appear (volume 0) or are left out.

        Returns
        -------
        open times (n,) in epoch milliseconds, and (n, 6): open, high, low, close, volume, turnover. The newest
        bar may still be open.
        """
        if interval_ms < self.base_ms:
            return self._finer(now_ms, interval_ms, start_ms, stop_ms, with_quiet=with_quiet)
        start_ms = -(-start_ms // interval_ms) * interval_ms
        stop_ms = -(-stop_ms // interval_ms) * interval_ms
        first = int(np.searchsorted(self._times, start_ms))
        closed_end = int(np.searchsorted(self._times, now_ms - self.base_ms, side="right"))
        stop = int(np.searchsorted(self._times, stop_ms))
        times, values = self._times[first : min(stop, closed_end)], self._values[first : min(stop, closed_end)]
        if first <= closed_end < min(stop, self._times.size) and now_ms > self._times[closed_end]:
            times = np.append(times, self._times[closed_end])
            values = np.vstack([values, self._part_of(closed_end, now_ms)])
        if not with_quiet:
            traded = values[:, 4] > 0
            times, values = times[traded], values[traded]
        return (times, values) if interval_ms == self.base_ms else _coarser(times, values, interval_ms)

    def has_bars_of(self, interval_ms: int) -> bool:
        """Whether bars of this length can be made of those behind the market."""
        return interval_ms % self.base_ms == 0 or self.base_ms % interval_ms == 0

    def _finer(
        self, now_ms: int, interval_ms: int, start_ms: int, stop_ms: int, *, with_quiet: bool
    ) -> tuple[Times, Floats]:
        """Bars along the path of those behind the market, of which they are made up again; see :meth:`bars`."""
        first = int(np.searchsorted(self._times, start_ms - self.base_ms, side="right"))
        stop = int(np.searchsorted(self._times, min(stop_ms, now_ms)))
        closed = int(np.searchsorted(self._times, now_ms - self.base_ms, side="right"))
        parts = [self._parts_of(slice(first, min(stop, closed)), interval_ms, 1.0)]
        if first <= closed < stop:
            share = (now_ms - int(self._times[closed])) / self.base_ms
            parts.append(self._parts_of(slice(closed, closed + 1), interval_ms, share))
        times, values = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        is_asked = (times >= start_ms) & (times < stop_ms) & (with_quiet | (values[:, 4] > 0))
        return times[is_asked], values[is_asked]

    def _parts_of(self, bars: slice, interval_ms: int, until_share: float) -> tuple[Times, Floats]:
        """Bars by their number in parts of ``interval_ms``, as far as this share of their time has passed."""
        count = self.base_ms // interval_ms
        borders = [part / count for part in range(count) if part / count < until_share]
        shares = np.unique([*borders, *_CORNER_SHARES[until_share > _CORNER_SHARES], until_share])
        path = self._path_of(bars, shares)
        amounts = _split(self._values[bars, 4:], count)
        parts = []
        for part, begin in enumerate(borders):
            end = min((part + 1) / count, until_share)
            prices = path[:, (shares >= begin) & (shares <= end)]
            passed = amounts[:, part] * min((end - begin) * count, 1.0)
            parts.append(np.column_stack([prices[:, 0], prices.max(axis=1), prices.min(axis=1), prices[:, -1], passed]))
        times = self._times[bars, None] + interval_ms * np.arange(len(borders), dtype=np.int64)
        return times.ravel(), np.stack(parts, axis=1).reshape(-1, self._values.shape[1])

    def _path_of(self, bars: slice, shares: Floats) -> Floats:
        """Prices (bars, shares) of bars by their number after shares of their time: a third of it a way to a corner."""
        opened, high, low, close = self._values[bars, :4].T
        is_low_first = opened - low <= high - opened
        corners = np.column_stack([opened, np.where(is_low_first, low, high), np.where(is_low_first, high, low), close])
        way = np.clip(np.searchsorted(_CORNER_SHARES, shares, side="right") - 1, 0, 2)
        passed = (shares - _CORNER_SHARES[way]) / (_CORNER_SHARES[way + 1] - _CORNER_SHARES[way])
        reached = _on_increment(
            corners[:, way] * (1 - passed) + corners[:, way + 1] * passed, self.paper.price_increment
        )
        path = np.clip(reached, low[:, None], high[:, None])
        at_corner = np.isin(shares, _CORNER_SHARES)
        path[:, at_corner] = corners[:, np.searchsorted(_CORNER_SHARES, shares[at_corner])]
        return np.asarray(path)

    def last_price(self, now_ms: int) -> float | None:
        """Price of the newest trade at ``now_ms``; None before the first."""
        index = int(np.searchsorted(self._times, now_ms)) - 1
        if index < 0:
            return None
        is_closed = now_ms >= self._times[index] + self.base_ms
        return float(self._values[index, 3] if is_closed else self._part_of(index, now_ms)[3])

    def day_stats(self, now_ms: int) -> DayStats | None:
        """The 24 hours before ``now_ms``, flat at the last price when nothing was traded; None before the first bar."""
        span = {"start_ms": now_ms - _DAY_MS, "stop_ms": now_ms}
        times, values = self.bars(now_ms=now_ms, interval_ms=self.base_ms, with_quiet=True, **span)
        if times.size == 0:
            last = self.last_price(now_ms)
            return None if last is None else DayStats(open=last, high=last, low=last, last=last)
        return DayStats(
            open=float(values[0, 0]),
            high=float(values[:, 1].max()),
            low=float(values[:, 2].min()),
            last=float(values[-1, 3]),
            volume=float(values[:, 4].sum()),
            turnover=float(values[:, 5].sum()),
        )

    def truth(self, now_ms: int) -> list[tuple[int, str, bool]] | None:
        """(open time ms, true regime, is jump) of every bar closed by ``now_ms``; None for recorded candles."""
        closed_end = int(np.searchsorted(self._times, now_ms - self.base_ms, side="right"))
        return None if self._truth is None else self._truth[:closed_end]

    def _part_of(self, index: int, now_ms: int) -> Floats:
        """What has passed of a bar."""
        opened, _, _, _, volume, turnover = self._values[index]
        share = (now_ms - int(self._times[index])) / self.base_ms
        path = self._path_of(slice(index, index + 1), np.append(_CORNER_SHARES[share > _CORNER_SHARES], share))[
            0
        ].tolist()
        return np.array([opened, max(path), min(path), path[-1], volume * share, turnover * share])


def as_bars(times: Times, values: Floats) -> list[Bar]:
    """The rows of :meth:`MarketData.bars` as tuples, amounts rounded as exchanges print them."""
    values = np.column_stack([values[:, :4], np.round(values[:, 4:], _AMOUNT_DECIMALS)])
    return [Bar(int(time), *row) for time, row in zip(times, values.tolist(), strict=True)]


def _split(amounts: Floats, count: int) -> Floats:
    """Amounts (n, k) as exchanges print them in nearly equal parts (n, count, k); the last part has the rest."""
    units = np.round(amounts * 10**_AMOUNT_DECIMALS)
    parts = np.repeat((units // count)[:, None], count, axis=1)
    parts[:, -1] = units - parts[:, 0] * (count - 1)
    return np.asarray(parts / 10**_AMOUNT_DECIMALS)


def _coarser(times: Times, values: Floats, interval_ms: int) -> tuple[Times, Floats]:
    """Aggregate rows (n, 6) to bars of ``interval_ms`` aligned to the epoch."""
    if times.size == 0:
        return times, values
    opened = times // interval_ms * interval_ms
    first = np.flatnonzero(np.append(True, np.diff(opened) > 0))
    last = np.append(first[1:], times.size) - 1
    columns: list[Any] = [
        values[first, 0],
        np.maximum.reduceat(values[:, 1], first),
        np.minimum.reduceat(values[:, 2], first),
        values[last, 3],
        np.add.reduceat(values[:, 4], first),
        np.add.reduceat(values[:, 5], first),
    ]
    return opened[first], np.column_stack(columns)


def _truth_of(frame: pl.DataFrame) -> list[tuple[int, str, bool]] | None:
    if "true_regime" not in frame.columns:
        return None
    return frame.select(pl.col("open_time").dt.epoch("ms"), "true_regime", "is_jump").rows()


def _on_increment(prices: Floats, increment: float) -> Floats:
    return np.asarray(np.round(np.round(prices / increment) * increment, 12))
