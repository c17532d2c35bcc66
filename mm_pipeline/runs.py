"""Runs started from Python: one evaluation now or as of a moment, and backfills. The commands call this.

Schedules and sensors do not belong here; they start the same jobs through Dagster's daemon.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
import polars as pl

from mm_pipeline.adapters.clock import from_ms, to_ms
from mm_pipeline.adapters.frame_store import FrameMissing, FrameStore
from mm_pipeline.adapters.home import HOME_VARIABLE, dagster_dir, data_home, mm_home
from mm_pipeline.adapters.journal import EvaluationKind, Journal
from mm_pipeline.adapters.last_resort import Outcome, RoomState, is_storage_failure
from mm_pipeline.adapters.months import month_start, next_month, previous_month
from mm_pipeline.assets.candles import FRESH
from mm_pipeline.assets.journalling import fired_in
from mm_pipeline.assets.stage import CONTRACT, FIRST_MONTH, LIVE_TAG, MONTHS
from mm_pipeline.automation import EVALUATION_JOB, RANGE_END_TAG, RANGE_START_TAG, tick_request
from mm_pipeline.definitions import Overrides, build_definitions, storage_guard_of, watch_of
from mm_pipeline.domain.errors import ConfigError, PipelineError, StorageError
from mm_pipeline.domain.exit_state import TRIGGERS
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.resources.last_resort import dagster_failed
from mm_pipeline.resources.plan import floor_to_evaluation
from mm_pipeline.resources.run_moment import EVALUATED_AT_TAG
from mm_pipeline.settings import Deployment

if TYPE_CHECKING:
    from dagster._core.events.log import EventLogEntry

INSTANCE_SETTINGS: Final = Path(__file__).parent / "settings" / "dagster.yaml"
_QUIET: Final = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_DATASETS: Final = {EvaluationKind.EXIT: "exit_states", EvaluationKind.ENTRY: "entry_states"}

OnProgress = Callable[[str, int, int], None]
"""Called with what has just been done, how many steps are done, and how many there are."""


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
    guard = storage_guard_of(chosen)
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
    watch = watch_of(chosen)
    now = watch.now()
    if at is not None and at > now:
        raise ConfigError(f"{at.isoformat()} is in the future.", "Give a moment that has passed.")
    evaluated_ms = floor_to_evaluation(at or now)
    if at is None:  # as the schedule does: with every month since the last evaluation
        request = tick_request(watch.decisions(), evaluated_ms, run_key="")
        month, tags = request.partition_key, dict(request.tags) | {LIVE_TAG: "true"}
    else:
        month = _key(month_start(from_ms(evaluated_ms - Timeframe.M15.ms)))
        if month < FIRST_MONTH:
            raise ConfigError(f"{at.isoformat()} is before {FIRST_MONTH}, the first month.", "Give a later moment.")
        tags = {EVALUATED_AT_TAG: from_ms(evaluated_ms).isoformat(), LIVE_TAG: "false"}
    _run(home, chosen, EVALUATION_JOB, partition_key=month, tags=tags)
    try:
        return _evaluations_at(FrameStore(watch.frames_root), watch.decisions(), evaluated_ms)
    finally:
        watch.journal.close()


def backfill(
    deployment: Deployment,
    start: datetime,
    end: datetime,
    on_progress: OnProgress | None = None,
    *,
    on_problem: Callable[[str], None] | None = None,
    overrides: Overrides | None = None,
) -> list[str]:
    """Materialize every month that ``[start, end)`` touches, in one run; months that have not begun are left out.

    ``on_problem`` is told what a check found wrong with a market or a grid; the others are materialized all the same.

    Returns
    -------
    list of str
        Keys of the months (``2024-02``).

    Raises
    ------
    ConfigError
        When the range is empty, or not within the months that can be materialized.
    PipelineError
        When the run failed.
    """
    chosen = replace(overrides or Overrides(), deployment=deployment)
    keys = [key for key in MONTHS.get_partition_keys() if _touches(key, start, end)]
    if not keys:
        raise ConfigError(
            f"no month from {MONTHS.get_first_partition_key()} to now lies in {start:%Y-%m-%d} to {end:%Y-%m-%d}.",
            "Give days between these.",
        )
    tags = {RANGE_START_TAG: keys[0], RANGE_END_TAG: keys[-1], LIVE_TAG: "false"}
    _run(chosen.home or mm_home(), chosen, EVALUATION_JOB, tags=tags, on_progress=on_progress, on_problem=on_problem)
    return keys


@contextmanager
def dagster_instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """Dagster's own storage under the home, made and configured where it is not there yet.

    Raises
    ------
    StorageError
        When the home cannot be written, or Dagster's own storage fails.
    """
    folder = dagster_dir(home)
    settings = folder / "dagster.yaml"
    try:
        if not settings.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            settings.write_text(INSTANCE_SETTINGS.read_text())
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be made: {error.strerror or error}.",
            f"Check the path and its permissions, or set {HOME_VARIABLE} to another folder.",
        ) from error
    try:
        with dg.DagsterInstance.from_config(str(folder)) as instance:
            yield instance
    except Exception as error:
        if isinstance(error, PipelineError) or not is_storage_failure(error):
            raise
        raise dagster_failed(error, home) from error


def _run(
    home: Path,
    overrides: Overrides,
    job: str,
    *,
    tags: dict[str, str],
    partition_key: str | None = None,
    on_progress: OnProgress | None = None,
    on_problem: Callable[[str], None] | None = None,
) -> None:
    definition = build_definitions(overrides).resolve_job_def(job)
    run_id = str(uuid.uuid4())
    with dagster_instance(home) as instance:
        if on_progress is not None:
            instance.add_event_listener(run_id, _listener(on_progress, len(definition.nodes)))
        result = definition.execute_in_process(
            instance=instance,
            run_id=run_id,
            partition_key=partition_key,
            tags=tags,
            run_config=_QUIET,
            raise_on_error=False,
        )
    if not result.success:
        failed = [event for event in result.all_events if event.is_step_failure]
        last = _cause(failed[-1]) if failed else "no step says why"
        kind = StorageError if "StorageError" in last else PipelineError
        raise kind(f"the run {run_id} failed: {last}", "Its log in the Dagster UI has the whole story.")
    if on_problem is not None:
        for problem in _problems_of(result.all_events):
            on_problem(problem)


def _problems_of(events: Sequence[dg.DagsterEvent]) -> list[str]:
    """What the contract checks, which every stage has, and the one of fresh candles say of markets and grids."""
    evaluated = [event for event in events if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION]
    return [
        f"{check.asset_key.path[-1]}, {key}: {value.value}"
        for check in (event.asset_check_evaluation_data for event in evaluated)
        if not check.passed and check.check_name in {CONTRACT, FRESH}
        for key, value in check.metadata.items()
    ]


def _cause(failed: dg.DagsterEvent) -> str:
    """What the step itself raised, and not that Dagster saw it fail."""
    error = failed.step_failure_data.error
    if error is None:
        return str(failed.message)
    told = (error.cause or error).message.strip()
    return told.splitlines()[0].removeprefix(f"{PipelineError.__module__}.")


def _listener(on_progress: OnProgress, total: int) -> Callable[[EventLogEntry], None]:
    done = 0

    def listen(entry: EventLogEntry) -> None:
        nonlocal done
        event = entry.dagster_event
        if event is not None and event.is_step_success:
            done += 1
            on_progress(event.step_key or "", done, total)

    return listen


def _evaluations_at(store: FrameStore, journal: Journal, evaluated_ms: int) -> list[GridEvaluation]:
    """What the frames say of an evaluation."""
    from mm_pipeline.reporting.grid_report import state_since

    at = from_ms(evaluated_ms)
    newest_bar = from_ms(evaluated_ms - Timeframe.M15.ms)
    found = []
    for kind, dataset in _DATASETS.items():
        for grid_id in store.keys(dataset):
            try:
                rows = store.read(dataset, grid_id, start=previous_month(newest_bar), end=at)
            except FrameMissing:
                continue
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
    return MONTHS.get_partition_key_for_timestamp(to_ms(month) / 1000)


def _touches(key: str, start: datetime, end: datetime) -> bool:
    month = MONTHS.time_window_for_partition_key(key).start
    return start < next_month(month + timedelta(days=1)) and month < end
