"""What each import told, kept beside the fills that all of them give together, so that one can be taken out again.

Fills as they are read by everybody else are in :class:`~mm_pipeline.adapters.account.FrameFills`, account ``IMPORTED``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from mm_pipeline.adapters.account.fill_stores import FrameFills
from mm_pipeline.adapters.account.fills_file import IMPORTED
from mm_pipeline.adapters.account.import_values import ImportOutcome, ImportRecord, ListedImport, digest_of
from mm_pipeline.adapters.account.telling_frames import place_of, tellings_frame, tellings_of_frame
from mm_pipeline.adapters.frames.files import FrameFiles
from mm_pipeline.domain.account import (
    MADE_ID,
    AccountFill,
    AccountPolicy,
    SettledFill,
    Telling,
    content_of,
    settled,
    tellings_of_kept,
)
from mm_pipeline.domain.errors import ConflictingFills, FillsFileError
from mm_pipeline.domain.instants import from_ms, to_ms
from mm_pipeline.domain.market import Market

EARLIER: Final = "(by an earlier version)"
"""Stands for the file of fills that were imported before imports were recorded."""
_FOLDER: Final = "account_imports"
_FILE: Final = re.compile(r"(\d{4,9})\.parquet")


class FrameImports:
    """Imports in Parquet files, ``account_imports/<number>.parquet``, and their fills in :class:`FrameFills`.

    Fills that are kept and that no import tells were imported by an earlier version: they count as an import of their
    own, and are recorded as one before anything else is changed. Callers hold the writers' lock.

    Parameters
    ----------
    root
        A local path or an fsspec URL.
    policy
        How exactly sums and prices must fit.

    Raises
    ------
    StorageError
        From every method.
    """

    def __init__(self, root: str, policy: AccountPolicy) -> None:
        self._files = FrameFiles(root)
        self._fills = FrameFills(root)
        self._policy = policy

    def listed(self, markets: Iterable[Market]) -> list[ListedImport]:
        """Every recorded import by number, then what earlier versions imported of these markets."""
        found: list[ListedImport] = []
        records = self._all(markets)
        for market in {record.market for record in records}:
            own = [record for record in records if record.market == market]
            try:
                fills, problem = self._settled(own), ""
            except ConflictingFills as error:
                fills, problem = [], error.problem
            found += [
                ListedImport(record=record, kept=_told_by(fills, record.number), problem=problem) for record in own
            ]
        return sorted(found, key=lambda one: one.record.number)

    def add(
        self, market: Market, tellings: Sequence[Telling], *, digest: str, file: str, form: str, at: datetime
    ) -> ImportOutcome:
        """Record an import, and keep what all of the market tell together.

        Raises
        ------
        ConflictingFills
            When it does not fit what others tell; nothing is changed.
        """
        records = [record for record in self._all([market]) if record.market == market]
        known = next((record for record in records if record.digest == digest), None)
        number = known.number if known else self._next([record.number for record in records])
        record = known or ImportRecord(
            number=number,
            at=at,
            file=file,
            form=form,
            market=market,
            digest=digest,
            tellings=tuple(replace(telling, source=number) for telling in tellings),
        )
        together = records if known or not tellings else [*records, record]
        before = self._settled(records)
        after = self._settled(together)
        if tellings:
            for one in together:
                self._write(one)
            self._put(market, after, together)
        return _outcome(record, before, after, is_known=known is not None)

    def forget(self, wanted: str, markets: Iterable[Market]) -> ImportOutcome:
        """Take an import out: its fills go, unless another tells them too.

        Parameters
        ----------
        wanted
            Its number, or the name of its file where one import bears it.

        Raises
        ------
        FillsFileError
            When there is no such import, or several of that name; those that there are are named.
        """
        records = self._all(markets)
        record = _chosen(wanted, records)
        own = [one for one in records if one.market == record.market]
        left = [one for one in own if one is not record]
        after = self._settled(left)
        try:
            before = self._settled(own)
        except ConflictingFills:  # let in by an earlier version; taking it out repairs that
            kept = self._fills.told(IMPORTED, record.market)
            before = [SettledFill(fill=fill, sources=frozenset(), has_two_fees=False) for fill in kept]
        for one in left:
            self._write(one)
        self._put(record.market, after, left)
        self._files.delete(_path(record.number))  # last: an import that is half forgotten is listed, and can be again
        return _outcome(record, before, after, is_known=True)

    def _settled(self, records: Iterable[ImportRecord]) -> list[SettledFill]:
        return settled((telling for record in records for telling in record.tellings), self._policy)

    def _all(self, markets: Iterable[Market]) -> list[ImportRecord]:
        """Recorded imports, and those of earlier versions with the next free numbers."""
        records = [self._read(int(match.group(1))) for match in map(_FILE.fullmatch, self._names()) if match]
        for market in sorted({*markets, *(record.market for record in records)}):
            known = {content_of(telling.fill) for one in records if one.market == market for telling in one.tellings}
            strays = [fill for fill in self._fills.told(IMPORTED, market) if content_of(fill) not in known]
            if strays:
                records.append(_earlier(market, strays, self._next([record.number for record in records])))
        return records

    def _names(self) -> list[str]:
        return self._files.names(_FOLDER)

    def _next(self, numbers: Iterable[int]) -> int:
        files = (int(match.group(1)) for match in map(_FILE.fullmatch, self._names()) if match)
        return max([*numbers, *files], default=0) + 1

    def _read(self, number: int) -> ImportRecord:
        path = _path(number)
        frame, metadata = self._files.read(path), self._files.read_metadata(path)
        if frame is None or metadata is None:
            raise FillsFileError(f"import {number} was taken out meanwhile.", "Start this again.")
        said: dict[str, Any] = json.loads(metadata["import"])
        file = str(said["file"])
        return ImportRecord(
            number=number,
            at=None if said["at_ms"] is None else from_ms(said["at_ms"]),
            file=file,
            form=said["form"],
            market=Market(said["exchange"], said["symbol"]),
            digest=said["digest"],
            tellings=tuple(tellings_of_frame(frame, number, file)),
        )

    def _write(self, record: ImportRecord) -> None:
        """Once: a record does not change."""
        path = _path(record.number)
        if path.rpartition("/")[2] in self._names():
            return
        said = {
            "at_ms": None if record.at is None else to_ms(record.at),
            "file": record.file,
            "form": record.form,
            "exchange": record.market.exchange,
            "symbol": record.market.symbol,
            "digest": record.digest,
        }
        self._files.write({path: tellings_frame(record.tellings)}, metadata={"import": json.dumps(said)})

    def _put(self, market: Market, fills: Iterable[SettledFill], records: Iterable[ImportRecord]) -> None:
        is_whole = all(record.at is not None for record in records)
        self._fills.put(IMPORTED, market, [one.fill for one in fills], is_whole=is_whole)


def _path(number: int) -> str:
    return f"{_FOLDER}/{number:04d}.parquet"


def _earlier(market: Market, fills: Sequence[AccountFill], number: int) -> ImportRecord:
    tellings = tellings_of_kept(
        fills, source=number, place=place_of(number, EARLIER, ""), is_made=lambda name: name.startswith(MADE_ID)
    )
    return ImportRecord(
        number=number,
        at=None,
        file=EARLIER,
        form="",
        market=market,
        digest=digest_of(tellings),
        tellings=tuple(tellings),
    )


def _chosen(wanted: str, records: Sequence[ImportRecord]) -> ImportRecord:
    found = [one for one in records if wanted.isdecimal() and one.number == int(wanted)]
    found = found or [one for one in records if one.file == wanted]
    if len(found) == 1:
        return found[0]
    known = "; ".join(f"{one.number} {one.file} of {one.market}" for one in found or records) or "none"
    problem = f"{len(found)} imports are of {wanted!r}" if found else f"there is no import {wanted!r}"
    raise FillsFileError(f"{problem}; nothing was taken out. There are: {known}.", "Give the number of one of them.")


def _told_by(fills: Iterable[SettledFill], number: int) -> tuple[AccountFill, ...]:
    return tuple(one.fill for one in fills if number in one.sources)


def _outcome(
    record: ImportRecord, before: Sequence[SettledFill], after: Sequence[SettledFill], *, is_known: bool
) -> ImportOutcome:
    old, new = ({(one.fill.trade_id, one.fill.side): one.fill for one in fills} for fills in (before, after))
    return ImportOutcome(
        record=record,
        is_known=is_known,
        mine=_told_by(after, record.number),
        added=tuple(fill for key, fill in new.items() if key not in old),
        removed=tuple(fill for key, fill in old.items() if key not in new),
        two_fees=sum(one.has_two_fees for one in after if record.number in one.sources),
    )
