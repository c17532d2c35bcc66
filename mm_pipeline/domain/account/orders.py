"""What fills tell of the orders behind them, and which orders bought what a grid began to hold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from mm_pipeline.domain.account.ladder import AccountLadder, LadderFit
from mm_pipeline.domain.account.policy import AccountPolicy
from mm_pipeline.domain.account.values import AccountFill, OpenOrder, Side
from mm_pipeline.domain.grid import Grid

OrderName = tuple[str, Side]
_MOST_STARTS: Final = 10
"""Purchases around a start of which every combination is tried; of more only those that follow one another."""

_LONGEST: Final = 60
"""Purchases of the longest stretch that is tried."""


@dataclass(frozen=True)
class OrderFills:
    """What is known of an order.

    Attributes
    ----------
    side, price, quantity_base
        Its worst price, and how much of it was filled.
    first_ms, last
        Time of its first fill, and the place of its last.
    ordered_base
        What was ordered; None where the account does not tell any more.
    """

    side: Side
    price: float
    quantity_base: float
    first_ms: int
    last: int
    ordered_base: float | None

    def fit(self, ladder: AccountLadder) -> LadderFit | None:
        """How it fits a ladder."""
        if self.ordered_base is not None:
            return ladder.fit(self.side, self.price, self.ordered_base, is_whole=True)
        return ladder.fit(self.side, self.price, self.quantity_base, is_whole=False)


def order_name(fill: AccountFill) -> OrderName:
    """The order of a fill; where the source tells none, each fill is one."""
    return fill.order_id or fill.trade_id, fill.side


def filled_orders(fills: Iterable[AccountFill], orders: Iterable[OpenOrder]) -> dict[OrderName, OrderFills]:
    """Each order with the highest price of a buy, the lowest of a sale.

    Parameters
    ----------
    fills
        In the order in which they happened.
    orders
        What rests.
    """
    ordered = {order.order_id: order.quantity_base for order in orders}
    found: dict[OrderName, OrderFills] = {}
    for place, fill in enumerate(fills):
        name = order_name(fill)
        known = found.get(name)
        worse = max if fill.is_buy else min
        found[name] = OrderFills(
            fill.side,
            fill.price if known is None else worse(fill.price, known.price),
            fill.quantity_base + (0.0 if known is None else known.quantity_base),
            fill.time_ms if known is None else known.first_ms,
            place,
            ordered.get(fill.order_id) if fill.order_id else None,
        )
    return found


@dataclass(frozen=True)
class StartPurchase:
    """The orders that bought what a grid began to hold; ``is_short``: they bought less than it needed."""

    orders: frozenset[OrderName] = frozenset()
    is_short: bool = False


def start_purchase(
    grid: Grid, orders: Mapping[OrderName, OrderFills], ladder: AccountLadder, policy: AccountPolicy
) -> StartPurchase:
    """The purchases around a grid's start that come nearest to what it begins to hold, and not beyond it.

    Of several that come to it within the tolerance those nearest to ``started_at`` count. An order that fits the ladder
    at a better price is a part of a whole start, or the ladder's. What was bought before a grid whose ``initial_base``
    is told is in that already.
    """
    window_ms = int(policy.start_window.total_seconds() * 1000)
    started_ms, ends_ms = grid.started_at_ms, grid.started_at_ms + window_ms
    begins_ms = started_ms - window_ms if grid.initial_base is None else started_ms
    candidates = [
        name
        for name, order in orders.items()
        if order.side is Side.BUY
        and begins_ms <= order.first_ms < ends_ms
        and (order.first_ms < started_ms or not _is_at_level(order, ladder))
    ]
    found: list[tuple[tuple[bool, int, int, float], frozenset[OrderName]]] = []
    for chosen in _choices(candidates):
        bought = math.fsum(orders[name].quantity_base for name in chosen)
        price = math.fsum(orders[name].price * orders[name].quantity_base for name in chosen) / bought
        away_ms = min(abs(orders[name].first_ms - started_ms) for name in chosen)
        is_on_ladder = any(_is_on_ladder(orders[name], ladder, started_ms) for name in chosen)
        for slipped, wanted in enumerate(ladder.starts_base(price)):
            missing = max(0.0, wanted - (grid.initial_base or 0.0)) - bought
            slack = ladder.start_slack(wanted)
            is_short = missing > slack
            if missing >= -slack and not (is_short and is_on_ladder):
                found.append(((is_short, slipped, 0 if is_short else away_ms, abs(missing)), frozenset(chosen)))
    none: tuple[tuple[bool, int, int, float], frozenset[OrderName]] = ((False, 0, 0, 0.0), frozenset())
    (is_short, *_), nearest = min(found, key=lambda one: one[0], default=none)
    return StartPurchase(nearest, is_short)


def _is_at_level(order: OrderFills, ladder: AccountLadder) -> bool:
    fit = order.fit(ladder)
    return fit is not None and not fit.is_better


def _is_on_ladder(order: OrderFills, ladder: AccountLadder, started_ms: int) -> bool:
    return order.first_ms >= started_ms and order.fit(ladder) is not None


def _choices(names: list[OrderName]) -> Iterable[tuple[OrderName, ...]]:
    """Every combination of few; of many each stretch of neighbours."""
    if len(names) <= _MOST_STARTS:
        return (chosen for size in range(1, len(names) + 1) for chosen in combinations(names, size))
    return (tuple(names[i:j]) for i in range(len(names)) for j in range(i + 1, min(i + _LONGEST, len(names)) + 1))
