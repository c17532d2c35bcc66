"""Where fills are kept: memory, or Parquet files by month. See :class:`~mm_pipeline.domain.account.FillStore`."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence

import polars as pl

from mm_pipeline.adapters.clock import from_ms
from mm_pipeline.adapters.frame_files import FrameFiles
from mm_pipeline.domain.account import AccountFill, ReadSpan, fills_frame, fills_of_frame, in_order
from mm_pipeline.domain.columns import TIME
from mm_pipeline.domain.errors import StorageError
from mm_pipeline.domain.market import Market

_FOLDER = "account_fills"
_SPAN_FILE = "span.parquet"
_MONTH_FILE = re.compile(r"\d{4}-\d{2}\.parquet")
_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")


class MemoryFills:
    """Fills kept in this process only: for tests and one-off commands."""

    def __init__(self) -> None:
        self._fills: dict[tuple[str, Market], list[AccountFill]] = {}
        self._spans: dict[tuple[str, Market], ReadSpan] = {}

    def fills(self, account: str, market: Market) -> list[AccountFill]:
        """Every fill kept, in order."""
        return list(self._fills.get((account, market), []))

    def span(self, account: str, market: Market) -> ReadSpan | None:
        """What was read in full so far."""
        return self._spans.get((account, market))

    def append(self, account: str, market: Market, fills: Sequence[AccountFill], *, span: ReadSpan | None) -> int:
        """Keep fills that are not kept yet; the number of new ones."""
        known = self.fills(account, market)
        merged = in_order([*known, *fills])
        self._fills[account, market] = merged
        if span is not None:
            self._spans[account, market] = span
        return len(merged) - len(known)


class FrameFills:
    """Fills in Parquet files: ``account_fills/<account>/<market>/<YYYY-MM>.parquet``, and the span beside them.

    Each file is whole or absent, and the span is put in place last. Two processes must not append for one account and
    market at once (they share a concurrency pool); threads of one process take turns.

    Parameters
    ----------
    root
        A local path or an fsspec URL.

    Raises
    ------
    StorageError
        From every method.
    """

    def __init__(self, root: str) -> None:
        self._files = FrameFiles(root)
        self._lock = threading.Lock()

    def fills(self, account: str, market: Market) -> list[AccountFill]:
        """Every fill kept, in order."""
        folder = _folder(account, market)
        names = [name for name in self._files.names(folder) if _MONTH_FILE.fullmatch(name)]
        return in_order(fill for name in names for fill in self._month(f"{folder}/{name}"))

    def span(self, account: str, market: Market) -> ReadSpan | None:
        """What was read in full so far."""
        frame = self._files.read(f"{_folder(account, market)}/{_SPAN_FILE}")
        return None if frame is None else ReadSpan(*frame.select(pl.all().dt.epoch("ms")).row(0))

    def append(self, account: str, market: Market, fills: Sequence[AccountFill], *, span: ReadSpan | None) -> int:
        """Keep fills that are not kept yet; the number of new ones. Months without new ones are not written again."""
        folder = _folder(account, market)
        files: dict[str, pl.DataFrame] = {}
        added = 0
        with self._lock:
            for month in sorted({_month_of(fill) for fill in fills}):
                path = f"{folder}/{month}.parquet"
                known = self._month(path)
                merged = in_order([*known, *(fill for fill in fills if _month_of(fill) == month)])
                if len(merged) > len(known):
                    files[path] = fills_frame(merged)
                    added += len(merged) - len(known)
            if span is not None and span != self.span(account, market):
                files[f"{folder}/{_SPAN_FILE}"] = _span_frame(span)
            if files:
                self._files.write(files, metadata={})
        return added

    def _month(self, path: str) -> list[AccountFill]:
        frame = self._files.read(path)
        return [] if frame is None else fills_of_frame(frame)


def _month_of(fill: AccountFill) -> str:
    return f"{from_ms(fill.time_ms):%Y-%m}"


def _span_frame(span: ReadSpan) -> pl.DataFrame:
    return pl.DataFrame({"start": [span.start_ms], "end": [span.end_ms]}, schema={"start": TIME, "end": TIME})


def _folder(account: str, market: Market) -> str:
    if not _ACCOUNT.fullmatch(account):
        raise StorageError(f"account {account!r} cannot be part of a path.", "Use letters, digits and -.")
    return f"{_FOLDER}/{account}/{market.path_key}"
