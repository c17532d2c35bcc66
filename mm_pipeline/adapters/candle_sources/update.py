"""Bring stored candles up to date: ask for what is missing, believe what is valid, keep the rest in quarantine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from mm_pipeline.domain.candles import (
    QUARANTINE_SCHEMA,
    CandleSource,
    ExchangePolicy,
    FetchRange,
    clean_candles,
    empty_candles,
    epoch_ms,
    merge_candles,
    plan_fetch,
)
from mm_pipeline.domain.errors import CandleSourceError, MarketNotFound, PipelineError
from mm_pipeline.domain.market import Market, Timeframe

_STEP_MS = Timeframe.M15.ms


def _no_quarantine() -> pl.DataFrame:
    return pl.DataFrame(schema=QUARANTINE_SCHEMA)


def _no_revisions() -> pl.DataFrame:
    return merge_candles(empty_candles(), empty_candles())[1]


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredCandles:
    """What is known of a market before an update.

    Attributes
    ----------
    market
        Whose candles.
    candles
        Clean raw candle frame, one stretch without unasked holes.
    quarantine
        Refused rows that still stand (``QUARANTINE_SCHEMA``).
    asked_from_ms
        From where on everything before the oldest candle was asked for; None when not known.
    """

    market: Market
    candles: pl.DataFrame = field(default_factory=empty_candles)
    quarantine: pl.DataFrame = field(default_factory=_no_quarantine)
    asked_from_ms: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class CandleUpdate:
    """What is known after it; pass ``after`` to the next update.

    Attributes
    ----------
    after
        Candles, quarantine and reach as they are now, also where a problem ended the update half-way.
    revisions
        Closed bars whose content changed, old and new (see ``merge_candles``).
    refused
        Rows of this update's answers that went into quarantine.
    duplicates_dropped
        Identical rows in this update's answers.
    requests_made
        Requests sent.
    clock_offset_ms
        Source's clock minus ours; None where it has none or could not be asked.
    problem
        Why the update is not complete; None when it is.
    """

    after: StoredCandles
    revisions: pl.DataFrame = field(default_factory=_no_revisions)
    refused: pl.DataFrame = field(default_factory=_no_quarantine)
    duplicates_dropped: int = 0
    requests_made: int = 0
    clock_offset_ms: int | None = None
    problem: CandleSourceError | None = None


def update_candles(
    source: CandleSource, stored: StoredCandles, *, start_ms: int, end_ms: int, now_ms: int, policy: ExchangePolicy
) -> CandleUpdate:
    """Fetch what is missing of the closed bars with ``start_ms <= open_time < end_ms``.

    A bar is closed when both our clock and the source's say so. The update stops at the first range that fails and
    keeps what came before it, so that what is stored stays one stretch.

    Parameters
    ----------
    source
        Where to ask.
    stored
        What is there.
    start_ms, end_ms
        What is wanted, epoch milliseconds.
    now_ms
        Our clock.
    policy
        ``reask_bars``, ``bars_per_fetch``.
    """
    asked_before = source.requests_made
    update = CandleUpdate(after=stored)
    try:
        offset_ms = source.clock_offset_ms()
        update = replace(update, clock_offset_ms=offset_ms)
        closed_ms = (now_ms + min(0, offset_ms or 0)) // _STEP_MS * _STEP_MS
        for part in _plan(stored, start_ms=start_ms, end_ms=min(end_ms, closed_ms), policy=policy):
            raw = source.fetch(stored.market, start_ms=part.start_ms, end_ms=part.end_ms)
            update = _absorb(update, raw, part, now_ms=now_ms)
    except CandleSourceError as problem:
        update = replace(update, problem=problem)
    except PipelineError as error:  # unknown to ccxt, or the circuit's store is away: this market's trouble alone
        update = replace(update, problem=CandleSourceError(error.problem, error.mend))
    return replace(update, requests_made=source.requests_made - asked_before)


def update_markets(
    sources: Mapping[str, CandleSource],
    stored: Sequence[StoredCandles],
    *,
    wanted: Mapping[Market, FetchRange],
    now_ms: int,
    policy: ExchangePolicy,
) -> dict[Market, CandleUpdate]:
    """Update several markets: exchanges side by side, the markets of one in turn; a failing market stops no other.

    Parameters
    ----------
    sources
        Source per exchange id.
    stored
        What is there, one per market.
    wanted
        Range per market.

    Returns
    -------
    dict
        An update per market, in the order of ``stored``.
    """

    def update_exchange(exchange: str) -> dict[Market, CandleUpdate]:
        return {
            known.market: _update_one(sources.get(exchange), known, wanted[known.market], now_ms=now_ms, policy=policy)
            for known in stored
            if known.market.exchange == exchange
        }

    exchanges = sorted({known.market.exchange for known in stored})
    if not exchanges:
        return {}
    with ThreadPoolExecutor(max_workers=len(exchanges)) as pool:
        updates = {market: update for part in pool.map(update_exchange, exchanges) for market, update in part.items()}
    return {known.market: updates[known.market] for known in stored}


def _update_one(
    source: CandleSource | None, stored: StoredCandles, wanted: FetchRange, *, now_ms: int, policy: ExchangePolicy
) -> CandleUpdate:
    if source is None:
        exchange = stored.market.exchange
        problem = MarketNotFound(f"there is no candle source for {exchange}.", f"Declare {exchange} in the settings.")
        return CandleUpdate(after=stored, problem=problem)
    return update_candles(source, stored, start_ms=wanted.start_ms, end_ms=wanted.end_ms, now_ms=now_ms, policy=policy)


def _plan(stored: StoredCandles, *, start_ms: int, end_ms: int, policy: ExchangePolicy) -> tuple[FetchRange, ...]:
    return plan_fetch(
        stored.candles,
        quarantined_ms=quarantined_times(stored.quarantine),
        start_ms=start_ms,
        end_ms=end_ms,
        policy=policy,
        asked_from_ms=stored.asked_from_ms,
    )


def quarantined_times(quarantine: pl.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Open times in quarantine as epoch milliseconds, sorted and unique; rows without a time have none."""
    return np.unique(epoch_ms(quarantine["open_time"].drop_nulls()))


def _absorb(update: CandleUpdate, raw: pl.DataFrame, part: FetchRange, *, now_ms: int) -> CandleUpdate:
    answer = clean_candles(raw, timeframe=Timeframe.M15, now_ms=now_ms)
    stored = update.after
    merged, revisions = merge_candles(stored.candles, answer.candles)
    opened_ms = pl.col("open_time").to_physical()
    standing = stored.quarantine.filter((opened_ms < part.start_ms) | (opened_ms >= part.end_ms))
    reach_ms = part.start_ms if stored.asked_from_ms is None else min(stored.asked_from_ms, part.start_ms)
    return replace(
        update,
        after=replace(
            stored,
            candles=merged,
            quarantine=pl.concat([standing, answer.quarantine]).sort("open_time"),
            asked_from_ms=reach_ms,
        ),
        revisions=pl.concat([update.revisions, revisions]),
        refused=pl.concat([update.refused, answer.quarantine]),
        duplicates_dropped=update.duplicates_dropped + answer.duplicates_dropped,
    )
