"""Each market's candles in the frame store: what is believed, what is refused, and from where on it was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl

from mm_pipeline.adapters.candles.stored import StoredCandles
from mm_pipeline.adapters.frames.store import FrameMissing, FrameStore
from mm_pipeline.domain.arrays import Times
from mm_pipeline.domain.candles import (
    COVERS_SCHEMA,
    MISSING_SCHEMA,
    QUARANTINE_SCHEMA,
    RAW_SCHEMA,
    epoch_ms,
    fill_gaps,
    no_covers,
    times_of,
    used_covers,
)
from mm_pipeline.domain.errors import StorageError
from mm_pipeline.domain.instants import from_ms, to_ms
from mm_pipeline.domain.market import Market
from mm_pipeline.domain.months import month_start, next_month

CANDLES: Final = "candles"
_QUARANTINE: Final = "quarantine"
_MISSING: Final = "missing_bars"
_COVERS: Final = "candle_covers"
_LOSABLE: Final = (CANDLES, _QUARANTINE, _MISSING, _COVERS)
_STARTS: Final = "candle_starts"
_STARTS_SCHEMA = {"open_time": RAW_SCHEMA["open_time"], "is_start": pl.Boolean()}


@dataclass(frozen=True)
class MarketBars:
    """Filled 15m bars of a market, and what must be known of them.

    Attributes
    ----------
    bars
        Bars frame.
    quarantined_ms
        Open times (epoch ms) of refused candles that nothing covers.
    covers
        Bars among them that are made of finer candles (``COVERS_SCHEMA``).
    gaps_ms
        Open times (epoch ms) of bars among them that are missing in the only answer so far.
    asked_from_ms
        From where on everything before the first bar was asked for (epoch ms); None where that is not known.
    """

    bars: pl.DataFrame
    quarantined_ms: Times
    covers: pl.DataFrame = field(default_factory=no_covers)
    gaps_ms: Times = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    asked_from_ms: int | None = None


class CandleStore:
    """Candles by market and time.

    An exchange sends no candle for a bar without trades, so a hole can only be filled flat where it was asked for. The
    first moment of each asked stretch is kept; what lies before the newest one is unknown, and asked for again. Of each
    bar that an answer lacked it is kept when that was, and whether a later answer lacked it too. Bars made of finer
    candles stand apart from the exchange's own.
    """

    def __init__(self, store: FrameStore) -> None:
        self._store = store
        self.losses: dict[Market, list[str]] = {}
        """What :meth:`load` found damaged or deleted, in words, by market."""

    def load(self, market: Market, *, start_ms: int, end_ms: int) -> StoredCandles:
        """The newest asked stretch in ``[start_ms, end_ms)`` (open times, epoch ms).

        Nothing where what is stored cannot be read at all: this market's trouble alone, named in :attr:`losses`.
        """
        try:
            return self._load(market, start_ms=start_ms, end_ms=end_ms)
        except StorageError as error:
            self.losses[market] = [error.problem]
            return StoredCandles(market=market)

    def _load(self, market: Market, *, start_ms: int, end_ms: int) -> StoredCandles:
        key = market.path_key
        lost_until_ms = self._lost_until_ms(market, start_ms, end_ms)
        if lost_until_ms >= end_ms:
            return StoredCandles(market=market)
        begins_ms = max(start_ms, lost_until_ms, self._newest_start(key, end_ms))
        candles = self._read(CANDLES, key, begins_ms, end_ms, RAW_SCHEMA)
        quarantine_from_ms = max(_month_ms(start_ms), lost_until_ms)
        quarantine = self._read(_QUARANTINE, key, quarantine_from_ms, end_ms, QUARANTINE_SCHEMA)
        missing = self._read(_MISSING, key, begins_ms, end_ms, MISSING_SCHEMA)
        covers = used_covers(candles, self._read(_COVERS, key, begins_ms, end_ms, COVERS_SCHEMA))
        for there in (candles, quarantine):
            missing = missing.join(there, on="open_time", how="anti", maintain_order="left")
        return StoredCandles(
            market=market,
            candles=candles,
            quarantine=quarantine,
            missing=missing,
            covers=covers,
            asked_from_ms=None if candles.is_empty() else begins_ms,
        )

    def bars(self, market: Market, *, start_ms: int, end_ms: int) -> MarketBars:
        """Bars of the newest asked stretch; without rows where nothing is stored."""
        stored = self.load(market, start_ms=start_ms, end_ms=end_ms)
        hidden_ms = stored.hidden_ms
        bars = fill_gaps(stored.believed, quarantined_ms=hidden_ms)
        return MarketBars(bars, hidden_ms, stored.covers, stored.gaps_ms, stored.asked_from_ms)

    def save(
        self, after: StoredCandles, *, start_ms: int, end_ms: int, metadata: Mapping[str, str] | None = None
    ) -> list[datetime]:
        """Keep what an update of :meth:`load`'s answer for the same range brought; months whose bars changed."""
        key = after.market.path_key
        before = self.load(after.market, start_ms=start_ms, end_ms=end_ms)
        noted = after.missing.join(before.missing, on=list(MISSING_SCHEMA), how="anti", nulls_equal=True)
        self._store.upsert(_MISSING, key, noted)  # first: candles without it would look like an older version's
        new = after.candles.join(before.candles, on=list(RAW_SCHEMA), how="anti")
        touched = self._store.upsert(CANDLES, key, new, metadata=metadata) if new.height else []
        made = after.covers.join(before.covers, on=list(COVERS_SCHEMA), how="anti")
        touched += [
            month for month in self._store.upsert(_COVERS, key, made, metadata=metadata) if month not in touched
        ]
        refused = after.quarantine.filter(pl.col("open_time").is_not_null())
        if not refused.equals(before.quarantine):
            # What lies before the stretch was not loaded: a file that is lost there must stay lost.
            known_from_ms = max(start_ms, after.asked_from_ms or start_ms)
            refused = refused.filter(pl.col("open_time").to_physical() >= _month_ms(known_from_ms))
            self._write_quarantine(key, refused, start_ms=known_from_ms, end_ms=end_ms)
        if after.asked_from_ms is not None and after.asked_from_ms != before.asked_from_ms:
            self._restart(key, after.asked_from_ms, end_ms)
        self._settle(after, end_ms)
        return touched

    def _lost_until_ms(self, market: Market, start_ms: int, end_ms: int) -> int:
        """Where the newest month ends of which a file was damaged or deleted: what is older is asked for again.

        Without the file of refused or missing candles a crash bar would be filled flat, and without the one of starts
        a hole would: they count like the candles' own.
        """
        key, start, end = market.path_key, from_ms(start_ms), from_ms(end_ms)
        found = [
            (month, f"the {dataset} of {month:%Y-%m} of {market} are {problem}")
            for dataset in _LOSABLE
            for month, problem in self._losses(dataset, key, start, end)
        ]
        until_ms = max((to_ms(next_month(month)) for month, _ in found), default=np.iinfo(np.int64).min)
        starts = [f"the {_STARTS} of {market} are {problem}" for problem in self._store.losses(_STARTS, key).values()]
        if found or starts:
            self.losses[market] = [problem for _, problem in sorted(found)] + starts
        return end_ms if starts else int(until_ms)

    def _losses(self, dataset: str, key: str, start: datetime, end: datetime) -> list[tuple[datetime, str]]:
        found = self._store.losses(dataset, key, start=start, end=end, is_whole=dataset == CANDLES)
        return list(found.items())

    def _settle(self, after: StoredCandles, end_ms: int) -> None:
        """What the stretch covers was asked for again: files that are lost there held what is stored now."""
        if after.asked_from_ms is None:
            return
        key, start, end = after.market.path_key, from_ms(after.asked_from_ms), from_ms(end_ms)
        for dataset in _LOSABLE:
            self._store.settle(dataset, key, self._store.losses(dataset, key, start=start, end=end))
        self._store.settle(_STARTS, key, self._store.losses(_STARTS, key))

    def _write_quarantine(self, key: str, refused: pl.DataFrame, *, start_ms: int, end_ms: int) -> None:
        start, end = month_start(from_ms(start_ms)), next_month(from_ms(end_ms - 1))
        later = self._read(_QUARANTINE, key, end_ms, to_ms(end), QUARANTINE_SCHEMA)
        self._store.write(_QUARANTINE, key, pl.concat([refused, later]), start=start, end=end)

    def _newest_start(self, key: str, end_ms: int) -> int:
        starts = self._starts(key, end_ms)
        return int(starts.max()) if starts.size else np.iinfo(np.int64).min

    def _starts(self, key: str, end_ms: int) -> Times:
        months = self._store.months(_STARTS, key)
        if not months or to_ms(months[0]) >= end_ms:
            return np.empty(0, dtype=np.int64)
        rows = self._read(_STARTS, key, to_ms(months[0]), end_ms, _STARTS_SCHEMA)
        return epoch_ms(rows.filter("is_start")["open_time"])

    def _restart(self, key: str, asked_from_ms: int, end_ms: int) -> None:
        """The stretch now begins at ``asked_from_ms``: starts after it lie inside it and end."""
        starts = self._starts(key, end_ms)
        inside = starts[starts > asked_from_ms]
        rows = pl.DataFrame(
            {
                "open_time": times_of(np.append(inside, asked_from_ms), "open_time"),
                "is_start": [False] * len(inside) + [True],
            }
        )
        self._store.upsert(_STARTS, key, rows)

    def _read(
        self, dataset: str, key: str, start_ms: int, end_ms: int, schema: Mapping[str, pl.DataType]
    ) -> pl.DataFrame:
        if start_ms >= end_ms:
            return pl.DataFrame(schema=dict(schema))
        try:
            return self._store.read(dataset, key, start=from_ms(start_ms), end=from_ms(end_ms))
        except FrameMissing:
            return pl.DataFrame(schema=dict(schema))


def _month_ms(at_ms: int) -> int:
    return to_ms(month_start(from_ms(at_ms)))
