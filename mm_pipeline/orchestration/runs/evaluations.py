"""One evaluation now, or as of a moment, and what it decided about each grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import dagster as dg
import polars as pl

from mm_pipeline.adapters.config.home import data_home, mm_home
from mm_pipeline.adapters.frames.store import FrameMissing, FrameStore
from mm_pipeline.adapters.journal import Journal
from mm_pipeline.adapters.last_resort import Outcome, RoomState
from mm_pipeline.application.plan import floor_to_evaluation
from mm_pipeline.application.record_evaluations import fired_in
from mm_pipeline.application.stored_states import as_made
from mm_pipeline.application.watch import Watch
from mm_pipeline.bootstrap import Overrides, installation
from mm_pipeline.domain.errors import ConfigError, PipelineError
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.exit_state import TRIGGERS
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.months import month_start, previous_month
from mm_pipeline.orchestration.assets.candles import EVALUATED_AT
from mm_pipeline.orchestration.jobs import EVALUATION_JOB, tick_request
from mm_pipeline.orchestration.run_moment import EVALUATED_AT_TAG
from mm_pipeline.orchestration.runs.execution import execute
from mm_pipeline.orchestration.turns import LIVE_TAG
from mm_pipeline.settings import Deployment

_DATASETS: Final = {EvaluationKind.EXIT: "exit_states", EvaluationKind.ENTRY: "entry_states"}


@dataclass(frozen=True, kw_only=True)
class GridEvaluation:
    """What a run decided about one grid.

    Attributes
    ----------
    grid
        The declaration that was used; None where the file could never be read.
    since
        Evaluation that began the unbroken run of this state, as far as the stored month and the one before tell.
    triggers
        ``{value, threshold, margin, fired, since}`` by name; empty for an entry state.
    rows
        The grid's states up to this evaluation, ascending: what ``reporting.grid_report.report_of`` takes.
    """

    grid_id: str
    grid: Grid | None
    kind: EvaluationKind
    evaluated_at: datetime
    state: str
    since: datetime
    price: float | None
    fired: tuple[str, ...]
    triggers: dict[str, dict[str, Any]]
    reasons: tuple[str, ...]
    last_known_state: str | None
    rows: pl.DataFrame


def evaluate_now(
    deployment: Deployment, at: datetime | None = None, *, overrides: Overrides | None = None
) -> list[GridEvaluation]:
    """Evaluate every grid once, through the same job as the schedule.

    Parameters
    ----------
    at
        Evaluate as of this moment instead: with the candles that were closed then and the grid versions in force then.
        Nothing is journalled, and its frames are kept apart (``as_of/`` in the home).

    Returns
    -------
    One per grid with an evaluation, by id.

    Raises
    ------
    ConfigError
        When ``at`` lies in the future.
    PipelineError
        When the run failed as a whole; a market or grid that failed is UNKNOWN instead.
    """
    chosen = replace(overrides or Overrides(), deployment=deployment)
    if at is not None:
        return _evaluate(deployment, chosen, at)
    guard = installation(chosen).storage_guard()
    if guard.room.check() is RoomState.ENOUGH:
        guard.room.reserve()
    try:
        return _evaluate(deployment, chosen, None)
    except PipelineError as error:  # Dagster's run may not have begun: nobody else would tell of the storage
        if guard.failed(error) is not Outcome.RECOVERED:
            raise
    return _evaluate(deployment, chosen, None)  # room was made, or the database came back


def _evaluate(deployment: Deployment, chosen: Overrides, at: datetime | None) -> list[GridEvaluation]:
    home = chosen.home or mm_home()
    if at is not None and chosen.frames_root is None:
        kept = chosen.home or data_home(is_paper=deployment.settings.is_paper)
        chosen = replace(chosen, frames_root=str(kept / "as_of" / "frames"))
    watch = Watch(installation(chosen))
    try:
        return _evaluated(watch, home, chosen, at)
    finally:
        watch.close()


def _evaluated(watch: Watch, home: Path, chosen: Overrides, at: datetime | None) -> list[GridEvaluation]:
    now = watch.now()
    if at is not None and at > now:
        raise ConfigError(f"{at.isoformat()} is in the future.", "Give a moment that has passed.")
    evaluated_ms = floor_to_evaluation(at or now)
    if at is None:  # as the schedule does: with every month since the last evaluation
        request = tick_request(watch.decisions(), evaluated_ms, run_key="", first_month=watch.settings.first_month)
        month, tags = request.partition_key, dict(request.tags) | {LIVE_TAG: "true"}
    else:
        month = _key(month_start(from_ms(evaluated_ms - Timeframe.M15.ms)))
        first = watch.settings.first_month
        if month < first:
            problem = f"{at.isoformat()} is before {first}, the first month."
            raise ConfigError(problem, "Give a later moment, or set first_month.")
        tags = {EVALUATED_AT_TAG: from_ms(evaluated_ms).isoformat(), LIVE_TAG: "false"}
    made = execute(home, chosen, EVALUATION_JOB, partition_key=month, tags=tags)
    return _evaluations_at(FrameStore(watch.frames_root), watch.decisions(), _evaluated_ms(made))


def _evaluated_ms(result: dg.ExecuteInProcessResult) -> int:
    """The evaluation that a run was made for: the exchange's newest, where this machine's clock is wrong."""
    made = [event.step_materialization_data.materialization for event in result.get_asset_materialization_events()]
    said = [one.metadata[EVALUATED_AT].value for one in made if EVALUATED_AT in one.metadata]
    return floor_to_evaluation(datetime.fromisoformat(str(said[-1])))


def _evaluations_at(store: FrameStore, journal: Journal, evaluated_ms: int) -> list[GridEvaluation]:
    """What the frames say of an evaluation."""
    from mm_pipeline.reporting.grid_report import state_since

    at = from_ms(evaluated_ms)
    newest_bar = from_ms(evaluated_ms - Timeframe.M15.ms)
    found = []
    for kind, dataset in _DATASETS.items():
        for grid_id in store.keys(dataset):
            try:
                stored = store.read(dataset, grid_id, start=previous_month(newest_bar), end=at)
            except FrameMissing:
                continue
            rows = as_made(store, dataset, grid_id, stored)
            if rows.is_empty() or rows["evaluated_at"][-1] != at:
                continue
            row = rows.row(-1, named=True)
            versions = journal.grid_versions(grid_id)
            found.append(
                GridEvaluation(
                    grid_id=grid_id,
                    grid=next((v.grid for v in versions if v.grid.version_hash == row["grid_version"]), None),
                    kind=kind,
                    evaluated_at=at,
                    state=row["state"],
                    since=state_since(rows),
                    price=row["price"],
                    fired=fired_in(row),
                    triggers={name: row[name] for name in TRIGGERS if row.get(name) is not None},
                    reasons=tuple(row["reasons"]),
                    last_known_state=row.get("last_known_state"),
                    rows=rows,
                )
            )
    return sorted(found, key=lambda evaluation: (evaluation.grid_id, evaluation.kind))


def _key(month: datetime) -> str:
    return f"{month:%Y-%m}"
