"""One row of a file of fills, in the forms that are known. The file as a whole does not belong here."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from mm_pipeline.adapters.clock import to_ms
from mm_pipeline.domain.account import AccountFill, Side
from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.domain.market import Market

_EARLIEST = datetime(2010, 1, 1, tzinfo=UTC)
_LATEST = datetime(2100, 1, 1, tzinfo=UTC)
_ZONE = re.compile(r"\(UTC(?:([+-])(\d{2}):(\d{2}))?\)$")
_CURRENCY = re.compile(r"[A-Z0-9]{1,20}")


class RowFault(Exception):
    """A row that cannot be read: which column, why, and what to do."""

    def __init__(self, column: str, problem: str, mend: str) -> None:
        self.column, self.problem, self.mend = column, problem, mend
        super().__init__(f"{column}: {problem} {mend}")


@dataclass(frozen=True)
class Row:
    """The cells of a row by column, stripped; a cell that the row is too short for is empty."""

    cells: Mapping[str, str]

    def text(self, column: str) -> str:
        """A cell that must not be empty."""
        value = self.cells.get(column, "")
        if not value:
            raise RowFault(column, "it is empty.", "Fill it in.")
        return value

    def number(self, column: str, *, above_zero: bool) -> float:
        """A finite number, above 0 or at least 0."""
        text = self.text(column)
        try:
            value = float(text)
        except ValueError:
            raise RowFault(column, f"{text!r} is not a number.", "Write it like 1234.5, without commas.") from None
        if not math.isfinite(value) or value < 0 or (above_zero and value == 0):
            raise RowFault(
                column, f"{text} is not a number {'above 0' if above_zero else 'of 0 or more'}.", "Correct it."
            )
        return value

    def side(self, column: str) -> Side:
        """Buy or sell, in any case."""
        text = self.text(column)
        try:
            return Side(text.lower())
        except ValueError:
            raise RowFault(column, f"{text!r} is no side.", "Write buy or sell.") from None

    def symbol(self, column: str, otherwise: str | None) -> str:
        """A symbol written ``ETH-USDT`` or ``ETH/USDT``."""
        text = self.cells.get(column, "") or otherwise or ""
        if not text:
            raise RowFault(column, "no symbol is told.", "Add a symbol column.")
        try:
            return Market("kucoin", text.upper().replace("-", "/")).symbol
        except ConfigError:
            raise RowFault(column, f"{text!r} is not a symbol.", "Write it like ETH-USDT.") from None

    def fee(self, fee_column: str, currency_column: str, symbol: str) -> tuple[float, str]:
        """A fee and its currency; an empty one is no fee, and no fee needs no currency."""
        fee = self.number(fee_column, above_zero=False) if self.cells.get(fee_column) else 0.0
        currency = self.cells.get(currency_column, "").upper()
        if fee == 0.0 and not currency:
            return 0.0, symbol.split("/")[1]
        if not _CURRENCY.fullmatch(currency):
            raise RowFault(currency_column, f"{currency!r} is not a currency.", "Write it like USDT.")
        return fee, currency


@dataclass(frozen=True, kw_only=True)
class FillsFormat:
    """A form: its name, whether a row is an order without a fill, and the fill of a row."""

    name: str
    is_unfilled: Callable[[Row], bool]
    fill: Callable[..., AccountFill]


def format_of(header: Sequence[str]) -> FillsFormat | None:
    """The form that a header belongs to; None for an unknown one."""
    columns = set(header)
    filled_at = next((name for name in header if name.startswith("Filled Time")), None)
    if filled_at is not None and columns >= _KUCOIN_COLUMNS:
        return _kucoin(filled_at, is_order="Status" in columns)
    if columns >= _PLAIN_COLUMNS:
        return FillsFormat(name="plain", is_unfilled=lambda row: False, fill=_plain_fill)
    return None


_KUCOIN_COLUMNS = {"Order ID", "Symbol", "Side", "Avg. Filled Price", "Filled Amount", "Fee", "Fee Currency"}
_PLAIN_COLUMNS = {"time", "side", "price", "quantity", "fee", "fee_currency"}


def _kucoin(filled_at: str, *, is_order: bool) -> FillsFormat:
    zone = _zone_of(filled_at)

    def fill(row: Row, *, symbol: str | None, seen: Counter[str]) -> AccountFill:
        told_symbol = row.symbol("Symbol", symbol)
        fee, currency = row.fee("Fee", "Fee Currency", told_symbol)
        told = {
            "order_id": row.text("Order ID"),
            "symbol": told_symbol,
            "time_ms": _local_ms(row, filled_at, zone),
            "side": row.side("Side"),
            "price": row.number("Avg. Filled Price", above_zero=True),
            "quantity_base": row.number("Filled Amount", above_zero=True),
            "fee": fee,
            "fee_currency": currency,
        }
        return AccountFill(trade_id=_made_id(told, seen), **told)  # type: ignore[arg-type]

    return FillsFormat(
        name="kucoin orders" if is_order else "kucoin fills",
        is_unfilled=lambda row: is_order and not row.cells.get("Filled Amount", "").strip("0."),
        fill=fill,
    )


def _plain_fill(row: Row, *, symbol: str | None, seen: Counter[str]) -> AccountFill:
    told_symbol = row.symbol("symbol", symbol)
    fee, currency = row.fee("fee", "fee_currency", told_symbol)
    told = {
        "order_id": row.cells.get("order_id", ""),
        "symbol": told_symbol,
        "time_ms": _plain_ms(row),
        "side": row.side("side"),
        "price": row.number("price", above_zero=True),
        "quantity_base": row.number("quantity", above_zero=True),
        "fee": fee,
        "fee_currency": currency,
    }
    return AccountFill(trade_id=row.cells.get("id") or _made_id(told, seen), **told)  # type: ignore[arg-type]


def _made_id(told: Mapping[str, object], seen: Counter[str]) -> str:
    """An id of the content, and of how often it was seen before in this file."""
    content = "|".join(str(value) for value in told.values())
    seen[content] += 1
    return f"csv-{hashlib.sha256(content.encode()).hexdigest()[:16]}-{seen[content]}"


def _zone_of(column: str) -> timezone | None:
    """The offset that a column's name tells, ``Filled Time(UTC+02:00)``; None where it tells none."""
    match = _ZONE.search(column)
    if match is None:
        return None
    sign, hours, minutes = match.groups(default="0")
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-offset if sign == "-" else offset)


def _local_ms(row: Row, column: str, zone: timezone | None) -> int:
    at = _iso(row.text(column), column)
    if at.tzinfo is None and zone is None:
        raise RowFault(column, "neither the time nor its column tells the zone.", "Export it with UTC times.")
    return _in_bounds(at if at.tzinfo else at.replace(tzinfo=zone), column)


def _plain_ms(row: Row) -> int:
    text = row.text("time")
    if text.isdecimal():
        ms = int(text)
        if not to_ms(_EARLIEST) <= ms < to_ms(_LATEST):
            raise RowFault("time", f"{text} is not a time in epoch milliseconds.", "Write 13 digits, or ISO 8601.")
        return ms
    at = _iso(text, "time")
    if at.tzinfo is None:
        raise RowFault("time", f"{text!r} has no UTC offset.", "Write it like 2025-01-31T12:15:00Z.")
    return _in_bounds(at, "time")


def _iso(text: str, column: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise RowFault(column, f"{text!r} is not a time.", "Write it like 2025-01-31T12:15:00Z.") from None


def _in_bounds(at: datetime, column: str) -> int:
    if not _EARLIEST <= at < _LATEST:
        raise RowFault(column, f"{at.isoformat()} is outside {_EARLIEST.year}..{_LATEST.year - 1}.", "Correct it.")
    return to_ms(at)
