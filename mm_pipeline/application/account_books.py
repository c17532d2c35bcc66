"""Whose each fill and order of the accounts is, and each base's books closed against its balance, over all markets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from mm_pipeline.adapters.account import IMPORTED, AccountReading, FrameFills
from mm_pipeline.adapters.frames.store import FrameMissing, FrameStore
from mm_pipeline.application.plan import Plan, WatchedGrid
from mm_pipeline.application.read_accounts import Accounts
from mm_pipeline.application.watch import Watch
from mm_pipeline.domain.account import (
    AccountPolicy,
    EarlierRange,
    GridBook,
    GridFills,
    PositionSource,
    Share,
    base_behind,
    base_total,
    close_books,
    dust_base,
    fills_of_grid,
    orders_of_grid,
    shares_of,
    with_older,
)
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.instants import from_ms, to_ms
from mm_pipeline.domain.market import Market
from mm_pipeline.domain.months import next_month, previous_month


@dataclass(frozen=True)
class Booked:
    """What an account shows of one grid: its share of the market's fills and orders, its book, and all of its base."""

    share: Share
    book: GridBook
    balance_base: float


def booked_grids(watch: Watch, plan: Plan, grids: Mapping[str, Grid], accounts: Accounts) -> dict[str, Booked]:
    """Every grid whose account was read, by grid id.

    A market whose fills conflict, or a grid whose stored rows cannot be read, stops no other.
    """
    for market, reading in list(accounts.readings.items()):
        whole = accounts.attempt(f"{market} (older fills)", partial(_with_older, watch, reading, grids))
        accounts.readings[market] = whole or reading
    earlier = [one for watched in plan.grids for one in _earlier_ranges(watched, grids.get(watched.grid_id))]
    return books_of(
        grids, accounts, watch.settings.account, earlier=earlier, was_short=partial(_was_short, watch, plan)
    )


def books_of(
    grids: Mapping[str, Grid],
    accounts: Accounts,
    policy: AccountPolicy,
    *,
    earlier: Sequence[EarlierRange],
    was_short: Callable[[Grid], bool],
) -> dict[str, Booked]:
    """All grids of all readings judged together, by grid id; what cannot be judged is among the accounts' problems.

    Parameters
    ----------
    earlier
        Of any market, what grids were declared as before.
    was_short
        Whether the reading before showed less base than a grid's fills say, or counted sales by it.
    """
    shares: dict[str, Share] = {}
    mine: dict[str, GridFills] = {}
    for market, reading in accounts.readings.items():
        together = [grid for grid in grids.values() if grid.market == market]
        past = [one for one in earlier if one.grid.market == market]
        found = accounts.attempt(str(market), partial(_shared, together, past, reading, policy))
        for grid_id, (share, fills) in (found or {}).items():
            shares[grid_id], mine[grid_id] = share, fills
    booked: dict[str, Booked] = {}
    for exchange, base in sorted({_place(grids[grid_id].market) for grid_id in mine}):
        together = [grids[grid_id] for grid_id in mine if _place(grids[grid_id].market) == (exchange, base)]
        newest = max((accounts.readings[grid.market] for grid in together), key=lambda reading: reading.read_at_ms)
        balance = base_total(together[0], newest.balances)
        books = close_books(
            together,
            mine,
            balance,
            policy=policy,
            locked={grid.id: _locked(grid, shares[grid.id], accounts, policy) for grid in together},
            is_confirmed=any(
                accounts.attempt(f"{grid.id} (reading before)", partial(was_short, grid)) for grid in together
            ),
        )
        booked |= {name: Booked(shares[name], book, balance) for name, book in books.items()}
    return booked


def _locked(grid: Grid, share: Share, accounts: Accounts, policy: AccountPolicy) -> float:
    steps = accounts.readings[grid.market].increments
    return base_behind(orders_of_grid(grid, share.orders, policy=policy, increments=steps))


def _with_older(watch: Watch, reading: AccountReading, grids: Mapping[str, Grid]) -> AccountReading:
    """The reading with imported fills under it, where it does not reach back to the start of every grid."""
    started_ms = [grid.started_at_ms for grid in grids.values() if grid.market == reading.market]
    if reading.fills_from_ms <= min(started_ms, default=reading.fills_from_ms):
        return reading
    if PositionSource.IMPORT not in watch.settings.account.sources:
        return reading
    imported = FrameFills(watch.frames_root).fills(IMPORTED, reading.market)
    return replace(reading, fills=with_older(reading.fills, imported, reading.fills_from_ms))


def _earlier_ranges(watched: WatchedGrid, grid: Grid | None) -> list[EarlierRange]:
    """A grid's ranges before its present one, each up to the next; all of one that trades no more."""
    if not watched.versions:
        return []
    end_ms = to_ms(watched.versions[-1].valid_from) if grid is None else grid.started_at_ms
    by_start = {one.grid.started_at_ms: one.grid for one in watched.versions if one.grid.started_at_ms < end_ms}
    starts_ms = sorted(by_start)
    return [
        EarlierRange(by_start[start_ms], until_ms)
        for start_ms, until_ms in zip(starts_ms, [*starts_ms[1:], end_ms], strict=False)
    ]


def _shared(
    grids: list[Grid], earlier: list[EarlierRange], reading: AccountReading, policy: AccountPolicy
) -> dict[str, tuple[Share, GridFills]]:
    steps = reading.increments
    shares = shares_of(grids, reading.fills, reading.orders, policy=policy, increments=steps, earlier=earlier)
    return {
        grid.id: (
            shares[grid.id],
            fills_of_grid(
                grid,
                shares[grid.id].fills,
                shares[grid.id].orders,
                policy=policy,
                increments=steps,
                balance_base=base_total(grid, reading.balances),
            ),
        )
        for grid in grids
    }


def _place(market: Market) -> tuple[str, str]:
    return market.exchange, market.symbol.split("/")[0]


def _was_short(watch: Watch, plan: Plan, grid: Grid) -> bool:
    """Whether the reading before this evaluation showed less base than fills say, or counted sales by it."""
    at = from_ms(plan.last_ms)
    try:
        stored = FrameStore(watch.frames_root).read(
            "positions", grid.id, start=previous_month(plan.start), end=next_month(at)
        )
    except FrameMissing:
        return False
    before = stored.filter((stored["evaluated_at"] < at) & (stored["source"] == "exchange"))
    if before.is_empty() or "uncovered_base" not in before.columns:
        return False
    row = before.row(-1, named=True)
    dust = dust_base(grid, watch.settings.account)
    return (row["uncovered_base"] or 0.0) > dust or (row["sold_by_balance_base"] or 0.0) > 0.0
