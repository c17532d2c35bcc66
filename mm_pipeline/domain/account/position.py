"""What a grid holds and has earned, from its fills, orders and balances (SPEC 7)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mm_pipeline.domain.account.attribution import FillRole, GridFills, base_behind, fills_of_grid, orders_of_grid
from mm_pipeline.domain.account.books import GridBook, close_books
from mm_pipeline.domain.account.doubts import doubts_about
from mm_pipeline.domain.account.earnings import earned_by
from mm_pipeline.domain.account.fees import inventory_change_base
from mm_pipeline.domain.account.following import LadderOrders, ladder_orders
from mm_pipeline.domain.account.policy import AccountPolicy
from mm_pipeline.domain.account.rounds import NOTHING_OPEN, Unround, unround_of
from mm_pipeline.domain.account.summary import capital_utilization
from mm_pipeline.domain.account.values import AccountFill, Balance, Increments, NetFlow, OpenOrder, Side
from mm_pipeline.domain.grid import Grid


@dataclass(frozen=True, kw_only=True)
class AccountPosition:
    """A grid as its account shows it; amounts in quote unless named otherwise, valued at ``bid``.

    Attributes
    ----------
    grid_id, bid
        Whose, and at what price.
    inventory_base
        Bought less sold, fees paid in base taken off.
    cash_quote
        Capital, net flows, and what the fills paid and received; a fee in a third currency counts as if paid in quote.
    cash_flow_quote
        What the fills paid and received alone.
    equity_quote
        ``cash_quote + inventory_base x bid``.
    net_flows_quote
        What was put in less what was taken out since the start.
    total_pnl_quote
        ``equity - capital - net flows = grid_profit + unrealised - unmatched_fees + residual``.
    grid_profit_quote, unrealised_quote, unmatched_fees_quote
        As in the simulation; ``unrealised`` is ``(bid - average cost without fees) x inventory``.
    residual_quote
        What the identity leaves over: rounding, and sales that no buy of these fills stands against.
    oversold_base
        Quantity of such sales. Above 0 fills are missing.
    fees_quote
        All fees paid, by their worth in quote.
    locked_quote, locked_base
        What the resting buys and sells stand for: price x remaining with the fee, and base.
    uncovered_base
        How much of the inventory the account does not hold, all grids of the base together; None where the balance is
        not known. Above 0 base left the account unseen: by a fill that was not told or by a transfer.
    sold_by_balance_base
        What sales off the ladder sold of it, as the balance shows.
    pnl_unknown
        Why no money is told (those fields are None then), though what is held is: a fee that has no price, or none that
        was told. None where all is told.
    doubts
        Why the position is not known, a sentence each; empty where it is.
    capital_utilization
        Inventory and locked quote over capital; None where they are more than the grid can have bound.
    ladder_buys, ladder_sells
        Ladder orders that are filled wholly.
    open_orders
        Resting orders of the grid.
    fills, foreign_fills
        Fills of the grid, and those of its symbol since its start that are not the grid's.
    foreign_base
        What the latter bought less what they sold.
    """

    grid_id: str
    bid: float
    inventory_base: float
    cash_quote: float | None
    cash_flow_quote: float | None
    equity_quote: float | None
    net_flows_quote: float
    total_pnl_quote: float | None
    grid_profit_quote: float | None
    unrealised_quote: float | None
    unmatched_fees_quote: float | None
    residual_quote: float | None
    oversold_base: float
    fees_quote: float | None
    pnl_unknown: str | None
    locked_quote: float
    locked_base: float
    uncovered_base: float | None
    sold_by_balance_base: float
    doubts: tuple[str, ...]
    capital_utilization: float | None
    ladder_buys: int
    ladder_sells: int
    open_orders: int
    fills: int
    foreign_fills: int
    foreign_base: float


def position_of(
    grid: Grid,
    fills: Iterable[AccountFill],
    orders: Iterable[OpenOrder],
    balances: Iterable[Balance] | None,
    bid: float,
    *,
    policy: AccountPolicy,
    increments: Increments | None = None,
    rates: Mapping[str, float] | None = None,
    net_flows: Iterable[NetFlow] = (),
    start_price: float | None = None,
    unclear: Sequence[str] = (),
) -> AccountPosition:
    """What a grid holds and has earned.

    The result does not depend on the order of fills, nor on how often each was told.

    Parameters
    ----------
    grid
        The declaration.
    fills, orders
        An account's; those of the grid are picked out (``attribution``).
    balances
        The account's; None where they are not known (an import).
    bid
        Quote: what inventory is valued at.
    policy, increments
        Tolerances, and the symbol's steps where they are known.
    rates
        Quote per unit of third currencies in which fees were paid.
    net_flows
        Quote put in or taken out since the start.
    start_price, unclear
        As in :func:`position_by`.

    Raises
    ------
    ConflictingFills
        When the fills cannot be told apart.
    """
    resting = tuple(orders)
    held = None if balances is None else base_total(grid, balances)
    mine = fills_of_grid(grid, fills, resting, policy=policy, increments=increments, balance_base=held)
    mine_resting = orders_of_grid(grid, resting, policy=policy, increments=increments)
    locked = {grid.id: base_behind(mine_resting)}
    book = close_books([grid], {grid.id: mine}, held, policy=policy, locked=locked)[grid.id]
    followed = ladder_orders(grid, book.mine, mine_resting, resting, policy=policy, increments=increments)
    return position_by(
        grid,
        book,
        mine_resting,
        held,
        bid,
        policy=policy,
        rates=rates,
        net_flows=net_flows,
        orders=followed,
        unround=NOTHING_OPEN
        if balances is None  # orders that rest are not known either
        else unround_of(grid, book.mine, mine_resting, policy=policy, increments=increments, is_sole=book.is_sole),
        unclear=unclear,
        start_price=start_price,
    )


def position_by(
    grid: Grid,
    book: GridBook,
    resting: Sequence[OpenOrder],
    balance_base: float | None,
    bid: float,
    *,
    policy: AccountPolicy,
    rates: Mapping[str, float] | None = None,
    net_flows: Iterable[NetFlow] = (),
    orders: LadderOrders,
    unround: Unround = NOTHING_OPEN,
    start_high: float | None = None,
    unclear: Sequence[str] = (),
    start_price: float | None = None,
) -> AccountPosition:
    """What a grid holds and has earned by its closed book.

    Parameters
    ----------
    resting
        The grid's own orders.
    balance_base
        All base on the account; None where it is not known.
    orders
        How many follow the ladder.
    unround
        What does not fit the grid's rounds.
    start_high
        Quote: the highest price about the grid's start, at which it held least; None where it is not known.
    unclear
        What the fills leave open before they are counted, a sentence each.
    start_price
        Quote: what the grid's ``initial_base`` counts as bought at, without a fee. No money is told where it is needed
        and not known.

    Others as in :func:`position_of`.
    """
    mine = book.mine
    flows = math.fsum(flow.amount_quote for flow in net_flows)
    earned, pnl_unknown = earned_by(mine, grid, rates or {}, bid, start_price=start_price)
    inventory, started_with = mine.held_base, grid.capital + flows
    buys = [order for order in resting if order.side is Side.BUY]
    locked_quote = math.fsum(order.price * order.remaining_base * (1 + grid.fee) for order in buys)
    locked_base = base_behind(resting)
    return AccountPosition(
        grid_id=grid.id,
        bid=bid,
        cash_quote=_added(started_with, earned["cash_flow_quote"]),
        equity_quote=_added(started_with, earned["total_pnl_quote"]),
        net_flows_quote=flows,
        pnl_unknown=pnl_unknown,
        locked_quote=locked_quote,
        locked_base=locked_base,
        uncovered_base=book.uncovered_base,
        sold_by_balance_base=book.sold_by_balance_base,
        doubts=doubts_about(
            grid,
            book,
            inventory_base=inventory,
            oversold_base=earned["oversold_base"] or 0.0,
            locked_base=locked_base,
            is_trading=bool(resting),
            balance_base=balance_base,
            orders=orders,
            unround=unround,
            start_high=start_high,
            unclear=unclear,
            policy=policy,
        ),
        capital_utilization=capital_utilization(
            grid,
            inventory_base=inventory,
            bid=bid,
            locked_quote=locked_quote,
            unrealised_quote=earned["unrealised_quote"],
            policy=policy,
        ),
        ladder_buys=_filled_orders(mine, resting, Side.BUY),
        ladder_sells=_filled_orders(mine, resting, Side.SELL),
        open_orders=len(resting),
        fills=len(mine.fills),
        foreign_fills=len(mine.foreign),
        foreign_base=math.fsum(map(inventory_change_base, mine.foreign)),
        **earned,  # type: ignore[arg-type] # what is never None is so by ``earned_by``
    )


def base_total(grid: Grid, balances: Iterable[Balance]) -> float:
    """All base that an account holds, free or behind orders, whoever bought it."""
    base = grid.symbol.split("/")[0]
    return math.fsum(balance.total for balance in balances if balance.currency == base)


def _added(amount: float, change: float | None) -> float | None:
    return None if change is None else amount + change


def _filled_orders(mine: GridFills, resting: Iterable[OpenOrder], side: Side) -> int:
    """Ladder orders of a side that no longer rest; a fill whose order is not told counts as one."""
    partly = {order.order_id for order in resting}
    fills = [fill for fill in mine.of_role(FillRole.LADDER) if fill.side is side]
    return len({fill.order_id or fill.trade_id for fill in fills} - partly)
