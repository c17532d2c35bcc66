"""What imports tell of fills, row by row, and each execution once out of all of them.

How executions and whole orders go together is in ``settling``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mm_pipeline.domain.account.values import AccountFill, Side
from mm_pipeline.domain.errors import ConflictingFills

MEND = "Nothing was changed. Correct the row, or take the wrong import out (mm import-fills --list, then --forget N)."
_SECOND_MS = 1000

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Content = tuple[str, Side, int, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Telling:
    """A row of an import.

    Attributes
    ----------
    fill
        What the row says; the fee is in base or quote.
    source
        Number of the import.
    place
        File and row, for messages.
    has_id
        Whether the row bears an id of the execution.
    is_order
        Whether the row sums an order up, as far as it was filled when the file was made.
    ordered_ms
        When the order was placed; None where that is not told.
    amount_base
        How much the order is for; None where that is not told.
    is_final
        Whether nothing more of the order can be filled.
    """

    fill: AccountFill
    source: int
    place: str
    has_id: bool = False
    is_order: bool = False
    ordered_ms: int | None = None
    amount_base: float | None = None
    is_final: bool = False

    @property
    def second(self) -> int:
        """Exports tell seconds, others milliseconds: the finest that all tell."""
        return self.fill.time_ms // _SECOND_MS


@dataclass(kw_only=True, slots=True)
class Execution:
    """One execution and every row that tells it; ``order_id`` is empty where no row tells it."""

    order_id: str
    told: list[Telling]

    @property
    def second(self) -> int:
        """When it was, in epoch seconds."""
        return self.told[0].second

    @property
    def quantity(self) -> float:
        """Base."""
        return self.told[0].fill.quantity_base

    @property
    def price(self) -> float:
        """Quote per base."""
        return self.told[0].fill.price

    def is_told_by(self, source: int) -> bool:
        """Whether an import has a row of it."""
        return any(telling.source == source for telling in self.told)


def content_of(fill: AccountFill) -> Content:
    """What every form tells of an execution. The fee is not in it: it is shown with and without a discount."""
    return fill.symbol, fill.side, fill.time_ms // _SECOND_MS, fill.price, fill.quantity_base


def fee_worth(fill: AccountFill) -> float:
    """The fee in quote; it was paid in base or quote."""
    return fill.fee * fill.price if fill.fee_currency == fill.symbol.split("/")[0] else fill.fee


def executions_once(tellings: Iterable[Telling]) -> list[Execution]:
    """Each execution once, whatever the sequence of imports, by time.

    Rows of one id are one execution. Rows without an id are known by their content: equal rows of one file are as many
    executions, equal rows of two files the same ones, so that the larger count of both is there. A row that tells no
    order is the execution of a row with the same content that tells one.

    Raises
    ------
    ConflictingFills
        When rows of one id and side differ in more than the fee.
    """
    rows = list(tellings)
    _check_ids(rows)
    groups = grouped(rows, lambda telling: content_of(telling.fill))
    return [one for content in sorted(groups, key=_by_time) for one in _of_content(groups[content])]


def grouped(values: Iterable[V], key: Callable[[V], K]) -> dict[K, list[V]]:
    """Values by key, each group in the order given."""
    groups: dict[K, list[V]] = defaultdict(list)
    for value in values:
        groups[key(value)].append(value)
    return dict(groups)


def conflict(first: Telling, second: Telling, what: str) -> ConflictingFills:
    """The error that names both rows."""
    return ConflictingFills(f"{first.place} and {second.place} do not fit: {what}", MEND)


def _by_time(content: Content) -> tuple[int, str, Side, float, float]:
    symbol, side, second, price, quantity = content
    return second, symbol, side, price, quantity


def _check_ids(rows: Sequence[Telling]) -> None:
    first: dict[tuple[str, str, Side], Telling] = {}
    for row in rows:
        if not row.has_id:
            continue
        known = first.setdefault((row.fill.symbol, row.fill.trade_id, row.fill.side), row)
        orders = {row.fill.order_id, known.fill.order_id} - {""}
        if content_of(known.fill) != content_of(row.fill) or len(orders) > 1:
            raise conflict(
                known, row, f"trade {row.fill.trade_id} is told with another time, price, quantity or order."
            )


def _of_content(rows: list[Telling]) -> list[Execution]:
    named = grouped((row for row in rows if row.has_id), lambda row: row.fill.trade_id)
    found = [Execution(order_id=_order_id(named[name]), told=named[name]) for name in sorted(named)]
    unnamed = grouped((row for row in rows if not row.has_id), lambda row: row.fill.order_id)
    for order_id in sorted(unnamed.keys() - {""}):
        _place(unnamed[order_id], found, order_id)
    found.sort(key=lambda one: (min(fee_worth(row.fill) for row in one.told), one.order_id))
    _place(unnamed.get("", []), found, "")
    return found


def _order_id(rows: Iterable[Telling]) -> str:
    return next((row.fill.order_id for row in rows if row.fill.order_id), "")


def _place(rows: Iterable[Telling], found: list[Execution], order_id: str) -> None:
    """Put each import's rows to executions that it does not tell yet; what is left over is more of them."""
    for source, own in grouped(rows, lambda row: row.source).items():
        free = [one for one in found if not one.is_told_by(source) and _may_be_of(one, order_id)]
        free.sort(key=lambda one: one.order_id != order_id if order_id else False)
        own.sort(key=lambda row: fee_worth(row.fill))
        for row, one in zip(own, free, strict=False):
            one.told.append(row)
            one.order_id = one.order_id or order_id
        found.extend(Execution(order_id=order_id, told=[row]) for row in own[len(free) :])


def _may_be_of(one: Execution, order_id: str) -> bool:
    return not order_id or one.order_id in ("", order_id)


def tellings_of_kept(
    fills: Sequence[AccountFill], *, source: int, place: str, is_made: Callable[[str], bool]
) -> list[Telling]:
    """Rows as an earlier version kept them, which did not keep what form they came from.

    One row of an order may sum it up; where one of several is the sum of the others, both forms were imported.
    """
    rows = [Telling(fill=fill, source=source, place=place, has_id=not is_made(fill.trade_id)) for fill in fills]
    by_order = grouped((row for row in rows if row.fill.order_id), lambda row: (row.fill.order_id, row.fill.side))
    summed = {id(row) for group in by_order.values() for row in _summing_up(group)}
    return [_as_order(row) if id(row) in summed else row for row in rows]


def _summing_up(rows: list[Telling]) -> list[Telling]:
    if any(row.has_id for row in rows):
        return []
    largest = max(rows, key=lambda row: row.fill.quantity_base)
    others = sum(row.fill.quantity_base for row in rows if row is not largest)
    is_sum = abs(largest.fill.quantity_base - others) <= 1e-9 * others
    return [largest] if len(rows) == 1 or (is_sum and len(rows) > 2) else []  # two equal ones are parts


def _as_order(row: Telling) -> Telling:
    return Telling(fill=row.fill, source=row.source, place=row.place, is_order=True)
