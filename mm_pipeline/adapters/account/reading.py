"""What one reading of an account brings. How it is asked for does not belong here."""

from __future__ import annotations

from dataclasses import dataclass

from mm_pipeline.domain.account import AccountFill, AccountFlow, Balance, Increments, OpenOrder
from mm_pipeline.domain.market import Market


@dataclass(frozen=True, kw_only=True)
class AccountReading:
    """An account as far as one market concerns it.

    Attributes
    ----------
    account
        Its name in the fill store.
    market
        Whose fills and orders.
    read_at_ms
        Exchange's time, up to which fills are told.
    unreadable
        Fills of the market that cannot be read, and why. One of which no fee was told is among ``fills`` with NaN.
    fills, orders, balances
        Every fill kept, the market's resting orders, and all spot balances. They were asked for one after the other,
        orders first and fills last: an order that was filled in between is told as resting and as filled, so that no
        grid looks closed that is not. Where something was filled meanwhile, balances are asked for again.
    fills_from_ms
        From when on every fill is told; fills from before it may be told too. Later than the start that was asked for
        where the exchange does not reach back that far.
    increments
        The symbol's steps.
    bid, prices
        The market's bid, and last prices of currencies in its quote.
    new_fills
        How many fills were not kept before.
    flows
        Every flow of the whole account that is kept, whatever its market.
    flows_from_ms, flows_until_ms
        Flows with ``flows_from_ms <= time < flows_until_ms`` are all told; None where nothing was read yet. The
        stretch begins after the start that was asked for where that much is not read yet, or where the exchange's
        ledger does not reach back that far.
    """

    account: str
    market: Market
    read_at_ms: int
    fills: tuple[AccountFill, ...]
    fills_from_ms: int
    orders: tuple[OpenOrder, ...]
    balances: tuple[Balance, ...]
    increments: Increments
    bid: float
    prices: dict[str, float]
    new_fills: int
    unreadable: tuple[str, ...] = ()
    flows: tuple[AccountFlow, ...] = ()
    flows_from_ms: int | None = None
    flows_until_ms: int | None = None
