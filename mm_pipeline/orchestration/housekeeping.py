"""Runs that nobody asks about any more, removed with all that they left, so that the home stays bounded.

A run stays while it is young, failed not long ago, or holds the newest materialization of a partition or the newest
result of a check. One that is not the newest never becomes it, so that ticks may go on meanwhile. Its row is removed
last: a pass that is killed leaves a run that the next one finds again.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

from mm_pipeline.domain.housekeeping import HousekeepingPolicy
from mm_pipeline.orchestration.jobs import HOUSEKEEPING_JOB
from mm_pipeline.orchestration.resources import WatchResource
from mm_pipeline.orchestration.run_locks import forget_lock

_FINISHED: Final = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.CANCELED]
_FAILED: Final = [dg.DagsterRunStatus.FAILURE]
_BESIDE: Final = ("", "-wal", "-shm")
"""Endings of the files of an SQLite database."""
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class CleanUp:
    """What a pass found.

    Attributes
    ----------
    run_ids
        Runs that it removes, the oldest first, failed ones last.
    kept
        Runs that are old enough and stay: each is the newest that made a partition or a check.
    left
        Runs that the next pass removes.
    size_bytes
        Files that go with the runs.
    """

    run_ids: tuple[str, ...]
    kept: int
    left: int
    size_bytes: int


def due_clean_up(instance: dg.DagsterInstance, policy: HousekeepingPolicy, now: datetime) -> CleanUp:
    """What a pass would remove. Where the clock is ahead of all runs by more than a day, the newest of them counts."""
    last = instance.get_run_records(limit=1)
    today = min(now, last[0].create_timestamp + _DAY) if last else now
    old = [
        run_id
        for statuses, keep in ((_FINISHED, policy.keep_runs_for), (_FAILED, policy.keep_failed_runs_for))
        for run_id in reversed(instance.get_run_ids(dg.RunsFilter(statuses=statuses, created_before=today - keep)))
    ]
    newest = _newest_runs(instance)
    due = [run_id for run_id in old if run_id not in newest]
    chosen = tuple(due[: policy.runs_a_pass])
    size = sum(file.stat().st_size for run_id in chosen for file in _files(instance, run_id))
    return CleanUp(run_ids=chosen, kept=len(old) - len(due), left=len(due) - len(chosen), size_bytes=size)


def clean_up(instance: dg.DagsterInstance, found: CleanUp) -> Iterator[str]:
    """Remove runs, one after the other.

    Yields
    ------
    str
        After each step what was done: a test, or a kill, may end it there.
    """
    storage = _events(instance)
    for run_id in found.run_ids:
        with storage.index_connection() as connection:
            connection.execute(AssetCheckExecutionsTable.delete().where(AssetCheckExecutionsTable.c.run_id == run_id))
        yield f"{run_id}: checks"
        with storage.index_connection() as connection:  # SQLite's log of the run itself goes with its file
            storage.delete_events_for_run(connection, run_id)
        yield f"{run_id}: events"
        for file in _files(instance, run_id):
            with suppress(FileNotFoundError):
                file.unlink()
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        forget_lock(instance, run_id)
        yield f"{run_id}: files"
        instance.run_storage.delete_run(run_id)
        yield f"{run_id}: run"


@dg.op(description="Removes runs that nobody asks about any more: see the settings, housekeeping.")
def remove_old_runs(context: dg.OpExecutionContext, watch: WatchResource) -> None:
    """One pass; what it removed stands in the metadata of its output."""
    found = due_clean_up(context.instance, watch.settings.housekeeping, watch.now())
    for step in clean_up(context.instance, found):
        context.log.debug(step)
    context.add_output_metadata(
        {
            "runs_removed": len(found.run_ids),
            "runs_kept_as_the_newest": found.kept,
            "runs_left": found.left,
            "bytes": found.size_bytes,
        }
    )


@dg.job(name=HOUSEKEEPING_JOB, description="Keeps the home bounded: runs of the past go, with all that they left.")
def housekeeping() -> None:
    """One pass a day."""
    remove_old_runs()


def _newest_runs(instance: dg.DagsterInstance) -> set[str]:
    """Runs that made a partition of an asset last, or a check, of all or of a partition."""
    events, checks = SqlEventLogStorageTable.c, AssetCheckExecutionsTable.c
    made = events.dagster_event_type == dg.DagsterEventType.ASSET_MATERIALIZATION.value
    last_made = sa.select(sa.func.max(events.id)).where(made).group_by(events.asset_key, events.partition)
    last_checked = sa.select(sa.func.max(checks.id)).group_by(checks.asset_key, checks.check_name, checks.partition)
    with _events(instance).index_connection() as connection:
        found = [
            connection.execute(sa.select(columns.run_id).where(columns.id.in_(last))).scalars().all()
            for columns, last in ((events, last_made), (checks, last_checked))
        ]
    return {run_id for some in found for run_id in some}


def _events(instance: dg.DagsterInstance) -> SqlEventLogStorage:
    """Dagster has no question for the newest run of every partition, nor one that removes results of checks."""
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        raise TypeError(f"{type(storage).__name__} is no SQL storage")
    return storage


def _files(instance: dg.DagsterInstance, run_id: str) -> list[Path]:
    """Files of a run: its own event log, where that is SQLite's, and what its steps printed."""
    storage = instance.event_log_storage
    shard = [f"{storage.path_for_shard(run_id)}{end}" for end in _BESIDE] if hasattr(storage, "path_for_shard") else []
    printed = Path(instance.storage_directory()) / run_id
    return [file for file in (*map(Path, shard), *printed.rglob("*")) if file.is_file()]
