"""An account as a whole: what it holds of each currency, and in one of them; and how much of a grid's capital works."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mm_pipeline.domain.account.policy import AccountPolicy
from mm_pipeline.domain.account.values import Balance
from mm_pipeline.domain.grid import Grid


@dataclass(frozen=True, kw_only=True)
class AccountSummary:
    """An account in one currency.

    Attributes
    ----------
    currency
        ``USDT``.
    total, available, locked
        In that currency; ``locked`` stands behind orders.
    balances
        What is held of each currency, in that currency, sorted; without those of which nothing is held.
    unpriced
        Currencies that are held and have no price: the sums are without them.
    """

    currency: str
    total: float
    available: float
    locked: float
    balances: tuple[Balance, ...]
    unpriced: tuple[str, ...]


def account_summary(balances: Iterable[Balance], prices: Mapping[str, float], *, currency: str) -> AccountSummary:
    """Add up an account.

    Parameters
    ----------
    balances
        In any order.
    prices
        Units of ``currency`` per unit of the others.
    currency
        In which to add up.
    """
    held = tuple(sorted((b for b in balances if b.total != 0.0), key=lambda balance: balance.currency))
    priced = [
        (b, 1.0 if b.currency == currency else prices[b.currency]) for b in held if b.currency in {*prices, currency}
    ]
    return AccountSummary(
        currency=currency,
        total=math.fsum(balance.total * price for balance, price in priced),
        available=math.fsum(balance.available * price for balance, price in priced),
        locked=math.fsum(balance.locked * price for balance, price in priced),
        balances=held,
        unpriced=tuple(b.currency for b in held if b.currency != currency and b.currency not in prices),
    )


def capital_utilization(
    grid: Grid,
    *,
    inventory_base: float,
    bid: float,
    locked_quote: float,
    unrealised_quote: float | None,
    policy: AccountPolicy,
) -> float | None:
    """Inventory's worth and locked quote over capital, 0..1 and above where prices rose; 0 without capital.

    None where inventory at cost and locked quote are more than the capital by ``account.quantity_tolerance``: orders of
    the operator's own then rest on the ladder beside the grid's, and nobody can say which.
    """
    if grid.capital == 0:
        return 0.0
    bound_quote = inventory_base * bid + locked_quote
    at_cost_quote = bound_quote - (unrealised_quote or 0.0)
    is_possible = unrealised_quote is None or at_cost_quote <= grid.capital * (1.0 + policy.quantity_tolerance)
    return bound_quote / grid.capital if is_possible else None
