"""Modelled risk of SPEC 7 the long way: every path in prices, every interval asked at every corner of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mm_pipeline_tests.reference.simulation import Account, Interval, walk

HORIZONS = {"15m": 1, "1h": 4, "4h": 16}
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
    is_synthetic: bool


@dataclass(frozen=True)
class Move:
    """A bar over the close before it, in multiples of the volatility at that close."""

    opened_ms: int
    open: float
    high: float
    low: float
    close: float
    is_low_first: bool


@dataclass(frozen=True)
class Settings:
    """Thresholds, in bars and days."""

    history_days: int
    min_history_days: int
    volatility_bars: int
    block_bars: int
    paths: int
    quantile: float


@dataclass(frozen=True)
class Risk:
    """Quote, by horizon."""

    capital_at_risk: dict[str, float]
    p50: dict[str, float]
    p90: dict[str, float]


def volatility_at(candles: Sequence[Candle], index: int, bars: int) -> float | None:
    """Root mean square of the returns that end with this bar; None where a bar is missing."""
    first = index - bars
    if first < 0 or candles[index].opened_ms - candles[first].opened_ms != bars * STEP_MS:
        return None
    returns = [math.log(candles[i].close / candles[i - 1].close) for i in range(first + 1, index + 1)]
    return math.sqrt(math.fsum(r * r for r in returns) / bars)


def moves_before(candles: Sequence[Candle], newest: int, settings: Settings) -> list[Move]:
    """What may be drawn when this bar is the newest known one."""
    oldest_ms = candles[newest].opened_ms + STEP_MS - settings.history_days * DAY_MS
    found = []
    for i in range(1, newest + 1):
        bar, before = candles[i], candles[i - 1]
        if bar.opened_ms < oldest_ms or bar.is_synthetic or before.is_synthetic:
            continue
        unit = volatility_at(candles, i - 1, settings.volatility_bars)
        if bar.opened_ms - before.opened_ms != STEP_MS or not unit:
            continue
        parts = [math.log(price / before.close) / unit for price in (bar.open, bar.high, bar.low, bar.close)]
        found.append(Move(bar.opened_ms, *parts, is_low_first=bar.open - bar.low <= bar.high - bar.open))
    return found


def random_numbers(seed: int) -> Iterator[int]:
    """SplitMix64."""
    mask = 2**64 - 1
    while True:
        seed = (seed + 0x9E3779B97F4A7C15) & mask
        bits = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & mask
        bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & mask
        yield bits ^ (bits >> 31)


def seed_of(grid_id: str, evaluated_ms: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{grid_id}@{evaluated_ms}".encode(), digest_size=8).digest(), "little")


def drawn_path(moves: Sequence[Move], numbers: Iterator[int], settings: Settings, length: int) -> list[Move]:
    """Blocks one after the other."""
    starts = len(moves) - settings.block_bars + 1
    path: list[Move] = []
    while len(path) < length:
        start = ((next(numbers) >> 32) * starts) >> 32
        path += moves[start : start + settings.block_bars]
    return path[:length]


def risk_of(
    levels: Sequence[float],
    holds: Sequence[bool],
    *,
    stop: float,
    capital: float,
    fee: float,
    beside: float,
    moves: Sequence[Move],
    price: float,
    volatility: float,
    seed: int,
    settings: Settings,
) -> Risk:
    """Run the grid along every path, holding ``beside`` base more than its intervals do."""
    count = len(levels) - 1
    ends: dict[str, list[tuple[float, float]]] = {name: [] for name in HORIZONS}
    numbers = random_numbers(seed)
    quantities = [capital / count / (level * (1 + fee)) for level in levels[:-1]]
    now = price * (sum(q for q, held in zip(quantities, holds, strict=True) if held) + beside)
    for _ in range(settings.paths):
        intervals = [Interval(i, levels[i], levels[i + 1], quantities[i], holds[i]) for i in range(count)]
        path = drawn_path(moves, numbers, settings, max(HORIZONS.values()))
        worths = list(
            worths_along(path, intervals, beside=beside, stop=stop, fee=fee, price=price, volatility=volatility)
        )
        for name, bars in HORIZONS.items():
            ends[name].append(worths[bars - 1])

    def lost(name: str, probability: float) -> float:
        return float(np.quantile([now - gross for gross, _ in ends[name]], probability))

    return Risk(
        capital_at_risk={
            name: now - float(np.quantile([net for _, net in ends[name]], settings.quantile)) for name in HORIZONS
        },
        p50={name: lost(name, 0.5) for name in HORIZONS},
        p90={name: lost(name, 0.9) for name in HORIZONS},
    )


def worths_along(
    path: Sequence[Move],
    intervals: Sequence[Interval],
    *,
    beside: float,
    stop: float,
    fee: float,
    price: float,
    volatility: float,
) -> Iterator[tuple[float, float]]:
    """After each bar: cash that came in and inventory, before and after the fee of selling it."""
    account = Account(0.0, fee)
    close, is_over, extra = price, False, 0.0
    for number, move in enumerate(path):
        before = close
        opened, high, low, close = (
            before * math.exp(volatility * part) for part in (move.open, move.high, move.low, move.close)
        )
        last = before
        for corner in (opened, *((low, high) if move.is_low_first else (high, low)), close) if not is_over else ():
            walk(account, intervals, number, last, corner)
            last = corner
            if corner <= stop:
                out = min(opened, stop)
                held = sum(i.quantity for i in intervals if i.holds) + beside
                extra, is_over = held * out * (1 - fee), True
                break
        held = 0.0 if is_over else sum(i.quantity for i in intervals if i.holds) + beside
        cash = account.cash + extra
        yield cash + held * close, cash + held * close * (1 - fee)
