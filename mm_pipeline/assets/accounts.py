"""What accounts and imported fills say of the grids at a live run's evaluation, beside what the model says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from mm_pipeline.adapters.account import IMPORTED, AccountReading, FrameFills
from mm_pipeline.adapters.clock import from_ms, to_ms
from mm_pipeline.adapters.journal import Answer
from mm_pipeline.domain.account import (
    AccountPosition,
    Drift,
    PositionSource,
    account_summary,
    fills_of_grid,
    position_of,
    reconcile,
)
from mm_pipeline.domain.errors import PipelineError
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.market import Market
from mm_pipeline.domain.notifications import FLATS, Notice, Response, ResponseKind
from mm_pipeline.domain.position import simulate_grid
from mm_pipeline.domain.risk.joined import POSITION_SCHEMA
from mm_pipeline.resources import Plan, Watch

ACCOUNT = "account"
"""Source of an answer that the exchange's account gave."""
_ASKS_FOR_EXIT = (Notice.MANDATORY_EXIT, Notice.LATEST_ACCEPTABLE_EXIT)


@dataclass
class Accounts:
    """Readings by market, and what stood in the way of others."""

    readings: dict[Market, AccountReading] = field(default_factory=dict)
    problems: dict[str, PipelineError] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """A grid as an account, or imported fills, show it.

    Attributes
    ----------
    at
        Until when fills are known.
    drifts
        Against the model; empty where the model is not known.
    """

    grid: Grid
    position: AccountPosition
    source: PositionSource
    at: datetime
    drifts: tuple[Drift, ...]
    reading: AccountReading | None = None


def read_accounts(watch: Watch, grids: Mapping[str, Grid]) -> Accounts:
    """Read the account of each exchange on which a grid trades, once a market."""
    started = {
        market: min(grid.started_at_ms for grid in grids.values() if grid.market == market)
        for market in sorted({grid.market for grid in grids.values()})
    }
    found = Accounts()
    readers: dict[str, Any] = {}
    store = FrameFills(watch.frames_root)
    for market, start_ms in started.items():
        try:
            if market.exchange not in readers:
                readers[market.exchange] = watch.accounts.open(
                    market.exchange,
                    settings=watch.settings,
                    clock=watch.clock.clock(),
                    circuits=watch.decisions().circuits,
                    fills=store,
                )
            if readers[market.exchange] is not None:
                found.readings[market] = readers[market.exchange].read(market, start_ms=start_ms)
        except PipelineError as error:
            found.problems[str(market)] = error
    return found


def seen_positions(watch: Watch, plan: Plan, grids: Mapping[str, Grid], accounts: Accounts) -> dict[str, Seen]:
    """Each grid by the first source of the settings that has something to say of it; the model is none of these."""
    found: dict[str, Seen] = {}
    store = FrameFills(watch.frames_root)
    for grid_id, grid in grids.items():
        for source in watch.settings.account.sources:
            try:
                seen = None
                if source is PositionSource.EXCHANGE and grid.market in accounts.readings:
                    seen = _on_exchange(watch, plan, grid, accounts.readings[grid.market])
                elif source is PositionSource.IMPORT:
                    seen = _imported(watch, plan, grid, store)
            except PipelineError as error:
                accounts.problems[grid_id] = error
                continue
            if seen is not None:
                found[grid_id] = seen
                break
    return found


def _on_exchange(watch: Watch, plan: Plan, grid: Grid, reading: AccountReading) -> Seen | None:
    """None where the account knows nothing of the grid, as of one that a native bot trades."""
    position = position_of(
        grid,
        reading.fills,
        reading.orders,
        reading.balances,
        reading.bid,
        policy=watch.settings.account,
        increments=reading.increments,
        rates=reading.prices,
    )
    if position.fills == 0 and position.open_orders == 0:
        return None
    drifts = _drifts(watch, plan, grid, position)
    return Seen(grid, position, PositionSource.EXCHANGE, from_ms(reading.read_at_ms), drifts, reading)


def _imported(watch: Watch, plan: Plan, grid: Grid, store: FrameFills) -> Seen | None:
    policy, bars = watch.settings.account, watch.bars(plan)[grid.market].bars
    fills = store.fills(IMPORTED, grid.market)
    mine = fills_of_grid(grid, fills, policy=policy).fills
    if not mine or bars.is_empty():
        return None
    position = position_of(grid, fills, (), None, float(bars["close"][-1]), policy=policy)
    known_until = from_ms(max(fill.time_ms for fill in mine))
    return Seen(grid, position, PositionSource.IMPORT, known_until, _drifts(watch, plan, grid, position))


def _drifts(watch: Watch, plan: Plan, grid: Grid, position: AccountPosition) -> tuple[Drift, ...]:
    bars = watch.bars(plan)[grid.market].bars
    if bars.is_empty() or to_ms(bars["open_time"][0]) > grid.started_at_ms:
        return ()
    return reconcile(position, simulate_grid(grid, bars), watch.settings.account)


def account_row(seen: Seen, evaluated_at: datetime) -> pl.DataFrame:
    """A grid's position as ``POSITION_SCHEMA``, at the evaluation at which it was looked for."""
    position = seen.position
    values = {name: getattr(position, name, None) for name in POSITION_SCHEMA}
    values |= {
        "grid": seen.grid.id,
        "evaluated_at": evaluated_at,
        "grid_version": seen.grid.version_hash,
        "source": seen.source.value,
        "price": position.bid,
    }
    if seen.reading is not None:
        quote = seen.grid.symbol.split("/")[1]
        summary = account_summary(seen.reading.balances, seen.reading.prices, currency=quote)
        values |= {
            "account_total_quote": summary.total,
            "account_available_quote": summary.available,
            "account_locked_quote": summary.locked,
        }
    else:
        values |= {"open_orders": None}
    return pl.DataFrame([values], schema=POSITION_SCHEMA)


def verify_flats(watch: Watch, seen: Mapping[str, Seen]) -> list[str]:
    """Journal that the account shows a grid closed whose exit was asked for; ids of these.

    Closed: nothing of the grid's inventory is left and none of its orders rests. An account alone proves it, and only
    where the grid had traded there. It counts from the last fill, and not from before the exit was asked for.
    """
    verified = []
    for grid_id, one in seen.items():
        if one.source is not PositionSource.EXCHANGE or not _is_closed(one):
            continue
        told = watch.decisions().notifications.newest_told(grid_id, but=Notice.UNKNOWN)
        if told is None or told.decision.notice not in _ASKS_FOR_EXIT:
            continue
        answers = watch.decisions().responses.select(grid_id, since=told.decision.episode_at)
        if any(answer.response.kind in FLATS for answer in answers):
            continue
        closed_at = max(told.decision.episode_at, _last_fill_at(watch, one))
        response = Response(grid=grid_id, at=closed_at, kind=ResponseKind.VERIFIED_FLAT)
        answer = Answer(response=response, source=ACCOUNT, by_whom="", recorded_at=watch.now(), **watch.written_by)
        if watch.decisions().responses.record([answer]):
            verified.append(grid_id)
    return verified


def _last_fill_at(watch: Watch, seen: Seen) -> datetime:
    """When the position was closed."""
    reading = seen.reading
    fills, steps = ((), None) if reading is None else (reading.fills, reading.increments)
    mine = fills_of_grid(seen.grid, fills, policy=watch.settings.account, increments=steps).fills
    return from_ms(max(fill.time_ms for fill in mine))


def _is_closed(seen: Seen) -> bool:
    """Whether no order of the grid rests, and no more is left than rounding leaves, a step a fill.

    Left of what its fills bought, and left in the account: coins whose fills are not known may be the grid's.
    """
    position, reading = seen.position, seen.reading
    if reading is None or position.fills == 0 or position.open_orders > 0:
        return False
    base = seen.grid.symbol.split("/")[0]
    held = sum(balance.total for balance in reading.balances if balance.currency == base)
    return max(abs(position.inventory_base), held) <= reading.increments.base * position.fills
