"""What the cells of a file of fills hold: numbers, sides, symbols, currencies, times, names."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Final

from mm_pipeline.adapters.account.fills_columns import is_twice
from mm_pipeline.domain.account import EARLIEST_MS, Side, is_name
from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.domain.market import Market

NOTHING: Final = frozenset({"", "-", "--", "N/A", "n/a"})
"""How exports write that there is no value."""
_CURRENCY: Final = re.compile(r"[A-Z0-9]{1,20}")
_AMOUNT_IN: Final = re.compile(r"([+-]?[0-9][0-9.,]*)\s*([A-Za-z][A-Za-z0-9]{0,19})")
_GROUPED: Final = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+\.[0-9]+")
"""Thousands with commas are told from decimal commas by the point behind them alone."""
_YEAR_FIRST: Final = re.compile(r"[0-9]{4}/[0-9]{1,2}/[0-9]{1,2}")
_QUOTES: Final = ("USDT", "USDC", "FDUSD", "BUSD", "TUSD", "DAI", "EUR", "TRY", "BRL", "BTC", "ETH", "BNB", "KCS")
"""Where a pair is written in one word and nothing else parts it; the longest that fits counts."""
_SHOWN: Final = 60


class RowFault(Exception):
    """A row that cannot be read: which column, why, and what to do."""

    def __init__(self, column: str, problem: str, hint: str) -> None:
        self.column, self.problem, self.hint = column, problem, hint
        super().__init__(f"{column}: {problem} {hint}")


def shown(text: str) -> str:
    """A cell's text in quotes, of bounded length and without what a terminal would act upon."""
    return ascii(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def number(text: str, column: str) -> float:
    """A finite number; thousands may be grouped by commas where a decimal point follows."""
    if text in NOTHING:
        raise RowFault(column, "it is empty.", "Fill it in.")
    plain = text.replace(",", "") if "," in text and _GROUPED.fullmatch(text) else text
    try:
        value = math.nan if "_" in plain else float(plain)
    except ValueError:
        value = math.nan
    if math.isnan(value) and plain.strip("+-").lower() not in {"nan"}:
        raise RowFault(column, f"{shown(text)} is not a number.", "Write it like 1234.5, without commas.")
    return value


def positive(text: str, column: str) -> float:
    """A finite number above 0."""
    value = number(text, column)
    if not 0.0 < value < math.inf:
        raise RowFault(column, f"{shown(text)} is not a number above 0.", "Correct it.")
    return value


def amount_and_currency(text: str) -> tuple[str, str]:
    """Number and currency of ``0.0819ETH``; the currency is empty where none is behind the number."""
    if text[-1:].isdigit():  # most cells; a currency that ends with a digit is in none of these columns
        return text, ""
    match = _AMOUNT_IN.fullmatch(text)
    if match is None or re.fullmatch(r"[eE][0-9]+", match.group(2)):
        return text, ""
    return match.group(1), match.group(2).upper()


def side_of(text: str, column: str) -> Side:
    """Buy or sell, in any case."""
    try:
        return Side(text.lower())
    except ValueError:
        raise RowFault(column, f"{shown(text)} is no side.", "Write buy or sell.") from None


def name_of(text: str, column: str) -> str:
    """An id: printable and of bounded length, or empty."""
    if text and not is_name(text):
        raise RowFault(column, f"{shown(text)} is no id.", "Ids have at most 200 characters, all of them printable.")
    return text


@dataclass(frozen=True)
class Times:
    """Reads times; local ones are of ``zone``.

    Attributes
    ----------
    zone
        None where neither the file nor the caller tells one: then every time must tell its own.
    until_ms
        No fill is later (epoch milliseconds).
    """

    zone: tzinfo | None
    until_ms: int

    def ms(self, text: str, column: str) -> int:
        """Epoch milliseconds of ISO 8601 (``/`` between year, month and day is read too) or of epoch milliseconds."""
        if text in NOTHING:
            raise RowFault(column, "it is empty.", "Fill it in.")
        if text.isdecimal() and text.isascii():
            if len(text) != len(str(self.until_ms)):
                raise RowFault(
                    column, f"{shown(text)} is not a time in epoch milliseconds.", "Write 13 digits, or ISO 8601."
                )
            return self._in_bounds(int(text), text, column)
        at = self._local(text, column)
        if at.tzinfo is None:
            if self.zone is None:
                raise RowFault(
                    column,
                    f"neither the time nor its column tells the zone: {shown(text)} has no UTC offset.",
                    "Give the zone with --time-zone, like Asia/Shanghai or UTC+08:00, or write it like "
                    "2025-01-31T12:15:00Z.",
                )
            at = at.replace(tzinfo=self.zone)
            if is_twice(at):
                raise RowFault(
                    column, f"{shown(text)} is not one moment in {self.zone}: clocks changed.", "Export with UTC times."
                )
        return self._in_bounds(to_ms(at), text, column)

    def _local(self, text: str, column: str) -> datetime:
        written = text.replace("/", "-") if _YEAR_FIRST.match(text) else text
        try:
            return datetime.fromisoformat(written)
        except ValueError:
            pass
        try:
            return datetime.strptime(written, "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007 - 2024/1/2: the zone is put in above
        except ValueError:
            raise RowFault(column, f"{shown(text)} is not a time.", "Write it like 2025-01-31T12:15:00Z.") from None

    def _in_bounds(self, ms: int, text: str, column: str) -> int:
        if ms < EARLIEST_MS:
            raise RowFault(column, f"{shown(text)} is outside 2010 to now.", "Correct it.")
        if ms > self.until_ms:
            raise RowFault(column, f"{shown(text)} is later than now.", "Correct it, or its time zone.")
        return ms


@dataclass
class Symbols:
    """Reads symbols and currencies; each text once.

    Attributes
    ----------
    otherwise
        Symbol of rows that name none, and the one that is looked for; None where there is none.
    native
        The exchange's own names of coins, and those in general use.
    """

    otherwise: str | None
    native: Mapping[str, str] = field(default_factory=dict)
    _known: dict[tuple[str, str], str] = field(default_factory=dict)

    def currency(self, text: str) -> str:
        """A currency by the name in general use."""
        name = text.strip().upper()
        return self.native.get(name, name)

    def fee_currency(self, text: str, column: str) -> str:
        """The currency of a fee."""
        currency = text.upper()
        if not _CURRENCY.fullmatch(currency):
            raise RowFault(column, f"{shown(text)} is not a currency.", "Write it like USDT.")
        return self.native.get(currency, currency)

    def symbol(self, text: str, column: str, *, base: str = "", is_ours: bool = False) -> str:
        """The symbol of ``ETH-USDT``, ``ETH/USDT``, ``ETH_USDT`` or ``ETHUSDT``.

        Parameters
        ----------
        base
            What the row says that was bought, where it does: it parts a pair that is written in one word.
        is_ours
            Whether the file is in the plain form: then a name that is the one looked for is not the exchange's own.
        """
        key = text, base
        if key not in self._known:
            self._known[key] = self._read(text, column, base, is_ours=is_ours)
        return self._known[key]

    def _read(self, text: str, column: str, base: str, *, is_ours: bool) -> str:
        written = re.sub(r"[-_]", "/", text.upper()) if text not in NOTHING else ""
        if not written:
            if self.otherwise is None:
                raise RowFault(column, "no symbol is told.", "Add a symbol column.")
            return self.otherwise
        if is_ours and written == self.otherwise:
            return written
        parted = written if "/" in written else self._parted(written, base.upper())
        try:
            symbol = "/".join(map(self.currency, parted.split("/")))
            return Market("kucoin", symbol).symbol
        except ConfigError:
            raise RowFault(column, f"{shown(text)} is not a symbol.", "Write it like ETH-USDT.") from None

    def _parted(self, word: str, base: str) -> str:
        if base and word.startswith(base) and len(word) > len(base):
            return f"{base}/{word[len(base) :]}"
        if self.otherwise is not None and word == self.otherwise.replace("/", ""):
            return self.otherwise
        quote = next((name for name in _QUOTES if word.endswith(name) and len(word) > len(name)), "")
        return f"{word.removesuffix(quote)}/{quote}" if quote else word
