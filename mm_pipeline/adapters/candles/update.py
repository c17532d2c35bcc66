"""Bring stored candles up to date: ask for what is missing, believe what is valid, keep the rest in quarantine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np
import polars as pl

from mm_pipeline.adapters.candles.stored import CandleUpdate, StoredCandles
from mm_pipeline.domain.candles import (
    FINER,
    REPLACED,
    AskedAgain,
    CandleSource,
    CleanCandles,
    ExchangePolicy,
    FetchRange,
    FinerSource,
    clean_candles,
    epoch_ms,
    holes_in,
    make_covers,
    merge_candles,
    plan_fetch,
    settle_revisions,
)
from mm_pipeline.domain.candles.missing import (
    after_answer,
    all_quiet,
    forget_quiet,
    missing_slots,
    quiet_slots,
    with_gaps_of_unknown_time,
)
from mm_pipeline.domain.errors import ExchangeError, MarketNotFound, PipelineError
from mm_pipeline.domain.market import Market, Timeframe

_STEP_MS = Timeframe.M15.ms


def update_candles(
    source: CandleSource,
    stored: StoredCandles,
    *,
    start_ms: int,
    end_ms: int,
    now_ms: int,
    policy: ExchangePolicy,
    again: AskedAgain | None = None,
) -> CandleUpdate:
    """Fetch what is missing of the closed bars with ``start_ms <= open_time < end_ms``.

    A bar is closed when both our clock and the source's say so. The update stops at the first range that fails and
    keeps what came before it, so that what is stored stays one stretch. Of a bar that was refused and has no candle
    the finer ones are asked for once all ranges were answered; that they cannot be had is no problem of the update.

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
        ``reask_bars``, ``bars_per_fetch``, ``quiet_after``, ``confirm_revision``, ``cover_requests``.
    again
        What of the stored bars is asked for once more, besides what every update asks for.
    """
    asked_before = source.requests_made
    update = CandleUpdate(after=_with_untold_gaps(stored, source, now_ms=now_ms))
    waits_ms = None if source.leaves_nothing_out else int(policy.quiet_after.total_seconds() * 1000)
    try:
        offset_ms = source.clock_offset_ms()
        update = replace(update, clock_offset_ms=offset_ms)
        closed_ms = (now_ms + min(0, offset_ms or 0)) // _STEP_MS * _STEP_MS
        for part in _plan(update.after, FetchRange(start_ms, min(end_ms, closed_ms)), policy, again):
            raw = source.fetch(stored.market, start_ms=part.start_ms, end_ms=part.end_ms)
            update = _absorb(update, raw, part, now_ms=now_ms, waits_ms=waits_ms, enough=policy.confirm_revision)
        update = _cover(update, source, end_ms=min(end_ms, closed_ms), now_ms=now_ms, policy=policy)
    except ExchangeError as problem:
        update = replace(update, problem=problem)
    except PipelineError as error:  # unknown to ccxt, or the circuit's store is away: this market's trouble alone
        update = replace(update, problem=ExchangeError(error.problem, error.hint))
    return replace(update, requests_made=source.requests_made - asked_before)


def update_markets(
    sources: Mapping[str, CandleSource],
    stored: Sequence[StoredCandles],
    *,
    wanted: Mapping[Market, FetchRange],
    now_ms: int,
    policy: ExchangePolicy,
    again: AskedAgain | None = None,
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
    again
        As for :func:`update_candles`, of every market.

    Returns
    -------
    dict
        An update per market, in the order of ``stored``.
    """

    update = partial(_update_one, now_ms=now_ms, policy=policy, again=again)

    def update_exchange(exchange: str) -> dict[Market, CandleUpdate]:
        return {
            known.market: update(sources.get(exchange), known, wanted[known.market])
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
    source: CandleSource | None,
    stored: StoredCandles,
    wanted: FetchRange,
    *,
    now_ms: int,
    policy: ExchangePolicy,
    again: AskedAgain | None,
) -> CandleUpdate:
    if source is None:
        exchange = stored.market.exchange
        problem = MarketNotFound(f"there is no candle source for {exchange}.", f"Declare {exchange} in the settings.")
        return CandleUpdate(after=stored, problem=problem)
    return update_candles(
        source, stored, start_ms=wanted.start_ms, end_ms=wanted.end_ms, now_ms=now_ms, policy=policy, again=again
    )


def _plan(
    stored: StoredCandles, wanted: FetchRange, policy: ExchangePolicy, again: AskedAgain | None
) -> tuple[FetchRange, ...]:
    is_confirmed = stored.before_oldest_ms in quiet_slots(stored.missing)
    return plan_fetch(
        stored.candles,
        quarantined_ms=np.union1d(stored.refused_ms, stored.waiting_ms),
        start_ms=wanted.start_ms,
        end_ms=wanted.end_ms,
        policy=policy,
        asked_from_ms=stored.asked_from_ms if is_confirmed else None,
        missing_ms=stored.gaps_ms if again is None else np.union1d(stored.gaps_ms, again.slots(stored.candles)),
    )


def _with_untold_gaps(stored: StoredCandles, source: CandleSource, *, now_ms: int) -> StoredCandles:
    """Note the gaps in what is stored that nothing tells of: an earlier version stored it."""
    known = with_gaps_of_unknown_time(stored.missing, stored.candles, stored.refused_ms)
    if source.leaves_nothing_out:
        known = all_quiet(known, now_ms=now_ms)
    return stored if known.equals(stored.missing) else replace(stored, missing=known)


def _absorb(
    update: CandleUpdate, raw: pl.DataFrame, part: FetchRange, *, now_ms: int, waits_ms: int | None, enough: int
) -> CandleUpdate:
    answer = clean_candles(raw, timeframe=Timeframe.M15, now_ms=now_ms)
    stored = update.after
    believed, notes = settle_revisions(stored.candles, stored.quarantine, answer.candles, enough=enough)
    merged, _ = merge_candles(stored.candles, believed)
    _, revisions = merge_candles(stored.believed, believed)
    reach_ms = part.start_ms if stored.asked_from_ms is None else min(stored.asked_from_ms, part.start_ms)
    after = replace(
        stored,
        candles=merged,
        quarantine=pl.concat([_standing(stored, answer, part), answer.quarantine, notes]).sort("open_time"),
        asked_from_ms=reach_ms,
    )
    return replace(
        update,
        after=replace(after, missing=_missing(stored, after, part, now_ms=now_ms, waits_ms=waits_ms)),
        revisions=pl.concat([update.revisions, revisions]),
        refused=pl.concat([update.refused, answer.quarantine]),
        duplicates_dropped=update.duplicates_dropped + answer.duplicates_dropped,
    )


def _cover(
    update: CandleUpdate, source: CandleSource, *, end_ms: int, now_ms: int, policy: ExchangePolicy
) -> CandleUpdate:
    """Make the candles of bars before ``end_ms`` that were refused and are not there of finer ones, if they come."""
    if not isinstance(source, FinerSource):
        return update
    turn = now_ms // _STEP_MS
    for timeframe in FINER:
        after = update.after
        holes_ms = holes_in(after.believed, after.refused_ms, end_ms=end_ms)
        if not holes_ms.size or not policy.cover_requests:
            return update
        try:
            raw = source.finer(
                after.market, holes_ms, timeframe=timeframe, max_requests=policy.cover_requests, turn=turn
            )
            made = make_covers(raw, holes_ms, timeframe=timeframe, now_ms=now_ms)
        except PipelineError as problem:
            update = replace(update, not_covered=problem)
            continue
        covers = pl.concat([after.covers, made]).sort("open_time")
        update = replace(update, after=replace(after, covers=covers), made=pl.concat([update.made, made]))
    return update


def _standing(stored: StoredCandles, answer: CleanCandles, part: FetchRange) -> pl.DataFrame:
    """Refused rows that the answer says nothing of: outside its range, or a bar that it does not send at all.

    A bar that came broken and is not sent any more had trades, so it must not pass for a quiet one.
    """
    opened_ms = pl.col("open_time").to_physical()
    there = pl.concat([stored.candles["open_time"], answer.candles["open_time"], answer.quarantine["open_time"]])
    is_outside = (opened_ms < part.start_ms) | (opened_ms >= part.end_ms)
    is_spoken_of = (opened_ms // _STEP_MS).is_in(np.unique(epoch_ms(there.drop_nulls()) // _STEP_MS).tolist())
    return stored.quarantine.filter(is_outside | ~is_spoken_of | (pl.col("reason") == REPLACED))


def _missing(
    before: StoredCandles, after: StoredCandles, part: FetchRange, *, now_ms: int, waits_ms: int | None
) -> pl.DataFrame:
    """What is known of missing bars after an answer; nothing is missing of a market without a candle.

    ``waits_ms`` is how long a bar must stay missing to count as quiet; None of a source that leaves nothing out.
    """
    oldest_ms = after.before_oldest_ms
    if oldest_ms is None:
        return after.missing
    start_ms = max(part.start_ms, oldest_ms)
    if oldest_ms != before.before_oldest_ms and after.asked_from_ms is not None and after.asked_from_ms <= oldest_ms:
        start_ms = oldest_ms  # an earlier part of this load asked for it, before there was a candle
    missing = after_answer(
        after.missing,
        missing_slots(after.candles, after.refused_ms, start_ms=start_ms, end_ms=part.end_ms),
        start_ms=start_ms,
        end_ms=part.end_ms,
        now_ms=now_ms,
        quiet_after_ms=waits_ms or 0,
    )
    if waits_ms is None:
        return all_quiet(missing, now_ms=now_ms)
    is_new_past = before.asked_from_ms is not None and part.start_ms < before.asked_from_ms
    return forget_quiet(missing, oldest_ms, now_ms=now_ms) if is_new_past else missing
