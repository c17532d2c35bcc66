"""Why an account leaves a grid's position not known: what its own figures contradict, in words."""

from __future__ import annotations

from collections.abc import Sequence

from mm_pipeline.domain.account.attribution import FillRole
from mm_pipeline.domain.account.books import GridBook
from mm_pipeline.domain.account.fees import inventory_change_base
from mm_pipeline.domain.account.following import LadderOrders
from mm_pipeline.domain.account.ladder import AccountLadder, dust_base
from mm_pipeline.domain.account.orders import filled_orders
from mm_pipeline.domain.account.policy import AccountPolicy
from mm_pipeline.domain.account.rounds import Unround
from mm_pipeline.domain.account.values import Side
from mm_pipeline.domain.grid import Grid


def doubts_about(
    grid: Grid,
    book: GridBook,
    *,
    inventory_base: float,
    oversold_base: float,
    locked_base: float,
    is_trading: bool,
    balance_base: float | None,
    orders: LadderOrders,
    unround: Unround,
    start_high: float | None,
    unclear: Sequence[str],
    policy: AccountPolicy,
) -> tuple[str, ...]:
    """Each contradiction beyond dust as a sentence with its figures; nothing where the books agree.

    Parameters
    ----------
    inventory_base, oversold_base, locked_base
        By the grid's fills, sales that no buy stands against, and what its resting sells stand for.
    is_trading
        Whether an order of it rests: what it holds then shows by what it sells.
    balance_base
        All base on the account; None where it is not known.
    orders
        How many follow the ladder.
    unround
        What does not fit the grid's rounds.
    start_high
        Quote: the highest price about the grid's start; None where it is not known.
    unclear
        What the fills leave open before they are counted, a sentence each.
    """
    dust, base = dust_base(grid, policy), grid.symbol.split("/")[0]
    found = [*unclear]
    if not orders.is_followed:
        count = orders.on_ladder + orders.strays
        found.append(f"{orders.on_ladder} of {count} orders lie on the declared ladder")
    is_there = balance_base is None or balance_base > dust
    parts_base = unround.bought_parts_base + (0.0 if book.is_sole else unround.sold_parts_base)
    if parts_base > dust and is_there:
        found.append(f"orders of {parts_base:,.6g} {base} in all traded parts of its intervals, or were your own")
    missing = 0.0 if start_high is None else _missing_at_start(grid, book, start_high, policy)
    if missing > dust:
        found.append(f"the grid began with {missing:,.6g} {base} more than the fills about its start buy")
    is_oversold = inventory_base < -dust or oversold_base > dust
    if unround.excess_base > dust or (unround.excess_base < -dust and not is_oversold):
        side = "buy more than its intervals hold" if unround.excess_base > 0 else "sell what no interval had bought"
        found.append(f"fills {side}, {abs(unround.excess_base):,.6g} {base}: they are not all of them, or your own")
    if is_oversold:
        missing = max(oversold_base, -inventory_base)
        found.append(f"fills sell {missing:,.6g} {base} more than they buy")
    if balance_base is not None and (book.uncovered_base or 0.0) > dust:
        found.append(f"the account holds {balance_base:,.6g} {base}, fills say {inventory_base:,.6g}")
    if locked_base > max(0.0, inventory_base) + dust:
        found.append(f"sells of {locked_base:,.6g} {base} rest, fills say {inventory_base:,.6g}")
    if book.is_unclear:
        found.append(f"sales of {base} may be this grid's or another's of this account")
    begun = (
        0.0
        if balance_base is None or balance_base <= max(0.0, inventory_base) + dust
        else _begun_anew(grid, book, policy)
    )
    if begun > dust:
        found.append(f"{begun:,.6g} {base} were bought beside the grid as a new start would: declare its started_at")
    sold = _unexplained_sales(book)
    if sold > dust and inventory_base > dust and locked_base < inventory_base - dust:
        found.append(f"{sold:,.6g} {base} were sold beside the grid, of it or of coins of your own")
    return tuple(found)


def _missing_at_start(grid: Grid, book: GridBook, start_high: float, policy: AccountPolicy) -> float:
    """How much less a grid's start bought than it must have held at any price up to the highest about then."""
    window_ms = policy.start_window.total_seconds() * 1000
    bought = sum(
        inventory_change_base(fill)
        for fill in book.mine.of_role(FillRole.START, FillRole.LADDER)  # a bot may buy its start interval by interval
        if fill.is_buy and abs(fill.time_ms - grid.started_at_ms) <= window_ms
    )
    wanted = AccountLadder(grid, policy, None).start_base(start_high) * (1.0 - policy.quantity_tolerance)
    return wanted - book.mine.initial_base - bought


def _begun_anew(grid: Grid, book: GridBook, policy: AccountPolicy) -> float:
    """What a purchase after the grid's last fill bought, where it is what the grid would begin with at that price."""
    ladder, last_ms = AccountLadder(grid, policy, None), max((fill.time_ms for fill in book.mine.fills), default=0)
    bought = [
        order
        for name, order in filled_orders(book.mine.foreign, ()).items()
        if name[1] is Side.BUY
        and order.first_ms > last_ms
        and any(
            wanted > 0.0 and abs(order.quantity_base - wanted) <= ladder.start_slack(wanted)
            for wanted in ladder.starts_base(order.price)
        )
    ]
    return max((order.quantity_base for order in bought), default=0.0)


def _unexplained_sales(book: GridBook) -> float:
    """What nobody's sales sold after the grid's ladder sold last: while it sold, it had its coins.

    Of a sale that was the grid's in part the rest counts: it may have been the grid's too.
    """
    sold_ms = [fill.time_ms for fill in book.mine.of_role(FillRole.LADDER) if not fill.is_buy]
    begun_ms = [fill.time_ms for fill in book.mine.of_role(FillRole.START)]
    last_ms = max([*sold_ms, *begun_ms], default=0)
    return -sum(inventory_change_base(fill) for fill in book.mine.foreign if not fill.is_buy and fill.time_ms > last_ms)
