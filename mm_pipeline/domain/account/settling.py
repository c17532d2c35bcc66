"""The fills of all imports of a market: orders and executions told in several forms, each counted once."""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from mm_pipeline.domain.account.policy import AccountPolicy
from mm_pipeline.domain.account.steps import last_place
from mm_pipeline.domain.account.tellings import (
    Execution,
    Telling,
    conflict,
    content_of,
    executions_once,
    fee_worth,
    grouped,
)
from mm_pipeline.domain.account.values import AccountFill, Side
from mm_pipeline.domain.errors import ConflictingFills

MADE_ID: Final = "csv-"
"""Begins the ids of fills whose files tell none."""
_BPS: Final = 1e-4
_SLACK: Final = 1 + 1e-6
_NOISE: Final = 1e-9
"""Sums of floats differ in their last digits."""
_SAME_FEE: Final = 1e-9

OrderKey = tuple[str, str, Side]


@dataclass(frozen=True, kw_only=True)
class SettledFill:
    """A fill as it is kept.

    Attributes
    ----------
    sources
        Numbers of the imports that tell it.
    has_two_fees
        Whether they tell it with different fees; the lower one, after the discount, is kept.
    """

    fill: AccountFill
    sources: frozenset[int]
    has_two_fees: bool


def settled(tellings: Iterable[Telling], policy: AccountPolicy) -> list[SettledFill]:
    """Each fill once, by time; the same whatever the sequence of the imports and however often a row is told.

    Executions stand for their order where they sum to it, to a step; otherwise the order does, for what it had when its
    file was made, with the executions after that. The larger of two tellings of an order counts.

    Raises
    ------
    ConflictingFills
        When what is told of an order or execution does not fit: sums, prices, sides.
    """
    rows = list(tellings)
    _check_sides(rows)
    executions = executions_once(row for row in rows if not row.is_order)
    parts = grouped((one for one in executions if one.order_id), _key_of_execution)
    spare = _Spare([one for one in executions if not one.order_id])
    orders = grouped((row for row in rows if row.is_order), _key_of_telling)
    found = [fill for key in sorted(orders) for fill in _settle(orders[key], parts.pop(key, []), spare, policy)]
    found += [_of_execution(one) for group in parts.values() for one in group]
    found += [_of_execution(one) for one in spare.left()]
    return _with_ids(found)


def _made_id(fill: AccountFill, number: int) -> str:
    """The id of the ``number``-th fill of one content whose file tells none."""
    told = (fill.order_id, fill.symbol, fill.time_ms, fill.side.value, fill.price, fill.quantity_base)
    return f"{MADE_ID}{hashlib.sha256('|'.join(map(str, told)).encode()).hexdigest()[:16]}-{number}"


def _key_of_telling(row: Telling) -> OrderKey:
    return row.fill.symbol, row.fill.order_id, row.fill.side


def _key_of_execution(one: Execution) -> OrderKey:
    fill = one.told[0].fill
    return fill.symbol, one.order_id, fill.side


def _check_sides(rows: Iterable[Telling]) -> None:
    """An order has one side; only a trade with oneself, known by its id, has both."""
    first: dict[tuple[str, str], Telling] = {}
    for row in rows:
        if not row.fill.order_id:
            continue
        known = first.setdefault((row.fill.symbol, row.fill.order_id), row)
        if known.fill.side is not row.fill.side and not (known.has_id and row.has_id):
            raise conflict(known, row, f"order {row.fill.order_id} is a {known.fill.side} and a {row.fill.side}.")


def _settle(told: Sequence[Telling], parts: list[Execution], spare: _Spare, policy: AccountPolicy) -> list[SettledFill]:
    """One order, told as a whole at least once."""
    whole = max(told, key=_completeness)
    _check_tellings(told, whole, policy)
    quantities = [row.fill.quantity_base for row in told] + [one.quantity for one in parts]
    step = _step(quantities, policy)
    is_final = _is_final(told, whole)
    missing = whole.fill.quantity_base - _sum(_within(parts, whole, is_final=is_final))
    if missing > step:
        parts = sorted([*parts, *spare.claimed(whole, missing, policy, is_final=is_final)], key=lambda one: one.second)
        step = _step([*quantities, *(one.quantity for one in parts)], policy)
    for row in told:
        _check_sum(row, parts, step)
    within = _within(parts, whole, is_final=is_final)
    left_base = whole.fill.quantity_base - _sum(within)
    if left_base > step:
        return [_of_order(told, whole), *(_of_execution(one) for one in parts[len(within) :])]
    if left_base >= -step:
        _check_price(whole, within, policy)
    return [_of_execution(Execution(order_id=whole.fill.order_id, told=one.told)) for one in parts]


def _within(parts: list[Execution], whole: Telling, *, is_final: bool) -> list[Execution]:
    """Parts, which are in order of time, that the telling sums up: those after it are newer."""
    return parts if is_final else [one for one in parts if one.second <= whole.second]


def _completeness(row: Telling) -> tuple[float, bool, int, float]:
    return row.fill.quantity_base, row.is_final, row.fill.time_ms, -fee_worth(row.fill)


def _is_final(told: Iterable[Telling], whole: Telling) -> bool:
    return any(row.is_final for row in told if row.fill.quantity_base == whole.fill.quantity_base)


def _check_tellings(told: Sequence[Telling], whole: Telling, policy: AccountPolicy) -> None:
    """Refuse tellings of one order that cannot be the same at two moments."""
    step = _step([row.fill.quantity_base for row in told], policy)
    order = f"order {whole.fill.order_id}"
    for row in told:
        grown = whole.fill.quantity_base - row.fill.quantity_base
        if grown <= step:
            if abs(row.fill.price - whole.fill.price) > _price_tolerance([row.fill.price, whole.fill.price], policy):
                prices = f"{row.fill.price:.10g} and at {whole.fill.price:.10g}"
                raise conflict(row, whole, f"{order} of one quantity is told at {prices}.")
            continue
        if row.is_final or (row.amount_base is not None and whole.fill.quantity_base > row.amount_base + step):
            largest = row.fill.quantity_base if row.is_final else row.amount_base
            raise conflict(row, whole, f"{order} is told with {whole.fill.quantity_base:.10g} of {largest:.10g}.")
        cost = whole.fill.price * whole.fill.quantity_base - row.fill.price * row.fill.quantity_base
        if abs(cost / grown / row.fill.price - 1) > policy.order_price_spread:
            raise conflict(row, whole, f"what {order} grew by would have been traded at {cost / grown:.10g}.")


def _check_sum(row: Telling, parts: Sequence[Execution], step: float) -> None:
    """Refuse executions that are more than their order."""
    if not parts:
        return
    total, limit = _sum(parts), row.fill.quantity_base if row.is_final else row.amount_base
    before = _sum(one for one in parts if one.second < row.second)
    if limit is not None and total > limit + step:
        raise _excess(row, parts[-1], total, limit)
    if before > row.fill.quantity_base + step:
        raise _excess(row, parts[0], before, row.fill.quantity_base)


def _excess(row: Telling, part: Execution, total: float, limit: float) -> ConflictingFills:
    what = f"executions of order {row.fill.order_id} sum to {total:.10g}, which is more than its {limit:.10g}."
    return conflict(row, part.told[0], what)


def _check_price(whole: Telling, parts: Sequence[Execution], policy: AccountPolicy) -> None:
    mean = sum(one.price * one.quantity for one in parts) / _sum(parts)
    prices = [whole.fill.price, *(one.price for one in parts)]
    if abs(mean - whole.fill.price) > _price_tolerance(prices, policy):
        what = f"order {whole.fill.order_id} is told at {whole.fill.price:.10g}, its executions at {mean:.10g}."
        raise conflict(whole, parts[0].told[0], what)


def _step(quantities: list[float], policy: AccountPolicy) -> float:
    return max(last_place(quantities, policy.coarsest_step_share) * _SLACK, _NOISE * max(quantities))


def _price_tolerance(prices: list[float], policy: AccountPolicy) -> float:
    """The last place told, or what a mean price may be rounded to."""
    return (
        max(last_place(prices, policy.coarsest_step_share), policy.ladder_tolerance_bps * _BPS * min(prices)) * _SLACK
    )


def _sum(parts: Iterable[Execution]) -> float:
    return sum(one.quantity for one in parts)


class _Spare:
    """Executions whose files tell no order, from which orders take what is theirs."""

    def __init__(self, executions: Sequence[Execution]) -> None:
        ordered = sorted(executions, key=lambda one: one.second)
        self._all = grouped(ordered, _market_side)
        self._at_price = grouped(ordered, lambda one: (*_market_side(one), one.price))
        self._taken: set[int] = set()

    def left(self) -> list[Execution]:
        return [one for group in self._all.values() for one in group if id(one) not in self._taken]

    def claimed(self, whole: Telling, missing: float, policy: AccountPolicy, *, is_final: bool) -> list[Execution]:
        """What an order takes: all at its price while it rested, or the last ones up to its time that sum to it.

        An order that is not final may have had more in the second of its telling.
        """
        fill = whole.fill
        at_price = self._window(self._at_price.get((fill.symbol, fill.side, fill.price), []), whole)
        step = _step([fill.quantity_base, *(one.quantity for one in at_price)], policy)
        surely = at_price if is_final else [one for one in at_price if one.second < whole.second]
        if at_price and whole.ordered_ms is not None and _sum(surely) <= missing + step:
            return self._take(at_price)
        run = _last_run(at_price, missing, step)
        if run:
            return self._take(run)
        if at_price and whole.ordered_ms is not None:
            raise _excess(whole, at_price[0], _sum(at_price), missing)
        run = _last_run(self._window(self._all.get((fill.symbol, fill.side), []), whole), missing, step)
        mean = sum(one.price * one.quantity for one in run) / (_sum(run) or 1.0)
        fits = abs(mean - fill.price) <= _price_tolerance([fill.price, *(one.price for one in run)], policy)
        return self._take(run) if run and fits else []

    def _window(self, group: Sequence[Execution], whole: Telling) -> list[Execution]:
        start = 0 if whole.ordered_ms is None else bisect_left(group, whole.ordered_ms // 1000, key=_second)
        end = bisect_right(group, whole.second, key=_second)
        return [one for one in group[start:end] if id(one) not in self._taken]

    def _take(self, executions: list[Execution]) -> list[Execution]:
        self._taken |= {id(one) for one in executions}
        return executions


def _market_side(one: Execution) -> tuple[str, Side]:
    return one.told[0].fill.symbol, one.told[0].fill.side


def _second(one: Execution) -> int:
    return one.second


def _last_run(executions: Sequence[Execution], wanted: float, step: float) -> list[Execution]:
    """The last executions that sum to what is wanted; empty where none do."""
    total = 0.0
    for count, one in enumerate(reversed(executions), start=1):
        total += one.quantity
        if abs(total - wanted) <= step:
            return list(executions[-count:])
        if total > wanted:
            break
    return []


def _of_execution(one: Execution) -> SettledFill:
    named = next((row for row in one.told if row.has_id), None)
    row = min(one.told, key=_fee_place)
    fill = replace(
        row.fill,
        trade_id=named.fill.trade_id if named else "",
        order_id=one.order_id,
        time_ms=max(told.fill.time_ms for told in one.told),
    )
    return _settled(fill, one.told)


def _of_order(told: Sequence[Telling], whole: Telling) -> SettledFill:
    same = [row for row in told if row.fill.quantity_base == whole.fill.quantity_base]
    fee = min(same, key=_fee_place).fill
    return _settled(replace(whole.fill, trade_id="", fee=fee.fee, fee_currency=fee.fee_currency), same)


def _fee_place(row: Telling) -> tuple[float, str]:
    return fee_worth(row.fill), row.fill.fee_currency


def _settled(fill: AccountFill, told: Iterable[Telling]) -> SettledFill:
    fees = [fee_worth(row.fill) for row in told]
    differ = max(fees) - min(fees) > _SAME_FEE * max(map(abs, fees))
    return SettledFill(fill=fill, sources=frozenset(row.source for row in told), has_two_fees=differ)


def _with_ids(found: Iterable[SettledFill]) -> list[SettledFill]:
    seen: Counter[Hashable] = Counter()
    named: list[SettledFill] = []
    for one in sorted(found, key=_place_of):
        if one.fill.trade_id:
            named.append(one)
            continue
        content = one.fill.order_id, one.fill.time_ms, content_of(one.fill)
        seen[content] += 1
        named.append(replace(one, fill=replace(one.fill, trade_id=_made_id(one.fill, seen[content]))))
    return named


def _place_of(one: SettledFill) -> tuple[int, str, bool, str, str, float, float, float, str]:
    fill = one.fill
    key = (fill.time_ms, fill.symbol, not fill.is_buy, fill.order_id, fill.trade_id)
    return (*key, fill.price, fill.quantity_base, fill.fee, fill.fee_currency)
