"""How a command executes a job: in its own process, in the home's Dagster storage, and seen to end whatever ends it."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import dagster as dg

from mm_pipeline.adapters.dagster_folder import opening
from mm_pipeline.adapters.last_resort import is_storage_failure
from mm_pipeline.application.isolation import CONTRACT
from mm_pipeline.application.storage_guard import dagster_failed
from mm_pipeline.bootstrap import Overrides
from mm_pipeline.domain.errors import PipelineError, StorageError
from mm_pipeline.orchestration.assets.candles import FRESH
from mm_pipeline.orchestration.code_location import build_definitions
from mm_pipeline.orchestration.jobs import PRIORITY_TAG
from mm_pipeline.orchestration.run_locks import end_dead_runs, hold_run, let_go

if TYPE_CHECKING:
    from dagster._core.events.log import EventLogEntry

_QUIET: Final = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_BEFORE_END: Final = [
    *(dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED),
    *(dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED),
]
_POLL_S: Final = 0.25
_GIVEN_UP: Final[set[str]] = set()
"""Runs that were given way for once, and did not end: there may be no daemon to start them."""

OnProgress = Callable[[str, int, int], None]
"""Called with what has just been done, how many steps are done, and how many there are."""


@contextmanager
def opened_instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """Dagster's own storage under the home, made and configured where it is not there yet.

    Raises
    ------
    StorageError
        When the home cannot be written.
    """
    with ExitStack() as stack:
        with opening(home) as folder:
            instance = stack.enter_context(dg.DagsterInstance.from_config(str(folder)))
        yield instance


@contextmanager
def dagster_instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """The same; runs whose process is gone are ended first: none of them may keep the pool.

    Raises
    ------
    StorageError
        When the home cannot be written, or Dagster's own storage fails.
    """
    try:
        with opened_instance(home) as instance:
            end_dead_runs(instance)
            yield instance
    except Exception as error:
        if isinstance(error, PipelineError) or not is_storage_failure(error):
            raise
        raise dagster_failed(error, home) from error


def execute(
    home: Path,
    overrides: Overrides,
    job: str,
    *,
    tags: dict[str, str],
    partition_key: str | None = None,
    gives_way: timedelta | None = None,
    on_progress: OnProgress | None = None,
    on_problem: Callable[[str], None] | None = None,
) -> dg.ExecuteInProcessResult:
    definition = build_definitions(overrides).resolve_job_def(job)
    run_id = str(uuid.uuid4())
    with dagster_instance(home) as instance, _hangup_ends():
        if gives_way is not None:
            give_way(instance, gives_way)
        if on_progress is not None:
            instance.add_event_listener(run_id, _listener(on_progress, len(definition.nodes)))
        hold_run(instance, run_id)
        try:
            result = definition.execute_in_process(
                instance=instance,
                run_id=run_id,
                partition_key=partition_key,
                tags=tags,
                run_config=_QUIET,
                raise_on_error=False,
            )
        finally:
            let_go(instance, run_id)
    if not result.success:
        failed = [event for event in result.all_events if event.is_step_failure]
        last = _cause(failed[-1]) if failed else "no step says why"
        kind = StorageError if "StorageError" in last else PipelineError
        raise kind(f"the run {run_id} failed: {last}", "Its log in the Dagster UI has the whole story.")
    if on_problem is not None:
        for problem in _problems_of(result.all_events):
            on_problem(problem)
    return result


def give_way(instance: dg.DagsterInstance, limit: timedelta) -> None:
    """Wait while a run of a higher priority is queued or under way, each for at most so long.

    A run in this process has a place in the pool like any other, and a tick that is queued gets it only between two.
    """
    end_s = time.monotonic() + limit.total_seconds()
    while time.monotonic() < end_s:
        waiting = instance.get_runs(dg.RunsFilter(statuses=_BEFORE_END))
        if not any(_outranks(run) and run.run_id not in _GIVEN_UP for run in waiting):
            return
        time.sleep(_POLL_S)
    _GIVEN_UP.update(run.run_id for run in instance.get_runs(dg.RunsFilter(statuses=_BEFORE_END)))


def _outranks(run: dg.DagsterRun) -> bool:
    return int(run.tags.get(PRIORITY_TAG, "0")) > 0


@contextmanager
def _hangup_ends() -> Iterator[None]:
    """A terminal that closes ends the run as SIGTERM does, by which Dagster sees that it ended."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGHUP) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


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
