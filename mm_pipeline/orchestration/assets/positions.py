"""Assets ``positions`` and ``risk``: what each enabled grid holds and has earned, and what waiting may cost."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import NamedTuple

import dagster as dg
import polars as pl

from mm_pipeline.adapters.frames.store import FrameMissing, FrameStore
from mm_pipeline.application.account_positions import seen_positions
from mm_pipeline.application.account_rows import account_row
from mm_pipeline.application.account_view import AccountView
from mm_pipeline.application.completeness import positions_due, short_grids
from mm_pipeline.application.isolation import isolated
from mm_pipeline.application.market_frames import ByGrid
from mm_pipeline.application.plan import Plan, WatchedGrid
from mm_pipeline.application.planned_keys import is_enabled
from mm_pipeline.application.read_accounts import Accounts, read_accounts
from mm_pipeline.application.verify_flat import alarm_about_unseen, is_exit_open, needs_check, verify_flats
from mm_pipeline.application.watch import Watch
from mm_pipeline.contracts import operator as operator_contracts
from mm_pipeline.contracts.contract import Contract
from mm_pipeline.domain.account import PositionSource
from mm_pipeline.domain.arrays import Times
from mm_pipeline.domain.columns import conformed
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.instants import from_ms, to_ms
from mm_pipeline.domain.market import Market
from mm_pipeline.domain.months import previous_month
from mm_pipeline.domain.pipeline import evaluations
from mm_pipeline.domain.risk import RISK_SCHEMA, RiskHistory, risk_rows
from mm_pipeline.domain.risk.columns import figures_of, positions_of, with_old_import
from mm_pipeline.orchestration import metadata
from mm_pipeline.orchestration.assets.declaration import contract_result, monthly_assets, plan_of
from mm_pipeline.orchestration.resources import WatchResource

AGREES = "account_agrees"


class _Import(NamedTuple):
    """Imported fills that are too old to decide anything, at one evaluation."""

    evaluated_at: datetime
    inventory_base: float
    until: datetime


@monthly_assets(
    group="operator",
    deps=["candles"],
    outs={
        "positions": (
            operator_contracts.POSITIONS,
            "What every enabled grid holds and has earned: by its account, imported fills, or the model.",
        ),
        "risk": (
            operator_contracts.RISK,
            "Capital at risk, worst case and expected give-back of every enabled grid if its exit waits.",
        ),
    },
    checks=[
        dg.AssetCheckSpec(
            AGREES, asset="positions", description="Accounts could be read, and hold what the modelled grids hold."
        )
    ],
)
def positions_and_risk(
    context: dg.AssetExecutionContext, watch: WatchResource
) -> Iterator[dg.MaterializeResult[ByGrid]]:
    """SPEC 7 at every evaluation of the model; a live run asks the account too, and adds to what is stored."""
    plan = plan_of(context, watch)
    stops = watch.stops(plan)
    grids = {grid.grid_id: grid for grid in plan.grids if is_enabled(grid, plan)}
    histories = isolated(stops, lambda market: stops[market].history, context.log)
    rows = isolated(grids, lambda grid: _rows(grids[grid], _due(watch, plan, grid), histories.made, watch), context.log)
    wanted, accounts, seen = _accounts(watch, plan, {grid.grid_id: grid for grid in plan.grids})
    verified = verify_flats(watch, plan, wanted, accounts)
    # A grid whose model fails is still held as its account shows it.
    made = {grid: pl.DataFrame(schema=RISK_SCHEMA) for grid in seen if grid in grids} | rows.made
    shown, at = _shown(watch, plan, seen, accounts), from_ms(plan.last_ms)
    imports = {grid: one for grid, one in accounts.old_imports.items() if grid not in shown}
    beside = {grid: _Import(at, one.position.inventory_base, one.at) for grid, one in imports.items()}
    for subject, problem in accounts.problems.items():
        context.log.warning(f"{subject}: {problem}")
    for asset, contract in (("positions", operator_contracts.POSITIONS), ("risk", operator_contracts.RISK)):
        frames = isolated(made, partial(_frame, asset, contract, watch, plan, made, shown, beside), context.log)
        agreement = [_agreement(accounts, seen)] if asset == "positions" else []
        short = short_grids(plan, frames.made, positions_due)
        yield dg.MaterializeResult(
            asset_key=asset,
            value=frames.made,
            metadata=metadata.of_positions(asset, frames.made, seen, verified),
            check_results=[contract_result(asset, {**short, **rows.problems, **frames.problems}), *agreement],
        )


def _rows(grid: WatchedGrid, due_ms: Times, histories: Mapping[Market, RiskHistory], watch: Watch) -> pl.DataFrame:
    """Rows of every market that a declaration of the grid trades; evaluations of a version use its own."""
    parts = [pl.DataFrame(schema=RISK_SCHEMA)]
    for market in grid.markets:
        if market in histories:
            rows = risk_rows(grid.versions, histories[market], due_ms, watch.settings.risk)
            parts.append(rows.filter(pl.col("grid_version").is_in(grid.hashes(market))))
    return pl.concat(parts).sort("evaluated_at")


def _due(watch: Watch, plan: Plan, grid: str) -> Times:
    """All evaluations of the plan; of a live run those that are not stored yet, the newest alone where none is."""
    if not plan.is_live:
        return evaluations(plan.first_ms, plan.last_ms)
    stored = _stored(watch, "risk", grid, start=previous_month(plan.start), end=plan.end)
    if stored is None or stored.is_empty():
        return evaluations(plan.last_ms, plan.last_ms)
    return evaluations(max(plan.first_ms, to_ms(stored["evaluated_at"][-1]) + 1), plan.last_ms)


def _stored(watch: Watch, dataset: str, grid: str, *, start: datetime, end: datetime) -> pl.DataFrame | None:
    try:
        return FrameStore(watch.frames_root).read(dataset, grid, start=start, end=end)
    except FrameMissing:
        return None


def _merged(watch: Watch, plan: Plan, dataset: str, grid: str, rows: pl.DataFrame) -> pl.DataFrame:
    """New rows in place of stored ones, which a live run keeps before them; what an account showed stays."""
    stored = _stored(watch, dataset, grid, start=plan.start, end=plan.end)
    if stored is None:
        return rows
    stored = conformed(stored, rows.schema)
    at, keys = pl.col("evaluated_at"), ["evaluated_at", "grid_version"]
    shown = stored.clear()
    if "source" in rows.columns:
        is_modelled = pl.col("source") == PositionSource.MODELLED.value
        shown = stored.filter(~is_modelled).join(rows.filter(is_modelled), on=keys, how="semi")
    earlier = stored.clear()
    if plan.is_live:
        earlier = stored if rows.is_empty() else stored.filter(at < rows["evaluated_at"][0])
    whole = pl.concat([earlier, rows.join(shown, on=keys, how="anti"), shown])
    return whole.sort("evaluated_at", maintain_order=True)


def _frame(  # noqa: PLR0917 - bound by partial, one grid at a time
    asset: str,
    contract: Contract,
    watch: Watch,
    plan: Plan,
    made: Mapping[str, pl.DataFrame],
    shown: Mapping[str, pl.DataFrame],
    beside: Mapping[str, _Import],
    grid: str,
) -> pl.DataFrame:
    """A grid's frame of one of the two assets, with what is stored before it."""
    rows = made[grid]
    new = figures_of(rows) if asset == "risk" else _with_account(positions_of(rows), shown.get(grid))
    if asset == "positions" and grid in beside:
        new = with_old_import(new, *beside[grid])
    frame = _merged(watch, plan, asset, grid, new)
    contract.check(frame)
    return frame


def _accounts(
    watch: Watch, plan: Plan, grids: Mapping[str, WatchedGrid]
) -> tuple[dict[str, Grid], Accounts, dict[str, AccountView]]:
    """What accounts show now of grids that trade, or whose exit is open; a run about the past knows of none.

    Whatever an account brings, states are judged and pages go out.
    """
    accounts = Accounts()
    if not plan.is_live:
        return {}, accounts, {}
    wanted = accounts.attempt("accounts", partial(_wanted, watch, plan, grids)) or {}
    read = accounts.attempt("accounts", partial(read_accounts, watch, wanted)) or Accounts()
    accounts.readings, accounts.problems = read.readings, accounts.problems | read.problems
    seen = accounts.attempt("accounts", partial(seen_positions, watch, plan, wanted, accounts)) or {}
    accounts.attempt("accounts unseen", partial(alarm_about_unseen, watch, wanted, accounts))
    return wanted, accounts, seen


def _wanted(watch: Watch, plan: Plan, grids: Mapping[str, WatchedGrid]) -> dict[str, Grid]:
    newest = {grid_id: grid.in_force(plan.last_ms, plan.last_ms) for grid_id, grid in grids.items()}
    return {
        grid_id: found[-1]
        for grid_id, found in newest.items()
        if found
        and found[-1].started_at_ms <= plan.last_ms
        and (found[-1].enabled or is_exit_open(watch, found[-1]) or needs_check(watch, plan, found[-1]))
    }


def _shown(watch: Watch, plan: Plan, seen: Mapping[str, AccountView], accounts: Accounts) -> dict[str, pl.DataFrame]:
    """The newest evaluation's row of each enabled grid as its account shows it; the model's stands where that fails."""
    at = from_ms(plan.last_ms)
    rows = {
        grid: accounts.attempt(f"{grid} (row)", partial(_account_row, one, at, watch))
        for grid, one in seen.items()
        if one.grid.enabled
    }
    return {grid: row for grid, row in rows.items() if row is not None}


def _account_row(seen: AccountView, at: datetime, watch: Watch) -> pl.DataFrame:
    row = account_row(seen, at, watch.settings.account)
    operator_contracts.POSITIONS.check(row)
    return row


def _with_account(positions: pl.DataFrame, shown: pl.DataFrame | None) -> pl.DataFrame:
    """Positions with the account's row in the place of the model's."""
    if shown is None:
        return positions
    return pl.concat([positions.join(shown, on="evaluated_at", how="anti"), shown])


def _agreement(accounts: Accounts, seen: Mapping[str, AccountView]) -> dg.AssetCheckResult:
    """Warns where an account could not be read, or its grid is not where the model is."""
    told = {subject: str(problem) for subject, problem in accounts.problems.items()}
    for grid_id, one in seen.items():
        apart = [
            f"{drift.name}: {one.source.value} {drift.account:,.6g}, model {drift.model:,.6g}, "
            f"apart by {drift.drift:,.4g} of at most {drift.limit:,.4g} {drift.unit}"
            for drift in one.drifts
            if not drift.is_within
        ]
        if said := [*one.position.doubts, *apart]:
            told[grid_id] = "; ".join(said)
    return dg.AssetCheckResult(
        asset_key="positions",
        check_name=AGREES,
        passed=not told,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"accounts_read": len(seen), **told},
    )
