"""How a stage takes its turn among the writers of frames."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import wraps
from typing import Any, Final

import dagster as dg

from mm_pipeline.adapters.journal import Incident
from mm_pipeline.application.subjects import PIPELINE
from mm_pipeline.application.watch import Watch

LIVE_TAG: Final = "mm/live"
REFETCH_TAG: Final = "mm/refetch"
"""Of a run that asks for all candles of its months once more."""
BACKFILL_TAG: Final = "dagster/backfill"
WRITER_STUCK: Final = "writer_stuck"
"""Code of a notice that a tick went on although another process held the frames."""

_ENDED: Final = frozenset({dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.FAILURE})
_EVERY: Final = timedelta(hours=4)


def in_turn(stage: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """The stage, which holds the writers' lock from its first line until its last output is stored."""

    @wraps(stage)
    def run(context: dg.AssetExecutionContext, watch: Watch, **inputs: Any) -> Iterator[Any]:
        with turn(context, watch):
            yield from stage(context, watch, **inputs)

    return run


@contextmanager
def turn(context: dg.AssetExecutionContext, watch: Watch) -> Iterator[None]:
    """Hold the writers' lock; a tick goes before all other runs, and on without it where it does not come.

    Raises
    ------
    DagsterExecutionInterruptedError
        When the run was ended from outside: its process, stopped or slow, must not write after that.
    StorageError
        When another process keeps the lock for too long from a run that is no tick.
    """
    what = f"{context.run.job_name} {context.run.run_id}, {context.op_execution_context.op.name}"
    if not is_urgent(context.run):
        with watch.turns().ordinary(what):
            _check_goes_on(context)
            yield
        return
    with watch.turns().urgent(what) as stuck:
        _check_goes_on(context)
        if stuck is not None:
            _tell_stuck(context, watch, stuck)
        yield


def is_urgent(run: dg.DagsterRun) -> bool:
    """Whether grids wait for this run: a tick, by schedule, sensor or ``mm evaluate``."""
    return run.tags.get(LIVE_TAG) == "true" and BACKFILL_TAG not in run.tags


def _check_goes_on(context: dg.AssetExecutionContext) -> None:
    run = context.instance.get_run_by_id(context.run.run_id)
    if run is not None and run.status in _ENDED:
        raise dg.DagsterExecutionInterruptedError(f"the run was ended from outside ({run.status.value})")


def _tell_stuck(context: dg.AssetExecutionContext, watch: Watch, holder: str) -> None:
    """Journal it and page it: a process that hangs is the operator's to end."""
    message = f"Another process holds the frames and does not let them go ({holder}). This tick goes on without it."
    context.log.error(message)
    journal, now = watch.decisions(), watch.now()
    journal.record_notices([Incident(market=PIPELINE, tick_at=now, code=WRITER_STUCK, message=message)])
    watch.delivery().alarms.raise_about(
        WRITER_STUCK,
        "A process that writes frames hangs",
        f"{message}\n\nGrids are judged all the same, minutes late. End that process.",
        every=_EVERY,
    )
