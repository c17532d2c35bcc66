"""The grid of SPEC 7 the long way: an object an interval, every leg of the path walked, every level asked each time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

Bar = tuple[float, float, float, float]
"""Open, high, low, close."""


@dataclass
class Interval:
    """Buys at the lower level, sells at the upper one."""

    number: int
    lower: float
    upper: float
    quantity: float
    holds: bool = False


@dataclass(frozen=True)
class Fill:
    """One interval's purchase or sale within, or just before, a bar."""

    bar: int
    side: str
    interval: int
    price: float
    quantity: float
    fee: float


@dataclass
class Account:
    """Cash and lots, first in, first out."""

    capital: float
    fee: float
    flows: list[float] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    lots: deque[list[float]] = field(default_factory=deque)  # quantity, price, fee, all of what is left
    profits: list[float] = field(default_factory=list)

    @property
    def cash(self) -> float:
        return math.fsum([self.capital, *self.flows])

    def buy(self, bar: int, interval: Interval, price: float) -> None:
        paid = interval.quantity * price
        self.flows += [-paid, -paid * self.fee]
        self.lots.append([interval.quantity, price, paid * self.fee])
        interval.holds = True
        self.fills.append(Fill(bar, "buy", interval.number, price, interval.quantity, paid * self.fee))

    def sell(self, bar: int, interval: Interval, price: float) -> None:
        received = interval.quantity * price
        self.flows += [received, -received * self.fee]
        self.profits += [received, -received * self.fee, *self.cost_of_oldest(interval.quantity)]
        interval.holds = False
        self.fills.append(Fill(bar, "sell", interval.number, price, interval.quantity, received * self.fee))

    def cost_of_oldest(self, quantity: float) -> list[float]:
        """What the oldest lots of this quantity cost and their fees, as negative amounts; they are gone then."""
        costs: list[float] = []
        while quantity > 1e-15 and self.lots:
            lot = self.lots[0]
            if lot[0] <= quantity:
                self.lots.popleft()
                costs += [-lot[0] * lot[1], -lot[2]]
                quantity -= lot[0]
            else:
                share = quantity / lot[0]
                costs += [-quantity * lot[1], -lot[2] * share]
                lot[0], lot[2] = lot[0] - quantity, lot[2] * (1 - share)
                quantity = 0.0
        return costs


@dataclass(frozen=True)
class Close:
    """What stands at a bar's close."""

    cash: float
    inventory: float
    equity: float
    grid_profit: float
    unrealised: float
    unmatched_fees: float
    total_pnl: float


@dataclass(frozen=True)
class Simulation:
    """Fills, a row a bar, and the bar of the stop."""

    fills: list[Fill]
    closes: list[Close]
    stopped_bar: int | None


def simulate(
    levels: Sequence[float],
    stop: float,
    capital: float,
    fee: float,
    bars: Sequence[Bar],
    *,
    stops: Sequence[float] | None = None,
) -> Simulation:
    """Run a grid over bars from the first one's open; ``stops`` are those of each bar where the stop was edited."""
    count = len(levels) - 1
    intervals = [Interval(i, levels[i], levels[i + 1], capital / count / (levels[i] * (1 + fee))) for i in range(count)]
    account = Account(capital, fee)
    price = bars[0][0]
    for interval in reversed(intervals):
        if interval.lower >= price:
            account.buy(0, interval, price)
    closes, stopped_bar = [], None
    for number, (opened, high, low, close) in enumerate(bars):
        stop = stop if stops is None else stops[number]
        for corner in (opened, *path_after(opened, high, low), close) if stopped_bar is None else ():
            walk(account, intervals, number, price, corner)
            price = corner
            if corner <= stop:
                for interval in intervals:
                    account.sell(number, interval, opened if opened < stop else stop)
                stopped_bar = number
                break
        closes.append(valued(account, intervals, close, capital))
    return Simulation(account.fills, closes, stopped_bar)


def path_after(opened: float, high: float, low: float) -> tuple[float, float]:
    """The nearer extreme, then the other; the low first where both are as near."""
    return (high, low) if high - opened < opened - low else (low, high)


def walk(account: Account, intervals: Sequence[Interval], bar: int, start: float, end: float) -> None:
    """Fill every level between two prices, both included, in the order in which the price comes to them."""
    if end < start:
        for interval in reversed(intervals):
            if not interval.holds and end <= interval.lower <= start:
                account.buy(bar, interval, interval.lower)
    else:
        for interval in intervals:
            if interval.holds and start <= interval.upper <= end:
                account.sell(bar, interval, interval.upper)


def valued(account: Account, intervals: Iterable[Interval], close: float, capital: float) -> Close:
    """The identity's parts at a close."""
    inventory = sum(interval.quantity for interval in intervals if interval.holds)
    cost = sum(lot[0] * lot[1] for lot in account.lots)
    cash = account.cash
    equity = cash + inventory * close
    return Close(
        cash=cash,
        inventory=inventory,
        equity=equity,
        grid_profit=math.fsum(account.profits),
        unrealised=(close - cost / inventory) * inventory if inventory else 0.0,
        unmatched_fees=sum(lot[2] for lot in account.lots),
        total_pnl=equity - capital,
    )
