"""Candles held in memory: for tests, and for callers that already have them."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from mm_pipeline.domain.candles.frames import check_raw
from mm_pipeline.domain.errors import ExchangeError, MarketNotFound
from mm_pipeline.domain.market import Market


class MemoryCandles:
    """A :class:`~mm_pipeline.domain.candles.source.CandleSource` over frames; both mappings may change between fetches.

    Parameters
    ----------
    candles
        Raw 15m candle frame per market, in any order and condition.
    problems
        Markets whose fetch raises this error instead.
    """

    def __init__(
        self, candles: Mapping[Market, pl.DataFrame], problems: Mapping[Market, ExchangeError] | None = None
    ) -> None:
        self.candles = dict(candles)
        self.problems = dict(problems or {})
        self._requests_made = 0

    @property
    def requests_made(self) -> int:
        """Number of fetches."""
        return self._requests_made

    @property
    def leaves_nothing_out(self) -> bool:
        """True: memory gives all that it has."""
        return True

    def fetch(self, market: Market, *, start_ms: int, end_ms: int) -> pl.DataFrame:
        """Rows of the range as they are, and those without a time.

        Raises
        ------
        MarketNotFound
            When there is no frame of this market.
        """
        self._requests_made += 1
        if market in self.problems:
            raise self.problems[market]
        if market not in self.candles:
            raise MarketNotFound(f"no candles of {market} are in memory.", "Add its frame.")
        raw = self.candles[market]
        check_raw(raw)
        return within(raw, start_ms=start_ms, end_ms=end_ms)

    def clock_offset_ms(self) -> int | None:
        """None: memory has no clock."""
        return None


def within(raw: pl.DataFrame, *, start_ms: int, end_ms: int) -> pl.DataFrame:
    """Rows with ``start_ms <= open_time < end_ms``, and rows without a time."""
    opened_ms = pl.col("open_time").to_physical()
    return raw.filter(opened_ms.is_null() | ((opened_ms >= start_ms) & (opened_ms < end_ms)))
