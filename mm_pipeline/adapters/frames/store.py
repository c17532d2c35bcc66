"""Frames by dataset, key and UTC month: ``<root>/<dataset>/<key>/<YYYY-MM>.parquet``.

The row's month is that of its bar: of ``open_time``, or of ``evaluated_at`` less one 15m bar where the frame is keyed
by ``evaluated_at`` (the evaluation at 00:00 on the first closes a bar of the month before). Judging what a frame holds
is the contracts' business, not this module's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime

import polars as pl

from mm_pipeline.adapters.frames.files import FrameFiles
from mm_pipeline.adapters.frames.paths import NAME, checked, context_path, folder_path, month_path
from mm_pipeline.adapters.frames.rows import by_bar, known_at, up_to
from mm_pipeline.domain.columns import Type, conformed, united
from mm_pipeline.domain.errors import FrameDamaged, FrameMissing, StorageError
from mm_pipeline.domain.instants import from_ms, to_ms
from mm_pipeline.domain.months import months_between, next_month, parse_month, previous_month

__all__ = ["FrameMissing", "FrameStore"]

_MONTH_FILE = re.compile(r"\d{4}-(0[1-9]|1[0-2])\.parquet")


class FrameStore:
    """Reads and writes frames in whole UTC months.

    Parameters
    ----------
    root
        A local path or any fsspec URL (``s3://bucket/frames``); both behave the same.

    Notes
    -----
    A range ``[start, end)`` is a range of bar open times everywhere, so that the rows read for a partition are the rows
    written for it, whatever column keys the frame. Two writers of one dataset and key must not run at once (they share
    a concurrency pool); each file is whole even if they do.
    """

    def __init__(self, root: str) -> None:
        self._files = FrameFiles(root)

    def write(
        self,
        dataset: str,
        key: str,
        frame: pl.DataFrame,
        *,
        start: datetime,
        end: datetime,
        metadata: Mapping[str, str] | None = None,
        by_month: Mapping[datetime, Mapping[str, str]] | None = None,
        newest: datetime | None = None,
        is_snapshot: bool = False,
    ) -> None:
        """Replace every month of ``[start, end)`` by the frame's rows; a month without rows becomes an empty file.

        Rows before ``start`` are the look-back context of the first month. They are kept beside it, so that whoever
        reads that month does not depend on which earlier months happen to be materialized. Context files of the other
        months in the range are removed: the months before them are now in the same range.

        Parameters
        ----------
        frame
            Has ``open_time`` or ``evaluated_at`` (Datetime ms UTC); no row at or after ``end``.
        start, end
            First instants of UTC months.
        metadata
            Parquet key-value metadata of every file written (``settings_hash``, ``code_version``).
        by_month
            More of it, of the files of single months.
        newest
            The evaluation that the writer judged up to. Stored rows that were known only later stay, and such rows of
            ``frame`` are left out; None replaces the months whole.
        is_snapshot
            A month's rows belong together: where later ones are stored, these are all that stays.

        Raises
        ------
        StorageError
            A range that is not month aligned, a row past it, a name unfit for a path, or a failing disk.
        """
        months = months_between(start, end, aligned=True)
        rows = by_bar(frame, dataset)
        if len(rows.opened_ms) and rows.opened_ms[-1] >= to_ms(end):
            raise StorageError(
                f"{dataset} of {key} has rows at or after {end:%Y-%m-%d}, outside the months that are written.",
                "Cut the frame to the partition before writing it.",
            )
        files = {context_path(dataset, key, months[0]): rows.between(None, start)}
        for month in months:
            path = month_path(dataset, key, month)
            inside = rows.between(month, next_month(month))
            is_past = newest is None or next_month(month) <= newest
            files[path] = inside if is_past or newest is None else self._with_later(path, inside, newest, is_snapshot)
        more = {month_path(dataset, key, month): values for month, values in (by_month or {}).items()}
        self._files.write(files, metadata=metadata or {}, by_file=more)
        for month in months[1:]:
            self._files.delete(context_path(dataset, key, month))

    def upsert(
        self,
        dataset: str,
        key: str,
        frame: pl.DataFrame,
        on: str = "open_time",
        *,
        metadata: Mapping[str, str] | None = None,
    ) -> list[datetime]:
        """Merge rows into their month files; of rows with the same ``on`` the later one in ``frame`` supersedes.

        Returns
        -------
        list of datetime
            First instants of the months whose rows changed, in order. A month that already held exactly these rows is
            not written again.
        """
        ordered = by_bar(frame, dataset)
        if not len(ordered.opened_ms):
            return []
        first, last = from_ms(int(ordered.opened_ms[0])), from_ms(int(ordered.opened_ms[-1]))
        files: dict[str, pl.DataFrame] = {}
        touched: list[datetime] = []
        for month in months_between(first, next_month(last)):
            rows = ordered.between(month, next_month(month))
            if rows.is_empty():
                continue
            path = month_path(dataset, key, month)
            stored = self._files.read(path)
            merged = rows if stored is None else self._joined([stored, rows], rows.schema, path)
            merged = merged.unique(on, keep="last", maintain_order=True).sort(on)
            if stored is None or not merged.equals(stored):
                files[path] = merged
                touched.append(month)
        if files:
            self._files.write(files, metadata=metadata or {})
        return touched

    def read(self, dataset: str, key: str, *, start: datetime, end: datetime) -> pl.DataFrame:
        """Rows whose bar opened in ``[start, end)``, from the month files alone; months never written are left out.

        Months may be of several versions of the program: a column that one of them lacks is null there.

        Raises
        ------
        FrameMissing
            When none of the months exists.
        StorageError
            A torn file, or months in which a column has types that do not fit.
        """
        paths = [month_path(dataset, key, month) for month in months_between(start, end)]
        found = [(path, frame) for path in paths if (frame := self._files.read(path)) is not None]
        return self._rows(dataset, key, found, start, end)

    def read_with_context(
        self, dataset: str, key: str, *, start: datetime, end: datetime, context_start: datetime | None = None
    ) -> pl.DataFrame:
        """Rows of ``[start, end)`` after the look-back context of the first month.

        A month that was written without context takes the months before it instead, back to the first that has a
        context file or to the first gap. ``context_start`` (a bar open time) leaves out what is older.
        """
        months = months_between(start, end)
        frames = {path: self._files.read(path) for path in (month_path(dataset, key, month) for month in months)}
        found = [(path, frame) for path, frame in frames.items() if frame is not None]
        if found:
            found = [*self._context(dataset, key, months[0], context_start), *found]
        return self._rows(dataset, key, found, context_start and min(context_start, start), end)

    def months(self, dataset: str, key: str) -> list[datetime]:
        """First instants of the months that are stored, in order."""
        names = self._files.names(folder_path(dataset, key))
        return [parse_month(name) for name in names if _MONTH_FILE.fullmatch(name)]

    def losses(
        self,
        dataset: str,
        key: str,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        is_whole: bool = False,
    ) -> dict[datetime, str]:
        """Months of ``[start, end)`` that were written and cannot be read: ``missing: why`` or ``damaged: why``.

        A file that is damaged is moved aside by this. ``is_whole`` says that the dataset has no month without rows:
        where a version wrote it that kept no list, a month missing between two others is taken for lost.
        """
        found: dict[datetime, str] = {}
        folder, stored = folder_path(dataset, key), self.months(dataset, key)
        inside = [month for month in stored if _is_within(month, start, end)]
        for month in inside:
            try:
                self._files.check(month_path(dataset, key, month))
            except FrameDamaged as error:
                found[month] = f"damaged: {error.problem.rstrip('.')}"
        lost = [parse_month(name) for name in self._files.lost(folder) if _MONTH_FILE.fullmatch(name)]
        if is_whole and inside and not self._files.has_list(folder):
            lost += [month for month in months_between(inside[0], next_month(inside[-1])) if month not in stored]
        for month in lost:
            if _is_within(month, start, end) and month not in found:
                why = "the file was deleted, or moved aside as damaged"
                found[month] = f"missing: {why}"
        return found

    def lost(self, dataset: str) -> list[tuple[str, datetime]]:
        """Key and month of each file of a dataset that was written and is not there: deleted, or moved aside."""
        return [
            (key, parse_month(name))
            for key in self._files.names(checked(dataset))
            if NAME.fullmatch(key)
            for name in self._files.lost(folder_path(dataset, key))
            if _MONTH_FILE.fullmatch(name)
        ]

    def settle(self, dataset: str, key: str, months: Iterable[datetime]) -> None:
        """Let months that are lost count as never written: what they held was asked for again."""
        self._files.settle(folder_path(dataset, key), [f"{month:%Y-%m}.parquet" for month in months])

    def remove(self, dataset: str, key: str, *, start: datetime, end: datetime, newest: datetime) -> list[datetime]:
        """Take a key out of the months of ``[start, end)``; rows that were known only after ``newest`` stay.

        Returns
        -------
        list of datetime
            First instants of the months that held something else, in order.
        """
        removed = []
        for month in months_between(start, end, aligned=True):
            path = month_path(dataset, key, month)
            if month not in self.months(dataset, key):
                continue
            stored = self._stored(path)
            later = None if stored is None else stored.filter(known_at(stored) > newest)
            if stored is None or later is None or later.is_empty():
                self._files.delete(path)
                self._files.delete(context_path(dataset, key, month))
            elif later.height < stored.height:
                self._files.write({path: later}, metadata=self._files.read_metadata(path) or {})
            else:
                continue
            removed.append(month)
        return removed

    def size_bytes(self, datasets: Iterable[str], month: datetime) -> int:
        """Bytes of a month's files of all keys of these datasets, look-back context included."""
        of_keys = [(dataset, key) for dataset in datasets for key in self.keys(dataset)]
        return sum(self._files.size_bytes(path(*of, month)) for of in of_keys for path in (month_path, context_path))

    def keys(self, dataset: str) -> list[str]:
        """Keys (markets' ``path_key`` or grid ids) with at least one month, sorted."""
        names = self._files.names(checked(dataset))
        return [name for name in names if NAME.fullmatch(name) and self.months(dataset, name)]

    def metadata(self, dataset: str, key: str, month: datetime) -> dict[str, str]:
        """Metadata the month was written with.

        Raises
        ------
        FrameMissing
            When the month was never written.
        """
        found = self._files.read_metadata(month_path(dataset, key, month))
        if found is None:
            raise _missing(dataset, key, month, next_month(month))
        return found

    def _with_later(self, path: str, rows: pl.DataFrame, newest: datetime, is_snapshot: bool) -> pl.DataFrame:
        """Rows up to ``newest``, and after them those that are stored and were known only later."""
        rows = up_to(rows, newest)
        stored = self._stored(path)
        if stored is None:
            return rows
        later = conformed(stored.filter(known_at(stored) > newest), rows.schema)
        if later.is_empty():
            return rows
        return later if is_snapshot else pl.concat([rows, later])

    def _stored(self, path: str) -> pl.DataFrame | None:
        """The frame in the file; None also where it is damaged: what cannot be read holds no row to keep."""
        try:
            return self._files.read(path)
        except FrameDamaged:
            return None

    def _context(
        self, dataset: str, key: str, first: datetime, context_start: datetime | None
    ) -> list[tuple[str, pl.DataFrame]]:
        """Context of a month, oldest rows first, as (path, frame)."""
        found: list[tuple[str, pl.DataFrame]] = []
        month = first
        while context_start is None or context_start < month:
            path = context_path(dataset, key, month)
            context = self._files.read(path)
            if context is not None:
                return [(path, context), *found]
            month = previous_month(month)
            path = month_path(dataset, key, month)
            earlier = self._files.read(path)
            if earlier is None:
                return found
            found.insert(0, (path, earlier))
        return found

    def _rows(
        self, dataset: str, key: str, found: list[tuple[str, pl.DataFrame]], start: datetime | None, end: datetime
    ) -> pl.DataFrame:
        if not found:
            lost = self.losses(dataset, key, start=start, end=end)
            if lost:
                told = "; ".join(f"the {dataset} of {month:%Y-%m} of {key} are {why}" for month, why in lost.items())
                raise FrameMissing(f"{told}.", "Materialize it again (mm backfill).")
            raise _missing(dataset, key, start, end)
        frames = [frame for _, frame in found]
        joined = self._joined(frames, united([frame.schema for frame in frames]), found[-1][0])
        return by_bar(joined, dataset).between(start, end)

    def _joined(self, frames: list[pl.DataFrame], schema: Mapping[str, Type], path: str) -> pl.DataFrame:
        try:
            return pl.concat([frame if frame.schema == schema else conformed(frame, schema) for frame in frames])
        except pl.exceptions.PolarsError as error:
            reason = str(error).splitlines()[0]
            raise StorageError(
                f"{self._files.full_path(path)} and the months before it do not fit together: {reason}.",
                "Materialize these months again with the present version (mm backfill).",
            ) from error


def _missing(dataset: str, key: str, start: datetime | None, end: datetime) -> FrameMissing:
    span = f"before {end:%Y-%m-%d}" if start is None else f"from {start:%Y-%m-%d} to {end:%Y-%m-%d}"
    return FrameMissing(f"there is no {dataset} of {key} {span}.", "Materialize it first (mm backfill).")


def _is_within(month: datetime, start: datetime | None, end: datetime | None) -> bool:
    return (start is None or next_month(month) > start) and (end is None or month < end)
