"""Which runs still have a process: each holds a lock file in Dagster's home, and the dead are ended by whoever looks.

Dagster sees the end of a process that its own code server started. It does not see that of a command (``mm backfill``
executes in its own process), nor of any process when the code server ended with it. Such a run would stay STARTED,
and would keep the only slot of the pool from every tick.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import dagster as dg

from mm_pipeline.adapters.clock import Clock, SystemClock
from mm_pipeline.adapters.writing import FileLock

FIRST_STAGE_WITHIN_S: Final = 60.0
"""A run takes its lock in its first stage, seconds after it has started."""

_FOLDER: Final = "run_locks"
_HOLD_WITHIN_S: Final = 5.0
_POLL_S: Final = 0.05
_IN_PROGRESS: Final = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_HELD: dict[str, FileLock] = {}


def hold_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Show until this process ends, or :func:`let_go`, that the run has a process."""
    if run_id in _HELD or not instance.is_persistent:
        return
    lock = FileLock(_path(instance, run_id))
    end_s = time.monotonic() + _HOLD_WITHIN_S
    while not lock.try_take(run_id):  # somebody is looking whether it is held
        if time.monotonic() >= end_s:
            return
        time.sleep(_POLL_S)
    _HELD[run_id] = lock


def let_go(instance: dg.DagsterInstance, run_id: str) -> None:
    """The run has ended, though this process goes on."""
    lock = _HELD.pop(run_id, None)
    if lock is not None:
        lock.free()
        with suppress(OSError):
            _path(instance, run_id).unlink()


def forget_lock(instance: dg.DagsterInstance, run_id: str) -> None:
    """Remove the lock file of a run that is removed itself."""
    if instance.is_persistent:
        with suppress(OSError):
            _path(instance, run_id).unlink()


def end_dead_runs(instance: dg.DagsterInstance, *, clock: Clock | None = None) -> list[str]:
    """Mark runs as failed whose process is gone; one that was being cancelled is then cancelled.

    Returns
    -------
    list of str
        What was ended, in words.
    """
    if not instance.is_persistent:
        return []
    now_s = (clock or SystemClock()).now().timestamp()
    ended = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=_IN_PROGRESS)):
        run = record.dagster_run
        if run.run_id in _HELD or not _is_dead(instance, record, now_s):
            continue
        found = instance.get_run_by_id(run.run_id)
        if found is None or found.status not in _IN_PROGRESS:
            continue  # it ended by itself, and its process after it
        message = f"{run.job_name} {run.run_id}: the process that executed it is gone."
        if found.status is dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(found, message)
        else:
            instance.report_run_failed(found, message)
        ended.append(message)
    _sweep(instance)
    return ended


def _is_dead(instance: dg.DagsterInstance, record: dg.RunRecord, now_s: float) -> bool:
    path = _path(instance, record.dagster_run.run_id)
    lock = FileLock(path)
    if lock.holder():  # written by the process that took it
        is_free = lock.try_take("looking whether it is held")
        lock.free()
        return is_free
    is_ours = record.dagster_run.run_op_concurrency is not None and _is_of_this_machine(instance)
    return is_ours and record.start_time is not None and now_s - record.start_time > FIRST_STAGE_WITHIN_S


def _is_of_this_machine(instance: dg.DagsterInstance) -> bool:
    """Whether all runs of the instance lock files in this home: not where Dagster's storage is a server's."""
    return "Sqlite" in type(instance.run_storage).__name__


def _sweep(instance: dg.DagsterInstance) -> None:
    """Remove lock files of runs that have ended."""
    with suppress(OSError):
        names = [path.name for path in (Path(instance.root_directory) / _FOLDER).iterdir()]
        for run_id in names:
            run = None if run_id in _HELD else instance.get_run_by_id(run_id)
            if run is not None and run.is_finished:
                _path(instance, run_id).unlink()


def _path(instance: dg.DagsterInstance, run_id: str) -> Path:
    return Path(instance.root_directory) / _FOLDER / run_id
