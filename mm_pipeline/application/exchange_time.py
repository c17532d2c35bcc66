"""What time it is by the exchanges: this machine's clock may be wrong, and evaluations are made at the true time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from mm_pipeline.adapters.clock import Clock
from mm_pipeline.domain.candles import CandleSource
from mm_pipeline.domain.errors import ExchangeError, PipelineError
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.market import Market


@dataclass(frozen=True)
class ExchangeTime:
    """How far this machine's clock is off, as far as any exchange tells.

    Attributes
    ----------
    exchange
        The one that was believed; empty where none told its time.
    offset_ms
        Milliseconds to add to this machine's clock; 0 where it is right within the limit, or nobody knows.
    confirms_clock
        Whether the exchange's time is certainly this machine's, within the limit.
    """

    exchange: str = ""
    offset_ms: int = 0
    confirms_clock: bool = False

    @property
    def problem(self) -> str | None:
        """What is wrong with this machine's clock, in words; None where nothing is known to be."""
        if self.offset_ms == 0:
            return None
        side = "behind" if self.offset_ms > 0 else "ahead of"
        return f"this machine's clock is {timedelta(seconds=abs(self.offset_ms) // 1000)} {side} {self.exchange}"


@dataclass(frozen=True)
class CorrectedClock:
    """This machine's clock with the exchange's correction."""

    clock: Clock
    offset_ms: int

    def now_ms(self) -> int:
        """UTC epoch milliseconds, now."""
        return self.clock.now_ms() + self.offset_ms

    def now(self) -> datetime:
        """Aware UTC datetime, now, in whole milliseconds."""
        return from_ms(self.now_ms())


def ask_time(sources: Mapping[str, CandleSource], limit: timedelta) -> tuple[ExchangeTime, dict[str, CandleSource]]:
    """Ask every exchange for its time.

    Where they disagree, the nearest to this machine's clock is believed: two witnesses count more than one.

    Parameters
    ----------
    sources
        By exchange.
    limit
        How far the clocks may be apart.

    Returns
    -------
    ExchangeTime
        What they say.
    dict
        The sources to go on with: one that did not answer is not asked again, and fails with the same error.
    """
    if not sources:
        return ExchangeTime(), {}
    with ThreadPoolExecutor(max_workers=len(sources)) as pool:
        answers = dict(zip(sources, pool.map(_asked, sources.values()), strict=True))
    going_on = {exchange: answer.source for exchange, answer in answers.items()}
    told = {exchange: answer for exchange, answer in answers.items() if answer.offset_ms is not None}
    if not told:
        return ExchangeTime(), going_on
    exchange = min(told, key=lambda name: (abs(told[name].offset_ms or 0), name))
    offset_ms, error_ms = told[exchange].offset_ms or 0, told[exchange].error_ms
    limit_ms = limit.total_seconds() * 1000
    is_off = abs(offset_ms) - error_ms > limit_ms
    return ExchangeTime(exchange, offset_ms if is_off else 0, abs(offset_ms) + error_ms <= limit_ms), going_on


@dataclass(frozen=True)
class _TimeAnswer:
    """An exchange's clock minus ours (None: not told), how wrong that may be, and the source to go on with."""

    source: CandleSource
    offset_ms: int | None
    error_ms: float


def _asked(source: CandleSource) -> _TimeAnswer:
    began_s = time.monotonic()
    try:
        offset_ms = source.clock_offset_ms()
    except PipelineError as error:
        problem = error if isinstance(error, ExchangeError) else ExchangeError(error.problem, error.hint)
        return _TimeAnswer(_Silent(problem, source), None, 0.0)
    return _TimeAnswer(source, offset_ms, (time.monotonic() - began_s) * 500)


@dataclass(frozen=True)
class _Silent:
    """A source that did not answer when it was asked for its time; see ``CandleSource``."""

    problem: ExchangeError
    source: CandleSource

    @property
    def requests_made(self) -> int:
        """Requests sent so far."""
        return self.source.requests_made

    @property
    def leaves_nothing_out(self) -> bool:
        """See ``CandleSource``."""
        return self.source.leaves_nothing_out

    def fetch(self, market: Market, *, start_ms: int, end_ms: int) -> pl.DataFrame:
        """Raise what was wrong."""
        raise self.problem

    def clock_offset_ms(self) -> int | None:
        """Raise what was wrong."""
        raise self.problem
