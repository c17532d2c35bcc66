"""Whether an account shows a grid's position closed, and whether the grid trades again after it was."""

from __future__ import annotations

from collections.abc import Iterable

from mm_pipeline.domain.account.attribution import FillRole, GridFills
from mm_pipeline.domain.account.ladder import dust_base
from mm_pipeline.domain.account.policy import AccountPolicy
from mm_pipeline.domain.account.position import AccountPosition, base_total
from mm_pipeline.domain.account.values import Balance, OpenOrder
from mm_pipeline.domain.grid import Grid


def is_emptied(grid: Grid, balances: Iterable[Balance], orders: Iterable[OpenOrder], policy: AccountPolicy) -> bool:
    """Whether an account holds no more than dust of the grid's base, and no order of its symbol rests.

    Then nothing of any grid on this market is left, whatever fills are attributed to whom. An answer without any
    balance proves nothing: an account that traded holds at least what it sold for.

    Parameters
    ----------
    balances, orders
        All of the account's, not those that are attributed to the grid.
    """
    held = tuple(balances)
    is_resting = any(order.symbol == grid.symbol for order in orders)
    return bool(held) and not is_resting and base_total(grid, held) <= dust_base(grid, policy)


def held_base(grid: Grid, position: AccountPosition, balances: Iterable[Balance], policy: AccountPolicy) -> float:
    """How much of what the account holds is the grid's by its fills, in base; 0 or more.

    Coins that lay there before the grid began are not. Where the grid sold more than it bought, purchases that are
    attributed to nobody count as the grid's: its start may be among them.
    """
    bought = position.inventory_base
    if bought < -dust_base(grid, policy):
        bought += position.foreign_base
    return max(0.0, min(bought, base_total(grid, balances)))


def is_closed(grid: Grid, position: AccountPosition, balances: Iterable[Balance], policy: AccountPolicy) -> bool:
    """Whether the grid had traded, none of its orders rests, and no more than dust is left of what it bought.

    Coins that the account holds beside it count only where fills since the grid's start bought them that are nobody's:
    those may be the grid's.

    Parameters
    ----------
    balances
        The account's.
    """
    dust = dust_base(grid, policy)
    if position.doubts or position.fills == 0 or position.open_orders > 0 or abs(position.inventory_base) > dust:
        return False
    return min(base_total(grid, balances), position.foreign_base) <= dust


def traded_again_ms(
    grid: Grid,
    mine: GridFills,
    orders: Iterable[OpenOrder],
    position: AccountPosition,
    policy: AccountPolicy,
    *,
    since_ms: int,
) -> int | None:
    """When a grid that was flat at ``since_ms`` first bought, or placed an order, after it; None where it did not.

    A buy counts where more than dust is held, an order of either side where it was placed after that moment: what
    rested then may only not have been cancelled yet.

    Parameters
    ----------
    mine, orders
        The grid's fills and resting orders.
    """
    bought = [fill.time_ms for fill in mine.of_role(FillRole.LADDER, FillRole.START) if fill.is_buy]
    seen = bought if position.inventory_base > dust_base(grid, policy) else []
    seen = [*seen, *(order.time_ms for order in orders)]
    return min((time_ms for time_ms in seen if time_ms > since_ms), default=None)
