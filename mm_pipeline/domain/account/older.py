"""Fills from before what an exchange still tells: imported ones fill that part; without them the gap is named."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

from mm_pipeline.domain.account.policy import AccountPolicy
from mm_pipeline.domain.account.values import AccountFill
from mm_pipeline.domain.grid import Grid, from_epoch_ms

_SECOND_MS: Final = 1000
"""Files tell whole seconds: a fill just after the beginning of what was read may bear a time before it."""


def with_older(fills: Sequence[AccountFill], imported: Iterable[AccountFill], from_ms: int) -> tuple[AccountFill, ...]:
    """An account's fills with the imported ones from before ``from_ms``, from which on the account told them all.

    What the account told before that (it was read in time, and lies before a hole) counts, and an imported fill of an
    order that it told does not.
    """
    known = {(fill.order_id or fill.trade_id, fill.side) for fill in fills if fill.time_ms < from_ms + _SECOND_MS}
    older = [
        fill for fill in imported if fill.time_ms < from_ms and (fill.order_id or fill.trade_id, fill.side) not in known
    ]
    return (*older, *fills)


def gap_before(grid: Grid, fills: Iterable[AccountFill], from_ms: int, policy: AccountPolicy) -> str | None:
    """What is missing of a grid's fills, where it began before the account's are told and nothing fills that part.

    Parameters
    ----------
    fills
        Of the account and imported ones.
    from_ms
        From when on the account told every fill.
    """
    window_ms = policy.start_window // timedelta(milliseconds=1)
    if from_ms <= grid.started_at_ms + window_ms:
        return None
    begins_ms = grid.started_at_ms - window_ms
    if any(fill.symbol == grid.symbol and begins_ms <= fill.time_ms < from_ms for fill in fills):
        return None
    told = f"{from_epoch_ms(from_ms):%Y-%m-%d %H:%M}"
    return f"the exchange tells no fills before {told} UTC, and none were imported (mm import-fills)"
