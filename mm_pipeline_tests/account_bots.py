"""What a bot, an order and a moment of an account are, written from SPEC 7. What happens does not belong here."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from mm_pipeline.domain.account import AccountFill, Increments, OpenOrder, Side
from mm_pipeline.domain.grid import Grid

STEP = 1e-4
STEPS = Increments(price=0.01, base=STEP)
RATES = {"KCS": 10.0}
MINUTE_MS = 60_000
LOOK_MS = 60 * MINUTE_MS
"""How long before and after a start an own purchase may be taken for a part of it, with room to spare."""


def floored(quantity: float) -> float:
    """A quantity as the exchange takes it."""
    return math.floor(quantity / STEP + 1e-9) * STEP


@dataclass
class Bot:
    """A two-state machine an interval, written from SPEC 7: ``holds[i]`` waits to sell at the upper level of i."""

    grid: Grid
    held_base: float = 0.0
    holds: list[bool] = field(default_factory=list)
    orders: list[OpenOrder] = field(default_factory=list)
    is_running: bool = False

    @property
    def levels(self) -> list[float]:
        low, high, last = self.grid.lower, self.grid.upper, self.grid.levels - 1
        return [low + (high - low) * i / last for i in range(last + 1)]

    @property
    def quantities(self) -> list[float]:
        worth = self.grid.capital / (self.grid.levels - 1)
        return [floored(worth / (level * (1 + self.grid.fee))) for level in self.levels[:-1]]

    def has_level(self, price: float) -> bool:
        """Whether an order of the bot may stand at a price, to the exchange's step."""
        return any(abs(level - price) < 0.015 for level in self.levels)

    def is_like(self, other: Bot) -> bool:
        """Whether an order of one may be the other's: an interval of a quantity, at a level or a better price."""
        return bool(self._alike(other))

    def holds_unlike(self, other: Bot) -> bool:
        """Whether of intervals that are alike one holds and the other waits."""
        return any(self.holds[i] != other.holds[j] for i, j in self._alike(other))

    def _alike(self, other: Bot) -> list[tuple[int, int]]:
        width = self.levels[1] - self.levels[0]
        return [
            (i, j)
            for i, size in enumerate(self.quantities)
            for j, theirs in enumerate(other.quantities)
            if abs(self.levels[i] - other.levels[j]) < width and abs(size / theirs - 1) < 0.03
        ]

    @property
    def locked_base(self) -> float:
        return sum(order.remaining_base for order in self.orders if order.side is Side.SELL)


@dataclass(frozen=True)
class Moment:
    """The account after something happened.

    Attributes
    ----------
    orders, balance_base
        What rests, and all base.
    held
        Base of each bot, by grid id.
    """

    time_ms: int
    orders: tuple[OpenOrder, ...]
    balance_base: float
    held: dict[str, float]


@dataclass(frozen=True)
class Listed:
    """A fill, the moment that it made, whose it was, and the first moment at which the exchange lists it."""

    fill: AccountFill
    moment: int
    listed: int
    owner: str | None
    change_base: float
