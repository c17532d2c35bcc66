"""Where fills and flows are kept: memory, or Parquet files by month.

See :class:`~mm_pipeline.domain.account.FillStore`.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

import polars as pl

from mm_pipeline.adapters.frames.files import FrameFiles
from mm_pipeline.domain.account import (
    AccountFill,
    AccountFlow,
    ReadSpan,
    fills_frame,
    fills_of_frame,
    flows_frame,
    flows_in_order,
    flows_of_frame,
    in_order,
)
from mm_pipeline.domain.columns import TIME
from mm_pipeline.domain.errors import StorageError
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.market import Market

T = TypeVar("T", bound=AccountFill | AccountFlow)

_FILLS_FOLDER, _FLOWS_FOLDER = "account_fills", "account_flows"
_SPAN_FILE = "span.parquet"
_DAY_MS = 86_400_000
_MONTH_FILE = re.compile(r"\d{4}-\d{2}\.parquet")
_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")


class MemoryFills:
    """Fills and flows kept in this process only: for tests and one-off commands."""

    def __init__(self) -> None:
        self._fills: dict[tuple[str, Market], list[AccountFill]] = {}
        self._spans: dict[tuple[str, Market], ReadSpan] = {}
        self._flows: dict[str, list[AccountFlow]] = {}
        self._flow_spans: dict[str, ReadSpan] = {}

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

    def flows(self, account: str) -> list[AccountFlow]:
        """Every flow kept, in order."""
        return list(self._flows.get(account, []))

    def flow_span(self, account: str) -> ReadSpan | None:
        """Of what the flows were read in full so far."""
        return self._flow_spans.get(account)

    def append_flows(self, account: str, flows: Sequence[AccountFlow], *, span: ReadSpan | None) -> int:
        """Keep flows that are not kept yet; the number of new ones."""
        known = self.flows(account)
        merged = flows_in_order([*known, *flows])
        self._flows[account] = merged
        if span is not None:
            self._flow_spans[account] = span
        return len(merged) - len(known)


class FrameFills:
    """Fills and flows in Parquet files, ``<YYYY-MM>.parquet`` with the span beside them.

    Fills are in ``account_fills/<account>/<market>/``, flows in ``account_flows/<account>/``. Each file is whole or
    absent, and the span is put in place last. Two processes must not append for one account at once (they share a
    concurrency pool); threads of one process take turns.

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
        files, lock = FrameFiles(root), threading.Lock()
        self._fills = _MonthFiles(files, lock, in_order=in_order, frame_of=fills_frame, of_frame=fills_of_frame)
        self._flows = _MonthFiles(files, lock, in_order=flows_in_order, frame_of=flows_frame, of_frame=flows_of_frame)

    def fills(self, account: str, market: Market) -> list[AccountFill]:
        """Every fill kept, in order."""
        return self._fills.kept(_fills_folder(account, market))

    def lost(self, account: str, market: Market) -> list[str]:
        """Months of fills (``2025-03``) whose files were deleted, or moved aside as damaged."""
        return self._fills.lost(_fills_folder(account, market))

    def span(self, account: str, market: Market) -> ReadSpan | None:
        """What was read in full so far; None while a file is lost, so that it is read from the account again."""
        return self._fills.span(_fills_folder(account, market))

    def append(self, account: str, market: Market, fills: Sequence[AccountFill], *, span: ReadSpan | None) -> int:
        """Keep fills that are not kept yet; the number of new ones. Months without new ones are not written again."""
        return self._fills.append(_fills_folder(account, market), fills, span=span)

    def told(self, account: str, market: Market) -> list[AccountFill]:
        """Every fill as it is kept, also those that conflict, which earlier versions let in."""
        return self._fills.told(_fills_folder(account, market))

    def put(self, account: str, market: Market, fills: Sequence[AccountFill], *, is_whole: bool) -> None:
        """Keep these fills and no others. Months that stay as they are are not written again.

        Parameters
        ----------
        is_whole
            Whether they are all there can be: then months that are lost and have none of them count as lost no more.
        """
        self._fills.put(_fills_folder(account, market), fills, is_whole=is_whole)

    def flows(self, account: str) -> list[AccountFlow]:
        """Every flow kept, in order."""
        return self._flows.kept(_flows_folder(account))

    def flow_span(self, account: str) -> ReadSpan | None:
        """Of what the flows were read in full so far."""
        return self._flows.span(_flows_folder(account))

    def append_flows(self, account: str, flows: Sequence[AccountFlow], *, span: ReadSpan | None) -> int:
        """Keep flows that are not kept yet; otherwise like :meth:`append`."""
        return self._flows.append(_flows_folder(account), flows, span=span)


class _MonthFiles(Generic[T]):
    """Folders with a file a month and the span of what was read; what is in a file is the caller's to say."""

    def __init__(
        self,
        files: FrameFiles,
        lock: threading.Lock,
        *,
        in_order: Callable[[Iterable[T]], list[T]],
        frame_of: Callable[[Sequence[T]], pl.DataFrame],
        of_frame: Callable[[pl.DataFrame], list[T]],
    ) -> None:
        self._files = files
        self._lock = lock
        self._in_order = in_order
        self._frame_of = frame_of
        self._of_frame = of_frame

    def kept(self, folder: str) -> list[T]:
        return self._in_order(self.told(folder))

    def told(self, folder: str) -> list[T]:
        names = [name for name in self._files.names(folder) if _MONTH_FILE.fullmatch(name)]
        return [item for name in names for item in self._month(f"{folder}/{name}")]

    def lost(self, folder: str) -> list[str]:
        return [name.removesuffix(".parquet") for name in self._files.lost(folder)]

    def span(self, folder: str) -> ReadSpan | None:
        if self._files.lost(folder):
            return None  # what they held is read from the account again
        frame = self._files.read(f"{folder}/{_SPAN_FILE}")
        return None if frame is None else ReadSpan(*frame.select(pl.all().dt.epoch("ms")).row(0))

    def append(self, folder: str, items: Sequence[T], *, span: ReadSpan | None) -> int:
        files: dict[str, pl.DataFrame] = {}
        added = 0
        with self._lock:
            self._in_order([*self.kept(folder), *items])  # what conflicts in any month is refused before a write
            for month, new in sorted(_by_month(items).items()):
                path = f"{folder}/{month}.parquet"
                known = self._month(path)
                merged = self._in_order([*known, *new])
                if len(merged) > len(known):
                    files[path] = self._frame_of(merged)
                    added += len(merged) - len(known)
            if span is not None and span != self.span(folder):
                files[f"{folder}/{_SPAN_FILE}"] = _span_frame(span)
            if files:
                self._files.write(files, metadata={})
            if span is not None:
                self._files.settle(folder, self._files.lost(folder))
        return added

    def put(self, folder: str, items: Sequence[T], *, is_whole: bool) -> None:
        months = {f"{month}.parquet": self._in_order(of) for month, of in _by_month(items).items()}
        with self._lock:
            there = [name for name in self._files.names(folder) if _MONTH_FILE.fullmatch(name)]
            changed = {
                f"{folder}/{name}": self._frame_of(of)
                for name, of in months.items()
                if name not in there or self._month(f"{folder}/{name}") != of
            }
            if changed:
                self._files.write(changed, metadata={})
            for name in there:
                if name not in months:
                    self._files.delete(f"{folder}/{name}")
            if is_whole:
                self._files.settle(folder, self._files.lost(folder))

    def _month(self, path: str) -> list[T]:
        frame = self._files.read(path)
        return [] if frame is None else self._of_frame(frame)


def _by_month(items: Iterable[T]) -> dict[str, list[T]]:
    """Items by ``2025-01``; the month of each day is made out once."""
    days: dict[int, list[T]] = {}
    for item in items:
        days.setdefault(item.time_ms // _DAY_MS, []).append(item)
    months: dict[str, list[T]] = {}
    for day, of_day in days.items():
        months.setdefault(f"{from_ms(day * _DAY_MS):%Y-%m}", []).extend(of_day)
    return months


def _span_frame(span: ReadSpan) -> pl.DataFrame:
    return pl.DataFrame({"start": [span.start_ms], "end": [span.end_ms]}, schema={"start": TIME, "end": TIME})


def _fills_folder(account: str, market: Market) -> str:
    return f"{_FILLS_FOLDER}/{_checked(account)}/{market.path_key}"


def _flows_folder(account: str) -> str:
    return f"{_FLOWS_FOLDER}/{_checked(account)}"


def _checked(account: str) -> str:
    if not _ACCOUNT.fullmatch(account):
        raise StorageError(f"account {account!r} cannot be part of a path.", "Use letters, digits and -.")
    return account
