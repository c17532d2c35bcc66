"""The books of one base currency on one account, closed against its balance over all grids that trade it.

Fills say what grids hold, and the balance what there is. Where grids hold more, sales that nobody else explains are
theirs, newest first. What stays contradictory leaves the position not known; it is never guessed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from mm_pipeline.domain.account.attribution import FillRole, GridFills
from mm_pipeline.domain.account.fees import inventory_change_base
from mm_pipeline.domain.account.ladder import dust_base
from mm_pipeline.domain.account.orders import OrderName, order_name
from mm_pipeline.domain.account.policy import AccountPolicy
from mm_pipeline.domain.account.values import AccountFill, Side
from mm_pipeline.domain.grid import Grid

_HAIR: Final = 1e-9
"""Sums of floats differ in their last digits: so small a rest of a sale is none."""


@dataclass(frozen=True, kw_only=True)
class GridBook:
    """What a grid's fills come to, held against the balance.

    Attributes
    ----------
    mine
        Its fills, with the sales that the balance shows to be its own.
    sold_by_balance_base
        What the latter sold.
    uncovered_base
        How much more all grids of the base hold by their fills than there is, this grid's own inventory at the most;
        None where the balance is not known. Above dust, fills or transfers are missing.
    is_unclear
        Whether sales may be this grid's or another's.
    is_sole
        Whether the account holds its inventory and, but for dust, nothing else, and no fill was anybody else's.
    """

    mine: GridFills
    sold_by_balance_base: float = 0.0
    uncovered_base: float | None = None
    is_unclear: bool = False
    is_sole: bool = False


def close_books(
    grids: Sequence[Grid],
    fills: Mapping[str, GridFills],
    balance_base: float | None,
    *,
    policy: AccountPolicy,
    locked: Mapping[str, float],
    is_confirmed: bool = True,
) -> dict[str, GridBook]:
    """Close the books of grids that hold one base on one account.

    Parameters
    ----------
    grids
        All of them, also of several markets.
    fills
        By grid id, each one's fills by themselves.
    balance_base
        All base on the account, free or behind orders; None where it is not known.
    policy
        What counts as dust.
    locked
        By grid id, base behind its resting sells: nobody else sold that.
    is_confirmed
        Whether the reading before showed too little as well: a balance and fills that are asked for one after the other
        may fall on either side of a trade. Before that no sale is counted by the balance.
    """
    books = {grid.id: GridBook(mine=fills[grid.id]) for grid in grids}
    if balance_base is None:
        return books
    dust = {grid.id: dust_base(grid, policy) for grid in grids}
    excess = _excess(books, balance_base)
    if is_confirmed and excess > min(dust.values(), default=0.0):  # a small grid's coins may be a large one's dust
        books = _with_sales(grids, books, excess, dust, locked)
        excess = _excess(books, balance_base)
    doubtful = _beside_short(grids, books, locked, dust)
    return {
        name: replace(
            book,
            uncovered_base=max(0.0, min(excess, book.mine.held_base)),
            is_unclear=book.is_unclear or name in doubtful,
            is_sole=len(grids) == 1 and abs(excess) <= dust[name] and not book.mine.foreign,
        )
        for name, book in books.items()
    }


def _beside_short(
    grids: Sequence[Grid], books: Mapping[str, GridBook], locked: Mapping[str, float], dust: Mapping[str, float]
) -> set[str]:
    """Grids with coins behind no order, where the sells of another of the symbol stand for more than that one holds.

    Fills of one count for the other then, whichever it is.
    """
    free = {grid.id: books[grid.id].mine.held_base - locked.get(grid.id, 0.0) for grid in grids}
    short = {grid.symbol for grid in grids if locked.get(grid.id, 0.0) and free[grid.id] < -dust[grid.id]}
    return {grid.id for grid in grids if grid.symbol in short and free[grid.id] > dust[grid.id]}


def _excess(books: Mapping[str, GridBook], balance_base: float) -> float:
    return math.fsum(max(0.0, book.mine.held_base) for book in books.values()) - balance_base


def _with_sales(
    grids: Sequence[Grid],
    books: dict[str, GridBook],
    excess: float,
    dust: Mapping[str, float],
    locked: Mapping[str, float],
) -> dict[str, GridBook]:
    """Give unattributed sales, newest first, to the grid that holds, until no grid holds what is not there."""
    found, left, vague = dict(books), excess, 0.0
    for order in _unattributed_sales(grids, books):
        rooms = {grid.id: _room(found[grid.id].mine, order[-1], locked.get(grid.id, 0.0)) for grid in grids}
        rooms = {name: room for name, room in rooms.items() if room > dust[name]}
        sold = -math.fsum(map(inventory_change_base, order))
        wanted = min(left, sold)
        if wanted <= 0.0 or not rooms:
            continue
        takers = _takers(rooms, wanted, dust, is_whole=sold <= wanted + max(dust[name] for name in rooms))
        if takers is None:
            takers = sorted(rooms, key=lambda name: -rooms[name])
            vague += wanted
            if vague > min(dust[name] for name in rooms):  # whose dust was sold changes nothing
                found |= {name: replace(found[name], is_unclear=True) for name in rooms}
        for name in takers:
            taken = min(wanted, rooms[name])
            found, order = _sold(found, name, order, taken)  # noqa: PLW2901 - what is left
            wanted, left = wanted - taken, left - taken
    return found


def _unattributed_sales(grids: Sequence[Grid], books: Mapping[str, GridBook]) -> list[list[AccountFill]]:
    """Orders with sales that are no grid's, newest first, and so the fills of each: an order is judged as a whole."""
    taken = {_name(fill) for book in books.values() for fill in book.mine.fills}
    foreign = {
        _name(fill): fill
        for grid in grids
        for fill in books[grid.id].mine.foreign
        if fill.side is Side.SELL and _name(fill) not in taken
    }
    orders: dict[tuple[str, OrderName], list[AccountFill]] = {}
    for fill in sorted(foreign.values(), key=lambda fill: (fill.time_ms, fill.trade_id), reverse=True):
        orders.setdefault((fill.symbol, order_name(fill)), []).append(fill)
    return list(orders.values())


def _takers(
    rooms: Mapping[str, float], wanted: float, dust: Mapping[str, float], *, is_whole: bool
) -> list[str] | None:
    """Who made a sale: the only holder, the only one whose whole inventory it is, or all; None where nobody can say.

    Where the order sold more than what is missing (not ``is_whole``), whose whole inventory that is says nothing.
    """
    if len(rooms) == 1:
        return list(rooms)
    exact = [name for name in rooms if abs(rooms[name] - wanted) <= dust[name]]
    if len(exact) == 1 and is_whole:
        return exact
    is_all = abs(math.fsum(rooms.values()) - wanted) <= max(dust[name] for name in rooms)
    return list(rooms) if is_all else None


def _room(mine: GridFills, sale: AccountFill, locked_base: float) -> float:
    """How much a grid can have sold at a moment: the least that it holds from then on, and not what is locked now."""
    held, least = mine.initial_base, math.inf
    for fill in mine.fills:
        if fill.time_ms > sale.time_ms:
            least = min(least, held)
        held += inventory_change_base(fill)
    return max(0.0, min(least, held - locked_base))


def _sold(
    books: dict[str, GridBook], name: str, order: Sequence[AccountFill], taken_base: float
) -> tuple[dict[str, GridBook], list[AccountFill]]:
    """The books with sales of an order, newest first, as one grid's; and what is left of them, foreign to all."""
    left: list[AccountFill] = []
    for sale in order:
        sold_base = -inventory_change_base(sale)
        part_base = min(taken_base, sold_base)
        if part_base > 0.0:
            share = 1.0 if sold_base - part_base <= _HAIR * sold_base else part_base / sold_base
            part, rest = _part(sale, share), _part(sale, 1.0 - share)
            books = {other: replace(book, mine=_without(book.mine, sale, rest)) for other, book in books.items()}
            books[name] = _with_sale(books[name], part, part_base)
            taken_base -= part_base
            sale = rest  # noqa: PLW2901
        left.append(sale)
    return books, left


def _with_sale(book: GridBook, sale: AccountFill, sold_base: float) -> GridBook:
    mine = book.mine
    place = sum(fill.time_ms <= sale.time_ms for fill in mine.fills)
    return replace(
        book,
        mine=replace(
            mine,
            fills=(*mine.fills[:place], sale, *mine.fills[place:]),
            roles=(*mine.roles[:place], FillRole.EXIT, *mine.roles[place:]),
        ),
        sold_by_balance_base=book.sold_by_balance_base + sold_base,
    )


def _part(sale: AccountFill, share: float) -> AccountFill:
    return replace(sale, quantity_base=sale.quantity_base * share, fee=sale.fee * share)


def _without(mine: GridFills, sale: AccountFill, rest: AccountFill) -> GridFills:
    foreign = tuple(rest if _name(fill) == _name(sale) else fill for fill in mine.foreign)
    return replace(mine, foreign=tuple(fill for fill in foreign if fill.quantity_base > 0.0))


def _name(fill: AccountFill) -> tuple[str, str, Side]:
    return fill.symbol, fill.trade_id, fill.side
