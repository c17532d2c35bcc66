"""Modelled risk of SPEC 6 and 7 the long way: every path in prices, every interval asked at every corner of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mm_pipeline_tests.reference.simulation import Account, Interval, walk

HORIZONS = {"15m": 1, "1h": 4, "4h": 16, "12h": 48, "24h": 96}
QUANTILES = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99}
STEP_MS = 900_000
DAY_MS = 86_400_000


@dataclass(frozen=True)
class Candle:
    """A 15m bar as it was known."""

    opened_ms: int
    known_ms: int
    open: float
    high: float
    low: float
    close: float


@dataclass(frozen=True)
class Settings:
    """Thresholds, in bars and days; the shares of day, week and month from a time (epoch ms) on."""

    history_days: int
    draw_every_bars: int
    quantile: float
    shares: tuple[tuple[int, tuple[float, float, float]], ...]


@dataclass(frozen=True)
class Window:
    """A bar at whose close a path begins, the 96 after it, and the forecast then."""

    before: Candle
    after: tuple[Candle, ...]
    volatility: float


@dataclass(frozen=True)
class Risk:
    """Quote, by horizon; the giveback by horizon and quantile."""

    capital_at_risk: dict[str, float]
    giveback: dict[tuple[str, str], float]


def volatility_at(candles: Sequence[Candle], index: int, settings: Settings) -> float | None:
    """Forecast at the close of a bar; None where one of the day's returns is missing."""
    closed_ms = candles[index].opened_ms + STEP_MS
    means = []
    for days in (1, 7, 30):
        first_ms = closed_ms - days * DAY_MS
        squares, i = [], index
        while i > 0 and candles[i].opened_ms >= first_ms:
            if candles[i].opened_ms - candles[i - 1].opened_ms == STEP_MS:
                squares.append(math.log(candles[i].close / candles[i - 1].close) ** 2)
            i -= 1
        if days == 1 and len(squares) < 96:
            return None
        means.append(math.fsum(squares) / len(squares))
    valid = [shares for since, shares in settings.shares if since <= closed_ms] or [settings.shares[0][1]]
    return math.sqrt(math.fsum(share * mean for share, mean in zip(valid[-1], means, strict=True)))


def windows_before(candles: Sequence[Candle], newest: int, settings: Settings) -> list[Window]:
    """Windows that are over when this bar is the newest known one."""
    oldest_ms = candles[newest].opened_ms + STEP_MS - settings.history_days * DAY_MS
    found = []
    for i in range(newest - 95):
        closed_ms = candles[i].opened_ms + STEP_MS
        if closed_ms < oldest_ms or closed_ms // STEP_MS % settings.draw_every_bars:
            continue
        after = tuple(candles[i + 1 : i + 97])
        volatility = volatility_at(candles, i, settings)
        if after[-1].opened_ms - candles[i].opened_ms == DAY_MS and volatility:
            found.append(Window(candles[i], after, volatility))
    return found


def trend_of(windows: Sequence[Window]) -> float:
    """Mean log return a bar, in units of the forecast."""
    moves = [math.log(one.after[-1].close / one.before.close) / one.volatility for one in windows]
    return math.fsum(moves) / len(moves) / 96


def stop_probability(windows: Sequence[Window], price: float, volatility: float, stop: float, bars: int) -> float:
    """Share of windows whose low went as far, in units of its own volatility, as the stop is in units of today's."""
    distance = math.log(price / stop) / volatility
    deep = [
        math.log(one.before.close / min(bar.low for bar in one.after[:bars])) / one.volatility >= distance
        for one in windows
    ]
    return sum(deep) / len(deep)


def risk_of(
    levels: Sequence[float],
    holds: Sequence[bool],
    *,
    stop: float,
    capital: float,
    fee: float,
    beside: float,
    windows: Sequence[Window],
    price: float,
    volatility: float,
    settings: Settings,
) -> Risk:
    """Run the grid along every window, holding ``beside`` base more than its intervals do."""
    count = len(levels) - 1
    ends: dict[str, list[tuple[float, float]]] = {name: [] for name in HORIZONS}
    quantities = [capital / count / (level * (1 + fee)) for level in levels[:-1]]
    now = price * (sum(q for q, held in zip(quantities, holds, strict=True) if held) + beside)
    trend = trend_of(windows) * volatility
    for window in windows:
        intervals = [Interval(i, levels[i], levels[i + 1], quantities[i], holds[i]) for i in range(count)]
        path = list(prices_along(window, price, volatility, trend))
        worths = list(worths_along(path, intervals, beside=beside, stop=stop, fee=fee, price=price))
        for name, bars in HORIZONS.items():
            ends[name].append(worths[bars - 1])
    return Risk(
        capital_at_risk={
            name: now - float(np.quantile([net for _, net in ends[name]], settings.quantile)) for name in HORIZONS
        },
        giveback={
            (name, quantile): float(np.quantile([now - gross for gross, _ in ends[name]], share))
            for name in HORIZONS
            for quantile, share in QUANTILES.items()
        },
    )


def prices_along(window: Window, price: float, volatility: float, trend: float) -> Iterator[tuple[Candle, bool]]:
    """The window's bars, stretched and without the trend, from this price on; and whether each went low first."""
    scale = volatility / window.volatility
    for number, bar in enumerate(window.after, start=1):
        parts = [
            price * math.exp(math.log(part / window.before.close) * scale - trend * number)
            for part in (bar.open, bar.high, bar.low, bar.close)
        ]
        yield Candle(bar.opened_ms, bar.known_ms, *parts), bar.open - bar.low <= bar.high - bar.open


def worths_along(
    path: Sequence[tuple[Candle, bool]],
    intervals: Sequence[Interval],
    *,
    beside: float,
    stop: float,
    fee: float,
    price: float,
) -> Iterator[tuple[float, float]]:
    """After each bar: cash that came in and inventory, before and after the fee of selling it."""
    account = Account(0.0, fee)
    close, is_over, extra = price, False, 0.0
    for number, (bar, is_low_first) in enumerate(path):
        last, close = close, bar.close
        corners = (bar.open, *((bar.low, bar.high) if is_low_first else (bar.high, bar.low)), bar.close)
        for corner in () if is_over else corners:
            walk(account, intervals, number, last, corner)
            last = corner
            if corner <= stop:
                out = min(bar.open, stop)
                held = sum(i.quantity for i in intervals if i.holds) + beside
                extra, is_over = held * out * (1 - fee), True
                break
        held = 0.0 if is_over else sum(i.quantity for i in intervals if i.holds) + beside
        cash = account.cash + extra
        yield cash + held * close, cash + held * close * (1 - fee)
