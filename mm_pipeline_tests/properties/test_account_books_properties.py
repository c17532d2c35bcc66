"""Random accounts whose truth is known: where the balance allows one answer it is given, else "not known" is said."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_pipeline.domain.account import AccountFill, AccountPosition, Balance, Increments, OpenOrder, Side, position_of
from mm_pipeline.domain.account.ladder import dust_base
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.position.trading import GridLadder
from mm_pipeline_tests.account_samples import STARTED, account_policy, fill
from mm_pipeline_tests.effort import tries
from mm_pipeline_tests.grid_samples import hundreds_grid

STEP = 1e-4
STEPS = Increments(price=0.01, base=STEP)
POLICY = account_policy()
STARTED_MS = int(STARTED.timestamp() * 1000)
MINUTE_MS = 60_000


def ladder(**changes: Any) -> Grid:
    return hundreds_grid(**({"started_at": STARTED, "exchange": "kucoin", "levels": 7, "fee": 0.001} | changes))


@dataclass
class Account:
    """A bot that trades one grid, and its operator's own coins beside it; what is the grid's is known."""

    grid: Grid
    fee_currency: str
    own_base: float
    held_base: float = 0.0
    fills: list[AccountFill] = field(default_factory=list)
    intervals: dict[int, bool] = field(default_factory=dict)
    is_running: bool = True
    is_ambiguous: bool = False
    had_own: bool = False
    now_ms: int = STARTED_MS

    def __post_init__(self) -> None:
        made = GridLadder.of(self.grid)
        self.levels = made.levels.tolist()
        self.quantities = [math.floor(one / STEP) * STEP for one in made.quantity_base.tolist()]

    @property
    def total_base(self) -> float:
        return self.held_base + self.own_base

    def trade(self, side: str, price: float, quantity: float, *, parts: int = 1) -> float:
        """An order, filled in parts; what it did to the base balance."""
        self.now_ms += MINUTE_MS
        number, change = len(self.fills) + 1, 0.0
        for part in range(parts):
            amount = quantity / parts
            currency = "USDT" if self.fee_currency == "ETH" and side == "sell" else self.fee_currency
            worth = {"USDT": price, "ETH": 1.0, "KCS": price / 10.0}[currency]
            fee = 0.001 * amount * worth
            made = fill(
                number + part,
                side,
                price,
                amount,
                order_id=f"order-{number}",
                time_ms=self.now_ms + part,
                fee=fee,
                fee_currency=currency,
            )
            self.fills.append(made)
            change += (amount if side == "buy" else -amount) - (fee if currency == "ETH" else 0.0)
        return change

    def start(self, price: float, *, is_one_order: bool) -> None:
        holding = [i for i in range(len(self.quantities)) if self.levels[i] >= price]
        self.intervals = {i: i in holding for i in range(len(self.quantities))}
        sizes = [self.quantities[i] for i in holding]
        for size in [sum(sizes)] if is_one_order and sizes else sizes:
            self.held_base += self.trade("buy", price, size)

    def ladder_trade(self, interval: int, *, parts: int, better: float) -> None:
        """The next order of an interval, at its level or a little better for it."""
        if not self.is_running:
            return
        is_held = self.intervals[interval]
        level = self.levels[interval + 1] if is_held else self.levels[interval]
        price = round(level * (1 + better if is_held else 1 - better), 2)
        size = self.quantities[interval]
        if is_held:  # what the fee of the buy has left of it
            size = math.floor(min(size, self.held_base) / STEP) * STEP
        self.held_base += self.trade("sell" if is_held else "buy", price, size, parts=parts)
        self.intervals[interval] = not is_held

    def own_trade(self, side: str, price: float, quantity: float) -> None:
        """Of the operator's own coins; a sale of no more than there are."""
        size = quantity if side == "buy" else min(quantity, self.own_base / 1.01)
        size = math.floor(size / STEP) * STEP
        if size > 0 and not self.looks_like_the_grids(size, price):
            self.had_own = True
            self.own_base += self.trade(side, price, size)

    def looks_like_the_grids(self, size: float, price: float) -> bool:
        """Whether nobody could tell an order from one of the grid's: its size, or a part of one at a level."""
        is_size = any(abs(size / one - 1) < 0.03 for one in self.quantities)
        is_part = size < max(self.quantities) and any(abs(price / level - 1) < 1e-3 for level in self.levels)
        return is_size or is_part

    def leave(self, shares: list[float], price: float, decimals: int) -> None:
        """Cancel all orders and sell these shares of what the grid holds, typed with some decimals."""
        self.is_running = False
        for share in shares:
            size = math.floor(share * self.held_base * 10**decimals) / 10**decimals
            if size >= STEP and not self.looks_like_the_grids(size, price):
                self.is_ambiguous |= self.own_base > 0.0
                self.held_base += self.trade("sell", price, size)

    def convert(self, share: float) -> None:
        """Coins leave without a fill, own ones first; what is behind orders cannot."""
        free = self.own_base if self.is_running else self.total_base
        gone = share * free
        from_own = min(gone, self.own_base)
        self.own_base -= from_own
        self.held_base -= gone - from_own
        self.is_ambiguous |= gone - from_own > 0.0

    def resting(self) -> list[OpenOrder]:
        if not self.is_running:
            return []
        found = []
        for interval, is_held in self.intervals.items():
            level = self.levels[interval + 1] if is_held else self.levels[interval]
            quantity = min(self.quantities[interval], self.held_base) if is_held else self.quantities[interval]
            found.append(
                OpenOrder(
                    order_id=f"rests-{interval}",
                    symbol="ETH/USDT",
                    time_ms=self.now_ms,
                    side=Side.SELL if is_held else Side.BUY,
                    price=round(level, 2),
                    quantity_base=quantity,
                    filled_base=0.0,
                )
            )
        return found

    def told(self) -> AccountPosition:
        balances = [Balance(currency="ETH", total=self.total_base, available=self.total_base, locked=0.0)]
        return position_of(
            self.grid,
            self.fills,
            self.resting(),
            balances,
            115.0,
            policy=POLICY,
            increments=STEPS,
            rates={"KCS": 10.0},
        )


@st.composite
def accounts(draw: st.DrawFn) -> Account:
    """A start, up to twenty events of the bot and its operator, and an exit or none."""
    own = draw(st.sampled_from([0.0, 0.0, 0.5, 7.0]))
    made = Account(ladder(), draw(st.sampled_from(["USDT", "ETH", "KCS"])), own)
    made.start(draw(st.sampled_from([99.0, 107.5, 117.5, 131.0])), is_one_order=draw(st.booleans()))
    for _ in range(draw(st.integers(0, 20))):
        kind = draw(st.sampled_from(["ladder"] * 5 + ["own_buy", "own_sell", "convert"]))
        if kind == "ladder":
            parts, better = draw(st.integers(1, 3)), draw(st.sampled_from([0.0, 0.0, 0.002]))
            made.ladder_trade(draw(st.integers(0, 5)), parts=parts, better=better)
        elif kind == "convert":
            made.convert(draw(st.sampled_from([0.3, 1.0])))
        else:
            made.now_ms += 40 * MINUTE_MS  # after the window in which a start is looked for
            price = draw(st.sampled_from([100.0, 107.31, 110.0, 116.4, 125.0]))
            made.own_trade(kind.removeprefix("own_"), price, draw(st.floats(0.001, 6.0)))
    if draw(st.booleans()):
        shares = draw(st.sampled_from([[1.0], [0.5], [0.5, 1.0], [0.25], [0.3, 0.3]]))
        made.leave(shares, draw(st.sampled_from([98.37, 111.2, 121.9])), draw(st.integers(2, 4)))
        if draw(st.booleans()):
            made.convert(draw(st.sampled_from([0.5, 1.0])))
    return made


@settings(max_examples=tries(100), deadline=None)
@given(accounts())
def test_position_is_the_truth_or_is_said_not_to_be_known(account: Account) -> None:
    told = account.told()
    dust = dust_base(account.grid, POLICY) + STEP * 7
    if told.doubts:
        assert account.is_ambiguous or account.had_own or account.own_base > 0.0, (
            told.doubts,
            "an account of the grid's coins alone",
        )
        return
    assert told.inventory_base <= account.total_base + dust
    if not account.is_ambiguous:
        assert told.inventory_base == pytest.approx(account.held_base, abs=dust)
    assert told.oversold_base <= dust
    if told.oversold_base == 0.0:
        assert abs(told.residual_quote) < 1e-6
