"""Fills from a CSV file: exports of exchanges and a plain form, by what their columns mean.

Every row that is at fault is named with what to do; what rows mean is in ``fills_rows``, and nothing here knows grids.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mm_pipeline.adapters.account.fills_cells import RowFault, Symbols, Times, shown
from mm_pipeline.adapters.account.fills_columns import PLAIN, ColumnFault, Layout, Meaning, layout_of
from mm_pipeline.adapters.account.fills_rows import RowReader
from mm_pipeline.domain.account import AccountFill, FeeBounds, Side, Telling, in_order, is_name
from mm_pipeline.domain.errors import FillsFileError
from mm_pipeline.domain.instants import to_ms

if TYPE_CHECKING:
    from _csv import Reader

DEFAULT_FEES: Final = FeeBounds(-0.001, 0.05)
"""The packaged settings' (``account.max_rebate_share``, ``max_fee_share``)."""
_SHOWN_HEADER: Final = 600
IMPORTED = "import"
"""Account under which imported fills are kept."""
MAX_BYTES = 64 * 1024 * 1024
_SHOWN_FAULTS = 20


@dataclass(frozen=True, kw_only=True)
class RowProblem:
    """A row that cannot be imported; ``row`` counts as a spreadsheet does, the header being row 1."""

    file: str
    row: int
    column: str
    problem: str
    hint: str

    def __str__(self) -> str:
        return f"{self.file}, row {self.row}, {self.column}: {self.problem} {self.hint}"


@dataclass(frozen=True, kw_only=True)
class ImportedFills:
    """What a file holds.

    Attributes
    ----------
    format_name
        ``plain``, ``kucoin fills``, ``kucoin orders``, ``binance fills`` or ``fills``.
    tellings
        Rows in the order of the file, as of import 0.
    problems
        Rows left out because the caller allowed it.
    unfilled_rows
        Orders of which nothing was filled: they are no fills.
    """

    format_name: str
    tellings: tuple[Telling, ...]
    problems: tuple[RowProblem, ...]
    unfilled_rows: int

    @property
    def fills(self) -> tuple[AccountFill, ...]:
        """What the rows tell, in the order in which it happened; an order told twice is there twice."""
        return tuple(in_order(telling.fill for telling in self.tellings))


def import_fills(
    path: Path,
    *,
    until: datetime,
    symbol: str | None = None,
    exchange: str | None = None,
    zone: tzinfo | None = None,
    fees: FeeBounds = DEFAULT_FEES,
    skip_bad: bool = False,
) -> ImportedFills:
    """Read a file of fills.

    What a row tells is known by the names of its columns, in whatever order, case and wording exchanges have given
    them; others are ignored, ``,`` or ``;`` stands between them. Known by name are

    - plain: ``time, side, price, quantity, fee, fee_currency`` and, where they are there, ``id, order_id, symbol``;
    - KuCoin's exports of fills (with order-splitting: one row an execution), of its trading bots, and of orders, of
      which those that were not filled are counted and left out;
    - Binance's trade history, whose amounts name their currency.

    Times are ISO 8601 or epoch milliseconds. One without an offset is of the zone that its column's name tells,
    ``Filled Time(UTC+02:00)``, else of ``zone``: it is never guessed.

    A row without an id of its own gets one made of its content and of how often this content was seen above it. What
    several files tell together is for :func:`~mm_pipeline.domain.account.settled` to say.

    Parameters
    ----------
    path
        UTF-8, with or without byte order mark, at most 64 MiB.
    until
        Now: no fill is later.
    symbol
        ``ETH/USDT``: the symbol of rows that name none; rows of another symbol are left as they are.
    exchange
        Whose names of coins the file has; None: names in general use.
    zone
        Of times that tell none.
    fees
        How much a fee may be of what was traded.
    skip_bad
        Give the good rows where others are at fault; otherwise one fault refuses the file.

    Raises
    ------
    FillsFileError
        The file cannot be read, has no such form, or holds rows at fault: all of them are in ``rows`` of the error.
    """
    file = str(path)
    rows, header = _opened(path, file)
    layout = _layout(header, file, zone)
    reader = RowReader(
        layout=layout,
        times=Times(layout.zone or zone, to_ms(until)),
        symbols=Symbols(symbol, native_names(exchange) if exchange else {}),
        fees=fees,
    )
    tellings, problems, unfilled = _read_rows(rows, reader, file=file)
    if problems and not skip_bad:
        raise faults_of(file, problems)
    return ImportedFills(
        format_name=layout.name, tellings=tuple(tellings), problems=tuple(problems), unfilled_rows=unfilled
    )


def _layout(header: list[str], file: str, zone: tzinfo | None) -> Layout:
    strange = next((name for name in header if not is_name(name)), None)
    if strange is not None:
        raise FillsFileError(f"{file} has a column {shown(strange)}.", "Give it a printable name.")
    try:
        layout = layout_of(header)
    except ColumnFault as fault:
        raise FillsFileError(f"{file}: {fault.problem}", fault.hint) from fault
    if layout is None:
        names = ", ".join(header)
        raise FillsFileError(
            f"{file} has none of the known sets of columns; it has {names[:_SHOWN_HEADER] or 'none'}.",
            f"Give it the plain form, {', '.join(PLAIN)}; or export the filled orders of KuCoin or the trade history "
            "of Binance.",
        )
    if layout.zone is not None and zone is not None:
        raise FillsFileError(
            f"{file} names the zone of its times itself: {layout.columns[Meaning.TIME]}.", "Leave --time-zone out."
        )
    return layout


def faults_of(file: str, problems: list[RowProblem]) -> FillsFileError:
    """The error that names every row at fault."""
    shown = "\n".join(f"  {problem}" for problem in problems[:_SHOWN_FAULTS])
    more = f"\n  and {len(problems) - _SHOWN_FAULTS} more" if len(problems) > _SHOWN_FAULTS else ""
    rows = f"{len(problems)} row{'s' * (len(problems) != 1)}"
    return FillsFileError(
        f"{rows} of {file} cannot be imported, so nothing was:\n{shown}{more}\n",
        "Mend them, or leave them out with --skip-bad.",
        rows=tuple(map(str, problems)),
    )


def _opened(path: Path, file: str) -> tuple[Iterator[list[str]], list[str]]:
    """Rows below the header, and the header."""
    try:
        data = path.read_bytes()
        if len(data) > MAX_BYTES:
            raise FillsFileError(f"{file} is larger than {MAX_BYTES >> 20} MiB.", "Import it in parts.")
        text = data.decode("utf-8-sig")
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise FillsFileError(f"{file} cannot be read ({reason}).", "Check the path and its permissions.") from error
    except UnicodeDecodeError as error:
        raise FillsFileError(f"{file} is not UTF-8 at byte {error.start}.", "Save it as UTF-8 text.") from error
    first = text.partition("\n")[0]
    delimiter = ";" if first.count(";") > first.count(",") else ","
    rows = _rows(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), file)
    return rows, next(rows, [])


def _rows(reader: Reader, file: str) -> Iterator[list[str]]:
    """Rows of stripped cells. A cell that goes on in the next line has lost its closing quote, and has eaten rows."""
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise FillsFileError(
                f"{file} is not a CSV file from row {line} on: {error}.", "Look for a quote that is not closed there."
            ) from error
        if row is None:
            return
        if reader.line_num > line:
            raise FillsFileError(f"{file}, row {line}: a cell goes on in the next line.", "Close its quote.")
        yield [cell.strip() for cell in row]


def _read_rows(
    rows: Iterator[list[str]], reader: RowReader, *, file: str
) -> tuple[list[Telling], list[RowProblem], int]:
    tellings: list[Telling] = []
    problems: list[RowProblem] = []
    ids: dict[tuple[str, str, Side], int] = {}
    unfilled = 0
    for place, row in enumerate(rows, start=2):
        if not any(row):
            continue
        try:
            if reader.is_unfilled(row):
                unfilled += 1
                continue
            telling = reader.telling(row, place=f"{file}, row {place}")
            fill = telling.fill
            key = (fill.symbol, fill.trade_id, fill.side)  # the two sides of a trade with oneself bear one id
            if key in ids:
                raise RowFault("id", f"{fill.trade_id} is also the id of row {ids[key]}.", "Remove one.")
        except RowFault as fault:
            problems.append(
                RowProblem(file=file, row=place, column=fault.column, problem=fault.problem, hint=fault.hint)
            )
            continue
        ids[key] = place
        tellings.append(telling)
    return tellings, problems, unfilled


def native_names(exchange: str) -> Mapping[str, str]:
    """An exchange's own names of coins and those in general use: ccxt's table, which reads the account too."""
    import ccxt

    made = getattr(ccxt, exchange, None)
    names: Mapping[str, str] = {} if made is None else made().commonCurrencies
    return names
