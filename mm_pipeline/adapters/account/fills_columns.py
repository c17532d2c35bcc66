"""What the columns of a file of fills mean, by their names: order, wording and year of an export differ.

What a cell holds is in ``fills_cells``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from mm_pipeline.domain.errors import ConfigError


class Meaning(StrEnum):
    """What a column tells of a fill."""

    TIME = "time"
    SIDE = "side"
    PRICE = "price"
    QUANTITY = "quantity"
    FEE = "fee"
    FEE_CURRENCY = "fee_currency"
    SYMBOL = "symbol"
    ORDER_ID = "order_id"
    TRADE_ID = "id"
    ORDER_TIME = "order_time"
    ORDER_AMOUNT = "order_amount"
    STATUS = "status"


PLAIN: Final = ("time", "side", "price", "quantity", "fee", "fee_currency")
"""Columns of the plain form; ``id``, ``order_id`` and ``symbol`` may stand beside them."""

_REQUIRED: Final = (Meaning.TIME, Meaning.SIDE, Meaning.PRICE, Meaning.QUANTITY, Meaning.FEE)

_BESIDE: Final = frozenset({Meaning.ORDER_TIME, Meaning.ORDER_AMOUNT, Meaning.STATUS})
"""What is told of the order beside the fill: left out where it is not clear."""

# Names without case, spaces and signs, the most telling first: "Avg. Filled Price" beside "Order Price" is the price of
# the fill, "Executed" beside "Amount" the quantity in base. Seen in exports of KuCoin and Binance since 2018.
_NAMES: Final[Mapping[Meaning, tuple[str, ...]]] = MappingProxyType(
    {
        Meaning.TIME: (
            *("filledtime", "timefilled", "executedtime", "tradetime", "dealtime", "tradecreatedat", "filledat"),
            *("time", "date", "datetime", "timestamp"),
        ),
        Meaning.SIDE: ("side", "direction", "type"),
        Meaning.PRICE: (
            *("avgfilledprice", "averagefilledprice", "filledprice", "executedprice", "dealprice", "tradeprice"),
            *("averageprice", "avgprice", "avgtradingprice", "price"),
        ),
        Meaning.QUANTITY: (
            *("filledamount", "filledquantity", "filledqty", "filledsize", "executed", "executedquantity"),
            *("executedqty", "executedamount", "dealamount", "dealsize", "quantity", "qty", "size", "amount"),
        ),
        Meaning.FEE: ("fee", "fees", "tradingfee", "commission", "feeamount", "feepaid"),
        Meaning.FEE_CURRENCY: ("feecurrency", "feecoin", "feeasset", "commissionasset", "commissioncurrency"),
        Meaning.SYMBOL: ("symbol", "pair", "tradingpair", "currencypair", "market", "instrument"),
        Meaning.ORDER_ID: ("orderid", "orderno", "ordernumber"),
        Meaning.TRADE_ID: ("tradeid", "fillid", "executionid", "id"),
        Meaning.ORDER_TIME: ("ordertime",),
        Meaning.ORDER_AMOUNT: ("orderamount", "orderquantity"),
        Meaning.STATUS: ("status", "orderstatus"),
    }
)
_OF_ORDERS: Final = frozenset({"status", "orderstatus", "orderprice", "orderamount", "orderquantity"})
"""Columns of a list of orders, filled or not."""
_ZONE: Final = re.compile(r"\(\s*(?:UTC|GMT)\s*(?:([+-])(\d{1,2})(?::?(\d{2}))?)?\s*\)\s*$", re.IGNORECASE)
_OFFSET: Final = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d{2}))?", re.IGNORECASE)
_LARGEST_OFFSET: Final = timedelta(hours=14)


class ColumnFault(Exception):
    """A header that cannot be used: why, and what to do."""

    def __init__(self, problem: str, hint: str) -> None:
        self.problem, self.hint = problem, hint
        super().__init__(f"{problem} {hint}")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where in a row what stands.

    Attributes
    ----------
    name
        ``plain``, ``kucoin fills``, ``kucoin orders``, ``binance fills`` or ``fills``.
    header
        Column names as the file writes them.
    places
        Column number by meaning.
    zone
        That the time column's name tells; None where it tells none.
    is_of_orders
        Whether a row may be an order of which nothing was filled.
    """

    name: str
    header: tuple[str, ...]
    places: Mapping[Meaning, int]
    zone: tzinfo | None
    is_of_orders: bool

    @cached_property
    def columns(self) -> Mapping[Meaning, str]:
        """The file's name of each column; the plain form's where the file has none."""
        return {
            meaning: self.header[self.places[meaning]] if meaning in self.places else meaning.value
            for meaning in Meaning
        }


def layout_of(header: Sequence[str]) -> Layout | None:
    """The layout that a header tells; None where a column that every fill needs is missing.

    Raises
    ------
    ColumnFault
        Where a column that counts stands there twice.
    """
    names = [_bare(name) for name in header]
    places: dict[Meaning, int] = {}
    for meaning, wordings in _NAMES.items():
        found = next((wording for wording in wordings if wording in names), None)
        if found is None:
            continue
        if names.count(found) > 1 and meaning in _BESIDE:
            continue
        if names.count(found) > 1:
            shown = header[names.index(found)]
            raise ColumnFault(f"it has the column {shown!r} more than once.", "Remove those that are not meant.")
        places[meaning] = names.index(found)
    if any(meaning not in places for meaning in _REQUIRED):
        return None
    is_of_orders = not _OF_ORDERS.isdisjoint(names)
    return Layout(
        name=_form(header, names, is_of_orders=is_of_orders),
        header=tuple(header),
        places=places,
        zone=zone_of(header[places[Meaning.TIME]]),
        is_of_orders=is_of_orders,
    )


def zone_named(text: str) -> tzinfo:
    """The zone of ``Asia/Shanghai``, ``UTC``, ``UTC+08:00`` or ``+8``.

    Raises
    ------
    ConfigError
        For anything else.
    """
    if text.strip().upper() in {"UTC", "GMT", "Z"}:
        return UTC
    match = _OFFSET.fullmatch(text.strip())
    if match is not None:
        return _offset(match)
    try:
        return ZoneInfo(text.strip())
    except (ValueError, OSError, KeyError):
        raise ConfigError(
            f"{text!r} is no time zone.", "Write it like Asia/Shanghai or UTC+08:00.", key="--time-zone"
        ) from None


def is_twice(at: datetime) -> bool:
    """Whether clocks showed a local time twice, or never, because they were put back or on."""
    return at.utcoffset() != at.replace(fold=1 - at.fold).utcoffset()


def _bare(name: str) -> str:
    """A name without zone, case, spaces and signs."""
    return re.sub(r"[^a-z0-9]", "", _ZONE.sub("", name).lower())


def _form(header: Sequence[str], names: Sequence[str], *, is_of_orders: bool) -> str:
    if set(PLAIN) <= set(header):
        return "plain"
    if not {"filledprice", "avgfilledprice", "tradecreatedat"}.isdisjoint(names):
        return "kucoin orders" if is_of_orders else "kucoin fills"
    return "binance fills" if "executed" in names else "fills"


def zone_of(column: str) -> tzinfo | None:
    """The zone that a column's name tells, as ``Filled Time(UTC+02:00)`` does."""
    match = _ZONE.search(column)
    return None if match is None else _offset(match)


def _offset(match: re.Match[str]) -> tzinfo:
    sign, hours, minutes = match.groups(default="0")
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    if offset > _LARGEST_OFFSET:
        raise ConfigError(f"{match.group(0)} is no time zone.", "Offsets reach from -14:00 to +14:00.")
    return timezone(-offset if sign == "-" else offset)
