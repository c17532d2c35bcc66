"""Fills from a CSV file: KuCoin's exports and a plain form, told apart by their header.

Every row that is at fault is named with what to do; what rows mean is in ``fills_rows``, and nothing here knows grids.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mm_pipeline.adapters.account.fills_rows import FillsFormat, Row, RowFault, format_of
from mm_pipeline.domain.account import AccountFill, in_order
from mm_pipeline.domain.errors import FillsFileError

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
    mend: str

    def __str__(self) -> str:
        return f"{self.file}, row {self.row}, {self.column}: {self.problem} {self.mend}"


@dataclass(frozen=True, kw_only=True)
class ImportedFills:
    """What a file holds.

    Attributes
    ----------
    format_name
        ``kucoin fills``, ``kucoin orders`` or ``plain``.
    fills
        In the order in which they happened.
    problems
        Rows left out because the caller allowed it.
    unfilled_rows
        Orders of which nothing was filled: they are no fills.
    """

    format_name: str
    fills: tuple[AccountFill, ...]
    problems: tuple[RowProblem, ...]
    unfilled_rows: int


def import_fills(path: Path, *, symbol: str | None = None, skip_bad: bool = False) -> ImportedFills:
    """Read a file of fills.

    Forms, told apart by their columns (in any order, others are ignored; ``,`` or ``;`` between them):

    - KuCoin's export of filled orders with order-splitting, one row an execution: ``Order ID, Symbol, Side,
      Avg. Filled Price, Filled Amount, Filled Time(UTC+02:00), Fee, Fee Currency``; times have the header's offset;
    - KuCoin's export of orders, one row an order: the same with ``Status``; unfilled orders are counted and left out;
    - plain: ``time, side, price, quantity, fee, fee_currency`` and, where they are there, ``id, order_id, symbol``;
      times are ISO 8601 with an offset, or epoch milliseconds.

    A row without an id of its own gets one made of its content and of how often this content was seen above it, so
    that a file read twice, or two files that overlap, give each fill once, and equal parts of one order all count.

    Parameters
    ----------
    path
        UTF-8, with or without byte order mark, at most 64 MiB.
    symbol
        ``ETH/USDT``: the symbol of rows that name none; rows of another symbol are left as they are.
    skip_bad
        Give the good rows where others are at fault; otherwise one fault refuses the file.

    Raises
    ------
    FillsFileError
        The file cannot be read, has no such form, or holds rows at fault: all of them are in ``rows`` of the error.
    """
    file = str(path)
    reader, header = _opened(path, file)
    form = format_of(header)
    if form is None:
        raise FillsFileError(
            f"{file} has none of the known sets of columns; it has {', '.join(header) or 'none'}.",
            "Export the filled orders from KuCoin, or give time, side, price, quantity, fee, fee_currency.",
        )
    fills, problems, unfilled = _read_rows(reader, header, form, file=file, symbol=symbol)
    if problems and not skip_bad:
        raise faults_of(file, problems)
    return ImportedFills(
        format_name=form.name, fills=tuple(in_order(fills)), problems=tuple(problems), unfilled_rows=unfilled
    )


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
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if first.count(";") > first.count(",") else ",")
    header = next(_rows(reader, file), [])
    return _rows(reader, file), [name.strip() for name in header]


def _rows(reader: Iterator[list[str]], file: str) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise FillsFileError(f"{file} is not a CSV file: {error}.", "Export it again.") from error


def _read_rows(
    rows: Iterator[list[str]], header: list[str], form: FillsFormat, *, file: str, symbol: str | None
) -> tuple[list[AccountFill], list[RowProblem], int]:
    fills: list[AccountFill] = []
    problems: list[RowProblem] = []
    seen: Counter[str] = Counter()
    ids: dict[str, int] = {}
    unfilled = 0
    for number, values in enumerate(rows, start=2):
        if not any(value.strip() for value in values):
            continue
        row = Row(dict(zip(header, (value.strip() for value in values), strict=False)))
        try:
            if form.is_unfilled(row):
                unfilled += 1
                continue
            fill = form.fill(row, symbol=symbol, seen=seen)
            if fill.trade_id in ids:
                raise RowFault("id", f"{fill.trade_id} is also the id of row {ids[fill.trade_id]}.", "Remove one.")
        except RowFault as fault:
            problems.append(
                RowProblem(file=file, row=number, column=fault.column, problem=fault.problem, mend=fault.mend)
            )
            continue
        ids[fill.trade_id] = number
        fills.append(fill)
    return fills, problems, unfilled
