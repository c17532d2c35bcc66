"""The state of one grid at each evaluation, from its analysis, what was wrong, and what the journal knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from mm_pipeline.adapters.journal import Incident, Journal
from mm_pipeline.application.blind_spots import as_problems, lagging, market_problems, notices_in, unconfirmed_at
from mm_pipeline.application.input_hash import input_hashes, text_hash
from mm_pipeline.application.market_views import Views, of_market, viewed
from mm_pipeline.application.plan import Plan, WatchedGrid
from mm_pipeline.application.subjects import grid_subject
from mm_pipeline.contracts import states as contracts
from mm_pipeline.contracts.contract import Contract
from mm_pipeline.domain.advice import Advice, AdvicePolicy, advise
from mm_pipeline.domain.candles import epoch_ms
from mm_pipeline.domain.columns import TIME
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.grid_history import RangeHistory, by_valid_from
from mm_pipeline.domain.instants import from_ms, to_ms
from mm_pipeline.domain.market import Market
from mm_pipeline.domain.market_view import MarketView
from mm_pipeline.domain.risk import StopOutlook
from mm_pipeline.domain.risk.columns import FIGURES_SCHEMA, POSITION_SCHEMA, with_risk

UNKNOWN = "UNKNOWN"
RISK = "risk"
"""Column of exit states that comes from other assets, and not from the domain's states."""
_DAY_MS = 86_400_000
_EDITS = {"evaluated_at": TIME, "problem": pl.String()}


@dataclass(frozen=True)
class DecisionInputs:
    """What decisions are made from, beside a grid's analysis."""

    plan: Plan
    policy: AdvicePolicy
    views: Views
    journal: Journal
    positions: Mapping[str, pl.DataFrame]
    figures: Mapping[str, pl.DataFrame]
    stops: Mapping[Market, StopOutlook]

    def risk_of(self, grid: str) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Positions and risk of a grid; without rows where there are none."""
        positions, figures = self.positions.get(grid), self.figures.get(grid)
        if positions is None or figures is None:
            return pl.DataFrame(schema=POSITION_SCHEMA), pl.DataFrame(schema=FIGURES_SCHEMA)
        return positions, figures


def decide(grid: WatchedGrid, analysis: pl.DataFrame, known: DecisionInputs) -> Advice:
    """Exit and entry states of a grid at the plan's evaluations, each row with the hash of what it saw."""
    subject_problems = as_problems(notices_in(known.journal, grid_subject(grid.grid_id), known.plan))
    parts = [
        _decide_in(market, grid, of_market(analysis, grid, market), subject_problems, known)
        for market in grid.markets
        if market in known.plan.bars_from_ms
    ]
    asked = pl.col("evaluated_at").to_physical() >= known.plan.first_ms
    exits = pl.concat([contracts.EXIT.empty().drop(RISK), *(part.exit_states for part in parts)]).filter(asked)
    entries = pl.concat([contracts.ENTRY.empty(), *(part.entry_states for part in parts)]).filter(asked)
    exits = with_risk(exits.sort("evaluated_at"), *known.risk_of(grid.grid_id))
    exits = _with_journalled_state(exits, grid, known.journal)
    return Advice(exits, entries.sort("evaluated_at"))


def unknown_rows(
    grid: WatchedGrid, known: DecisionInputs, *, at_ms: int | None = None, reason: str = ""
) -> pl.DataFrame:
    """Exit states of a grid of which only its id is known: UNKNOWN wherever something was journalled about it.

    ``at_ms`` and ``reason`` add one evaluation that is not journalled.
    """
    told = [(to_ms(notice.tick_at), notice.message) for notice in notices_in_run(grid, known)]
    if at_ms is not None:
        told.append((at_ms, reason))
    reasons: dict[int, list[str]] = {}
    for at, message in told:
        if message not in reasons.setdefault(at, []):
            reasons[at].append(message)
    rows = [
        {
            "grid": grid.grid_id,
            "evaluated_at": from_ms(at),
            "state": UNKNOWN,
            "risk_level": UNKNOWN,
            "counterfactual": [],
            "reasons": messages,
            "policy": known.policy.name,
            "input_hash": text_hash("\n".join(messages)),
        }
        for at, messages in sorted(reasons.items())
    ]
    frame = pl.DataFrame(rows, schema=dict(contracts.EXIT.columns))
    return _with_journalled_state(frame, grid, known.journal)


def notices_in_run(grid: WatchedGrid, known: DecisionInputs) -> list[Incident]:
    """What was journalled about a grid at the evaluations that are asked for."""
    notices = notices_in(known.journal, grid_subject(grid.grid_id), known.plan)
    return [notice for notice in notices if to_ms(notice.tick_at) >= known.plan.first_ms]


def _decide_in(
    market: Market, grid: WatchedGrid, rows: pl.DataFrame, grid_problems: pl.DataFrame, known: DecisionInputs
) -> Advice:
    view = viewed(known.views, market)
    notices = notices_in(known.journal, str(market), known.plan)
    lag = lagging(market, view, epoch_ms(rows["evaluated_at"]))
    gaps = unconfirmed_at(market, view, epoch_ms(rows["evaluated_at"][: 0 if known.plan.is_live else None]))
    problems = pl.concat([grid_problems, market_problems(notices), lag, gaps])
    advice = advise(rows, view, known.policy, problems)
    hashes = rows.select("evaluated_at").with_columns(_hashes(rows, grid, view, problems, known, market))
    return Advice(
        _finished(advice.exit_states, hashes, contracts.EXIT),
        _finished(advice.entry_states, hashes, contracts.ENTRY),
    )


def _hashes(  # noqa: PLR0917 - everything that an evaluation sees
    rows: pl.DataFrame,
    grid: WatchedGrid,
    view: MarketView,
    problems: pl.DataFrame,
    known: DecisionInputs,
    market: Market,
) -> pl.Series:
    started = {version.grid.version_hash: version.grid.started_at_ms for version in grid.versions}
    starts = rows["grid_version"].replace_strict(started, return_dtype=pl.Int64)
    evaluated_ms = epoch_ms(rows["evaluated_at"])
    since_ms = np.minimum(evaluated_ms, starts.to_numpy()) - known.policy.data.warm_up_days * _DAY_MS
    stops = known.stops[market]
    if known.policy.exit_state.asks("stop_likely"):
        since_ms = np.minimum(since_ms, evaluated_ms - stops.policy.lookback_ms)
    seen = pl.concat([problems.select("evaluated_at", "problem"), _edits(rows, grid), _moved(rows, grid)])
    return input_hashes(stops.bars, view.quarantined_ms, evaluated_ms, since_ms, seen)


def _edits(rows: pl.DataFrame, grid: WatchedGrid) -> pl.DataFrame:
    """``evaluated_at, problem``: how the range was edited by each evaluation; no row where it was not."""
    ordered = by_valid_from(grid.versions)
    declared = {version.grid.version_hash: version.grid for version in ordered}
    histories = {name: RangeHistory.of(ordered, declared[name]) for name in rows["grid_version"].unique()}
    if all(len(history.pieces) == 1 for history in histories.values()):
        return pl.DataFrame(schema=_EDITS)
    seen = rows.select("evaluated_at", "grid_version").rows()
    edits = [(at, histories[name].signature(to_ms(at))) for at, name in seen]
    return pl.DataFrame([edit for edit in edits if edit[1]], schema=_EDITS, orient="row")


def _moved(rows: pl.DataFrame, grid: WatchedGrid) -> pl.DataFrame:
    """``evaluated_at, problem``: the price step that the ladder was rounded to; no row where no level moved."""
    moved = {version.grid.version_hash: version.grid.moved_by_tick for version in grid.versions}
    seen = rows.select("evaluated_at", "grid_version").rows()
    told = [(at, f"price step {moved[name]!r}") for at, name in seen if moved[name] is not None]
    return pl.DataFrame(told, schema=_EDITS, orient="row")


def _finished(states: pl.DataFrame, hashes: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Add the input hash; columns as the contract has them."""
    joined = states.join(hashes, on="evaluated_at", how="left", maintain_order="left")
    return joined.select(name for name in contract.columns if name != RISK)


def _with_journalled_state(exits: pl.DataFrame, grid: WatchedGrid, journal: Journal) -> pl.DataFrame:
    """Where UNKNOWN follows nothing known in these rows, the last state that was journalled before stays known.

    What was decided about another range (another ``started_at``) does not count.
    """
    is_wanting = (pl.col("state") == UNKNOWN) & pl.col("last_known_state").is_null()
    if exits.filter(is_wanting).is_empty():
        return exits
    started = {version.grid.version_hash: version.grid.started_at for version in grid.versions}
    starts = pl.DataFrame(list(started.items()), schema={"grid_version": pl.String, "_start": TIME}, orient="row")
    ranged = exits.join(starts, on="grid_version", how="left", maintain_order="left")
    journalled = [
        (first["_start"], _journalled_state(grid, journal, first["evaluated_at"], first["_start"]))
        for first in ranged.filter(is_wanting).unique("_start", keep="first", maintain_order=True).to_dicts()
    ]
    before = pl.DataFrame(journalled, schema={"_start": TIME, "_before": pl.String}, orient="row")
    ranged = ranged.join(before, on="_start", how="left", nulls_equal=True, maintain_order="left")
    own = pl.when(pl.col("state") != UNKNOWN).then("state").forward_fill().over("_start", order_by="evaluated_at")
    filled = pl.when(pl.col("state") == UNKNOWN).then(pl.coalesce("last_known_state", own, "_before"))
    return ranged.with_columns(filled.alias("last_known_state")).drop("_start", "_before")


def _journalled_state(grid: WatchedGrid, journal: Journal, before: datetime, started_at: datetime | None) -> str | None:
    """The last state but UNKNOWN that was journalled about the range before a moment."""
    same = [version.grid.version_hash for version in grid.versions if version.grid.started_at == started_at]
    return journal.last_known_state(
        grid.grid_id, before, kind=EvaluationKind.EXIT, versions=None if started_at is None else same
    )


def kinds_of(grid: WatchedGrid, plan: Plan) -> Mapping[EvaluationKind, bool]:
    """Which kinds of state the declarations in force in the plan's months ask for."""
    declarations = grid.in_force(plan.first_ms, plan.last_ms)
    return {
        EvaluationKind.EXIT: not grid.versions or any(declaration.enabled for declaration in declarations),
        EvaluationKind.ENTRY: any(not declaration.enabled for declaration in declarations),
    }


def is_disabled(grid: WatchedGrid, at_ms: int) -> bool:
    """Whether the declaration in force at an evaluation is switched off; False where none was ever read."""
    declarations = grid.in_force(at_ms, at_ms)
    return bool(declarations) and not declarations[-1].enabled


def unknown_entry(grid: WatchedGrid, known: DecisionInputs, at_ms: int, reason: str) -> pl.DataFrame:
    """Entry state of a disabled grid that could not be decided: UNKNOWN, with the reason."""
    row = {
        "grid": grid.grid_id,
        "evaluated_at": from_ms(at_ms),
        "state": UNKNOWN,
        "reasons": [reason],
        "policy": known.policy.name,
        "grid_version": grid.in_force(at_ms, at_ms)[-1].version_hash,
        "input_hash": text_hash(reason),
    }
    return pl.DataFrame([row], schema=dict(contracts.ENTRY.columns))
