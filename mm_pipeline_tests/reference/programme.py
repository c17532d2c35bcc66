"""Programmes of SPEC 10 the long way: every interval an object, every fact about a grid counted anew at each close."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mm_pipeline_tests.reference.simulation import Account, Interval, path_after, walk

CAPITAL = 100.0


@dataclass(frozen=True)
class Bar:
    """A 15m bar; ``closed_ms`` is its evaluation."""

    closed_ms: int
    open: float
    high: float
    low: float
    close: float


@dataclass(frozen=True)
class Coarse:
    """A 1h or 4h bar."""

    opened_ms: int
    known_ms: int
    close: float
    atr: float
    is_synthetic: bool


@dataclass(frozen=True)
class Offer:
    """A grid that may be placed at a close, with the confirmed-swing range known then."""

    lower: float
    upper: float
    levels: int
    stop: float
    range_low: float
    range_high: float


@dataclass
class Grid:
    """A grid that is held."""

    offer: Offer
    started_ms: int
    entry: int
    account: Account
    intervals: list[Interval]
    price: float

    @property
    def held(self) -> float:
        return math.fsum(interval.quantity for interval in self.intervals if interval.holds)

    def worth(self, price: float) -> float:
        """What it has made if it is sold at this price."""
        return self.account.cash + self.held * price * (1 - self.account.fee) - CAPITAL


@dataclass(frozen=True)
class Episode:
    """One grid from entry to end."""

    entry: int
    last: int
    ending: str
    pnl: float


Signal = Callable[[int, Grid], bool]
"""Whether the market's part of a policy says LATEST at a row, for a grid."""


def place(offer: Offer, entry: int, closed_ms: int, price: float, fee: float) -> Grid:
    """Place a grid; what stands above the price is bought at it."""
    step = (offer.upper - offer.lower) / (offer.levels - 1)
    levels = [offer.lower + step * i for i in range(offer.levels - 1)] + [offer.upper]
    intervals = [
        Interval(i, levels[i], levels[i + 1], CAPITAL / (offer.levels - 1) / (levels[i] * (1 + fee)))
        for i in range(offer.levels - 1)
    ]
    grid = Grid(offer, closed_ms, entry, Account(CAPITAL, fee), intervals, price)
    for interval in reversed(intervals):
        if interval.lower >= price:
            grid.account.buy(0, interval, price)
    return grid


def is_stopped_within(grid: Grid, bar: Bar) -> bool:
    """Trade one bar; whether the stop ended the grid."""
    stop = grid.offer.stop
    for corner in (bar.open, *path_after(bar.open, bar.high, bar.low), bar.close):
        walk(grid.account, grid.intervals, 0, grid.price, corner)
        grid.price = corner
        if corner <= stop:
            for interval in grid.intervals:
                if interval.holds:
                    grid.account.sell(0, interval, min(stop, bar.open))
            return True
    return False


def closes_outside(grid: Grid, hours: Sequence[Coarse], at_ms: int) -> int:
    """Real closes in a row on one side, by an evaluation."""
    run, side, before = 0, 0, None
    for hour in hours:
        if before is not None and hour.opened_ms - before != 3_600_000:
            run = 0
        before = hour.opened_ms
        if hour.known_ms > at_ms or hour.opened_ms < grid.started_ms or hour.is_synthetic:
            continue
        now = 1 if hour.close > grid.offer.upper else -1 if hour.close < grid.offer.lower else 0
        run = 0 if now == 0 else run + 1 if now == side else 1
        side = now
    return run


def is_range_left(grid: Grid, fours: Sequence[Coarse], at_ms: int, buffer: float) -> bool:
    """Whether a 4h close since the start went beyond the range by more than so many ATR."""
    lows = [bound for bound in (grid.offer.lower, grid.offer.range_low) if not math.isnan(bound)]
    highs = [bound for bound in (grid.offer.upper, grid.offer.range_high) if not math.isnan(bound)]
    seen = [four for four in fours if four.known_ms <= at_ms and four.opened_ms >= grid.started_ms and four.atr > 0]
    return any(max(four.close - max(highs), min(lows) - four.close) / four.atr > buffer for four in seen)


def loss_of_fall(grid: Grid, price: float, fall: float) -> float:
    """What a straight fall (log) costs, bought and sold on the way, against equity now."""
    end = max(price * math.exp(-fall), grid.offer.stop)
    bought = [interval for interval in grid.intervals if not interval.holds and end <= interval.lower <= price]
    paid = math.fsum(interval.quantity * interval.lower * (1 + grid.account.fee) for interval in bought)
    base = grid.held + math.fsum(interval.quantity for interval in bought)
    return grid.held * price + paid - base * end * (1 - grid.account.fee)


def run(
    bars: Sequence[Bar],
    offers: Sequence[Offer | None],
    hours: Sequence[Coarse],
    fours: Sequence[Coarse],
    signal: Signal,
    *,
    first: int,
    fee: float,
    closes: int,
    buffer: float,
) -> tuple[list[Episode], list[float]]:
    """Episodes, and the sum of all PnL at each close from the first on."""
    episodes: list[Episode] = []
    curve = [0.0] * len(bars)
    total, row = 0.0, first
    while row < len(bars) - 1:
        curve[row] = total
        offer = offers[row]
        asked = None if offer is None else place(offer, row, bars[row].closed_ms, bars[row].close, fee)
        if offer is None or asked is None or signal(row, asked):
            row += 1
            continue
        entry, ending, leaves = row, "", False
        grid = place(offer, row, bars[row].closed_ms, bars[row + 1].open, fee)
        has_held = any(interval.holds for interval in grid.intervals)
        while not ending:
            row += 1
            bar = bars[row]
            if is_stopped_within(grid, bar):
                ending = "STOPPED"
            holds = any(interval.holds for interval in grid.intervals)
            has_held |= holds
            if not ending and not holds and (has_held or bar.close >= offer.upper):
                ending = "SOLD_OUT"
            elif not ending and leaves:
                ending = "EXITED"
            elif not ending and row == len(bars) - 1:
                ending = "UNFINISHED"
            if not ending:
                is_fact = bool(closes) and (
                    closes_outside(grid, hours, bar.closed_ms) >= closes
                    or is_range_left(grid, fours, bar.closed_ms, buffer)
                )
                leaves = signal(row, grid) or is_fact
            curve[row] = total + grid.worth(bar.close)
        total += grid.worth(bars[row].close)
        episodes.append(Episode(entry, row, ending, grid.worth(bars[row].close)))
    curve[row:] = [total] * (len(bars) - row)
    return episodes, curve
