"""A symbol's steps as fills themselves tell them, for fills whose exchange is not asked."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from mm_pipeline.domain.account.policy import AccountPolicy
from mm_pipeline.domain.account.values import AccountFill, Increments


def steps_told(fills: Iterable[AccountFill], policy: AccountPolicy) -> Increments | None:
    """Steps by the last decimal place that any fill has; None without fills.

    No coarser than the policy's share of the smallest value: few fills may all be round.
    """
    known = list(fills)
    if not known:
        return None
    coarsest = policy.coarsest_step_share
    return Increments(
        price=last_place([fill.price for fill in known], coarsest),
        base=last_place([fill.quantity_base for fill in known], coarsest),
    )


def last_place(values: list[float], coarsest: float) -> float:
    """The last decimal place that any value above 0 has, no coarser than the share of the smallest."""
    exponents = (Decimal(repr(value)).normalize().as_tuple().exponent for value in set(values))
    last = min(exponent for exponent in exponents if isinstance(exponent, int))
    return min(10.0**last, coarsest * min(values))
