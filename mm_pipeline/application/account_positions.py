"""What accounts and imported fills say of the grids at a live run's evaluation, beside what the model says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import polars as pl

from mm_pipeline.adapters.account import IMPORTED, AccountReading, FrameFills
from mm_pipeline.application.account_books import Booked, booked_grids
from mm_pipeline.application.account_view import AccountView
from mm_pipeline.application.plan import Plan, WatchedGrid
from mm_pipeline.application.read_accounts import Accounts
from mm_pipeline.application.watch import Watch
from mm_pipeline.domain.account import (
    AccountPolicy,
    AccountPosition,
    Increments,
    NetFlow,
    OpenOrder,
    PositionSource,
    Share,
    fills_of_grid,
    gap_before,
    ladder_orders,
    net_flows_of,
    orders_of_grid,
    position_by,
    position_of,
    reconcile,
    shares_of,
    steps_told,
    unround_of,
)
from mm_pipeline.domain.errors import AccountError, StorageError
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.grid_history import RangeHistory, by_valid_from
from mm_pipeline.domain.instants import from_ms, to_ms
from mm_pipeline.domain.market import Market, Timeframe
from mm_pipeline.domain.position import GridSimulation, simulate_grid


def seen_positions(watch: Watch, plan: Plan, grids: Mapping[str, Grid], accounts: Accounts) -> dict[str, AccountView]:
    """Each grid by the first source of the settings that has something to say of it; the model is none of these."""
    found: dict[str, AccountView] = {}
    booked = booked_grids(watch, plan, grids, accounts)
    for market in sorted({grid.market for grid in grids.values()}):
        together = {grid_id: grid for grid_id, grid in grids.items() if grid.market == market}
        is_alone = len({grid.grid_id for grid in plan.grids if _trades_on(grid, market.exchange)}) == 1
        looking = _MarketAccount(watch, plan, accounts, market, together, booked, is_alone)
        found |= accounts.attempt(str(market), looking.seen) or {}
    return found


@dataclass(frozen=True)
class _MarketAccount:
    """The grids of one market in their account and imported fills; ``is_alone``: no other trades from the account."""

    watch: Watch
    plan: Plan
    accounts: Accounts
    market: Market
    grids: Mapping[str, Grid]
    booked: Mapping[str, Booked]
    is_alone: bool

    def seen(self) -> dict[str, AccountView]:
        found: dict[str, AccountView] = {}
        for source in self._sources():
            left = {grid_id: grid for grid_id, grid in self.grids.items() if grid_id not in found}
            if not left:
                break
            look = self._on_exchange if source is PositionSource.EXCHANGE else self._imported
            told = self.accounts.attempt(f"{self.market} ({source.value})", partial(look, left)) or {}
            for grid_id, one in told.items():
                if one is not None:
                    found[grid_id] = one
        return found

    def _sources(self) -> list[PositionSource]:
        """Those before the model: behind it none is asked."""
        sources = list(self.watch.settings.account.sources)
        return sources[: sources.index(PositionSource.MODELLED)] if PositionSource.MODELLED in sources else sources

    def _on_exchange(self, grids: Mapping[str, Grid]) -> dict[str, AccountView | None]:
        reading = self.accounts.readings.get(self.market)
        if reading is None:
            return {}
        return {
            grid_id: self.accounts.attempt(grid_id, partial(self._by_account, grid, self.booked[grid_id], reading))
            for grid_id, grid in grids.items()
            if grid_id in self.booked
        }

    def _by_account(self, grid: Grid, booked: Booked, reading: AccountReading) -> AccountView | None:
        """None where nothing on the account counts as the grid's, as of one that a native bot trades.

        Where its orders have the grid's size and lie beside its ladder the position is not known, and says so.

        A grid whose fills all count for another that they fit as well is known to the account all the same.
        """
        policy, share = self.watch.settings.account, booked.share
        flows_from = _flows_from(reading, grid) if self.is_alone else None
        position, orders, is_followed = position_in(
            grid,
            booked,
            reading,
            policy,
            net_flows=() if flows_from is None else net_flows_of(grid, reading.flows),
            start_price=self._start_price(grid),
            start_high=self.accounts.attempt(f"{grid.id} (price at its start)", partial(self._start_high, grid)),
        )
        self._tell_contested(grid, share)
        has_own = position.fills > 0 or position.open_orders > 0
        if not has_own and not share.contested and is_followed:
            return None
        model = self.accounts.attempt(f"{grid.id} (model)", partial(self._model, grid))
        drifts = () if model is None else reconcile(position, model, policy)
        seen = AccountView(
            grid=grid,
            position=position,
            source=PositionSource.EXCHANGE,
            at=from_ms(reading.read_at_ms),
            mine=booked.book.mine,
            orders=orders,
            drifts=drifts,
            modelled_inventory_base=None if model is None else model.summary.inventory,
            is_stopped_out=None if model is None else model.is_stopped_out,
            flows_from=flows_from,
            is_contested=share.contested > 0,
            reading=reading,
        )
        if has_own or share.contested:  # of a grid whose orders all lie beside its ladder nothing is known
            self.accounts.known[grid.id] = seen
        return seen if has_own or not is_followed else None

    def _imported(self, grids: Mapping[str, Grid]) -> dict[str, AccountView | None]:
        fills = FrameFills(self.watch.frames_root).fills(IMPORTED, self.market)
        policy = self.watch.settings.account
        steps = steps_told(fills, policy)
        shares = shares_of(list(self.grids.values()), fills, (), policy=policy, increments=steps)
        return {
            grid_id: self.accounts.attempt(grid_id, partial(self._by_import, grid, shares[grid_id], steps))
            for grid_id, grid in grids.items()
        }

    def _by_import(self, grid: Grid, share: Share, steps: Increments | None) -> AccountView | None:
        """None where nothing was imported, or where it is too old beside a model that knows the market since."""
        policy = self.watch.settings.account
        lost = FrameFills(self.watch.frames_root).lost(IMPORTED, self.market)
        if lost:
            raise StorageError(
                f"imported fills of {self.market} of {', '.join(lost)} are missing: deleted, or damaged.",
                "Import them again (mm import-fills).",
            )
        bars = self.watch.bars(self.plan)[self.market].bars
        mine = fills_of_grid(grid, share.fills, policy=policy, increments=steps)
        self._tell_contested(grid, share)
        if not mine.fills or bars.is_empty():
            return None
        bid = float(bars["close"][-1])
        price = self._start_price(grid)
        position = position_of(
            grid,
            share.fills,
            (),
            None,
            bid,
            policy=policy,
            increments=steps,
            start_price=price,
            unclear=_whose_is_open(share),
        )
        model = self.accounts.attempt(f"{grid.id} (model)", partial(self._model, grid))
        seen = AccountView(
            grid=grid,
            position=position,
            source=PositionSource.IMPORT,
            at=from_ms(max(fill.time_ms for fill in mine.fills)),
            mine=mine,
            drifts=() if model is None else reconcile(position, model, policy),
            modelled_inventory_base=None if model is None else model.summary.inventory,
            is_stopped_out=None if model is None else model.is_stopped_out,
        )
        if model is not None and from_ms(self.plan.last_ms) - seen.at > policy.import_max_age:
            self.accounts.old_imports[grid.id] = seen
            return None
        return seen

    def _start_price(self, grid: Grid) -> float | None:
        """What the coins that a grid began with count as bought at; None where that is not known, or not needed."""
        if grid.initial_base is None:
            return None
        return self.accounts.attempt(f"{grid.id} (price at its start)", partial(self._first_open, grid))

    def _first_open(self, grid: Grid) -> float | None:
        bars = self.watch.bars(self.plan)[grid.market].bars
        if bars.is_empty() or to_ms(bars["open_time"][0]) > grid.started_at_ms:
            return None
        since = bars.filter(pl.col("open_time").dt.epoch("ms") >= grid.started_at_ms)
        return None if since.is_empty() else float(since["open"][0])

    def _start_high(self, grid: Grid) -> float | None:
        """The highest price from a bar before the grid's start to a bar after it."""
        bars = self.watch.bars(self.plan)[grid.market].bars
        begins_ms, ends_ms = grid.started_at_ms - Timeframe.M15.ms, grid.started_at_ms + Timeframe.M15.ms
        if bars.is_empty() or to_ms(bars["open_time"][0]) > begins_ms:
            return None
        about = bars.filter(pl.col("open_time").dt.epoch("ms").is_between(begins_ms, ends_ms))
        return None if about.is_empty() else float(about["high"].max())  # type: ignore[arg-type]

    def _model(self, grid: Grid) -> GridSimulation | None:
        bars = self.watch.bars(self.plan)[grid.market].bars
        if bars.is_empty() or to_ms(bars["open_time"][0]) > grid.started_at_ms:
            return None
        versions = next((found.versions for found in self.plan.grids if found.grid_id == grid.id), ())
        edits = RangeHistory.of(by_valid_from(versions), grid) if versions else None
        return simulate_grid(grid, bars, history=edits)

    def _tell_contested(self, grid: Grid, share: Share) -> None:
        if share.contested:
            self.accounts.problems[f"{grid.id} (shared levels)"] = AccountError(
                f"{share.contested} fills or orders fit {grid.id} as well as another grid of {self.market}; neither is "
                "verified flat by them. A report of flat is checked once it was made for each of them.",
                "Give grids of one market levels of their own, or trade them from accounts of their own.",
            )


def position_in(
    grid: Grid,
    booked: Booked,
    reading: AccountReading,
    policy: AccountPolicy,
    *,
    net_flows: Iterable[NetFlow] = (),
    start_price: float | None = None,
    start_high: float | None = None,
) -> tuple[AccountPosition, tuple[OpenOrder, ...], bool]:
    """What a reading says of one of its grids: its position, its resting orders, and whether they follow its ladder."""
    share, steps = booked.share, reading.increments
    orders = orders_of_grid(grid, share.orders, policy=policy, increments=steps)
    followed = ladder_orders(grid, booked.book.mine, orders, share.orders, policy=policy, increments=steps)
    position = position_by(
        grid,
        booked.book,
        orders,
        booked.balance_base,
        reading.bid,
        policy=policy,
        rates=reading.prices,
        net_flows=net_flows,
        orders=followed,
        unround=unround_of(
            grid, booked.book.mine, orders, policy=policy, increments=steps, is_sole=booked.book.is_sole
        ),
        start_high=start_high,
        unclear=(*_missing(grid, share, reading, policy), *_whose_is_open(share)),
        start_price=start_price,
    )
    return position, orders, followed.is_followed


def _trades_on(grid: WatchedGrid, exchange: str) -> bool:
    return any(version.grid.exchange == exchange and version.grid.enabled for version in grid.versions)


def _missing(grid: Grid, share: Share, reading: AccountReading, policy: AccountPolicy) -> tuple[str, ...]:
    """What of a grid's fills the account does not tell, in words."""
    if reading.unreadable:
        more = len(reading.unreadable) - 1
        return (reading.unreadable[0] + (f" (and {more} more)" if more else ""),)
    gap = gap_before(grid, share.fills, reading.fills_from_ms, policy)
    return () if gap is None else (gap,)


def _whose_is_open(share: Share) -> tuple[str, ...]:
    guess = f"{share.contested} fills or orders may be this grid's or another's, and what it holds depends on them"
    cut = "an order of its ladder was filled both before and after its start"
    return (*([guess] if share.is_guess else []), *([cut] if share.is_cut else []))


def _flows_from(reading: AccountReading, grid: Grid) -> datetime | None:
    """Since when the account's flows are known without a hole, from the grid's start on; None where they are not."""
    if reading.flows_from_ms is None or (reading.flows_until_ms or 0) < reading.read_at_ms:
        return None
    return from_ms(max(grid.started_at_ms, reading.flows_from_ms))
