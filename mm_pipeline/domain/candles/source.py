"""The port through which candles come in. Adapters: memory, Parquet files, any ccxt exchange."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import polars as pl

from mm_pipeline.domain.arrays import Integers
from mm_pipeline.domain.market import FinerTimeframe, Market


class CandleSource(Protocol):
    """Gives 15m candles as it has them: unsorted, repeated or broken rows are the caller's to clean."""

    @property
    def requests_made(self) -> int:
        """Requests sent outside so far, repeated ones included; a source without a network counts its reads."""
        ...

    @property
    def leaves_nothing_out(self) -> bool:
        """Whether a bar that an answer lacks does not exist: so of files and memory, not of what a network brings."""
        ...

    def fetch(self, market: Market, *, start_ms: int, end_ms: int) -> pl.DataFrame:
        """Read all candles with ``start_ms <= open_time < end_ms`` (epoch milliseconds).

        Returns
        -------
        pl.DataFrame
            Raw candle frame, one answer; without rows only where the source knows that there are none.

        Raises
        ------
        CandleSourceError
            When the answer could not be had in full; a part of it is never returned.
        """
        ...

    def clock_offset_ms(self) -> int | None:
        """Source's clock minus ours in milliseconds; None where the source has no clock of its own.

        Raises
        ------
        CandleSourceError
            When the source has a clock and it could not be read.
        """
        ...


@runtime_checkable
class FinerSource(Protocol):
    """A candle source that has finer bars than 15m ones too."""

    def finer(
        self, market: Market, slots_ms: Integers, *, timeframe: FinerTimeframe, max_requests: int, turn: int
    ) -> pl.DataFrame:
        """Read the finer candles of 15m slots, in as few requests as bring them; see ``finer_pages``.

        Parameters
        ----------
        slots_ms
            Open times (epoch milliseconds) of the 15m bars, ascending.
        max_requests
            Most requests, repetitions of a failed one aside; slots beyond them are not asked for.
        turn
            Counts the updates.

        Returns
        -------
        Raw candle frame, one answer; bars of other slots may be among them, and bars may be missing.

        Raises
        ------
        CandleSourceError
            When an answer could not be had.
        """
        ...


@runtime_checkable
class TickSource(Protocol):
    """A candle source that knows in which steps prices are traded."""

    @property
    def price_ticks(self) -> dict[Market, float]:
        """The smallest step of a price (quote) by market, as far as it is known without asking."""
        ...
