"""A backfill from Python: a run a month, which gives way to ticks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from mm_pipeline.adapters.config.home import mm_home
from mm_pipeline.adapters.frames.store import FrameStore
from mm_pipeline.application.backfill import BackfillPlan, MonthMade, estimated
from mm_pipeline.application.frames_status import plan_of_month
from mm_pipeline.application.months_due import ASKED_FOR, months_due
from mm_pipeline.application.watch import Watch
from mm_pipeline.bootstrap import Overrides, installation
from mm_pipeline.domain.errors import ConfigError, PipelineError
from mm_pipeline.domain.months import next_month, parse_month
from mm_pipeline.orchestration.assets.declaration import months_from
from mm_pipeline.orchestration.checks import HOURS, HOURS_COMPARED, HOURS_TOLD
from mm_pipeline.orchestration.jobs import HISTORY_JOB
from mm_pipeline.orchestration.run_plan import nothing_to_do
from mm_pipeline.orchestration.runs.execution import OnProgress, dagster_instance, execute
from mm_pipeline.orchestration.runs.pace import pace_of, rows_made
from mm_pipeline.orchestration.turns import LIVE_TAG, REFETCH_TAG
from mm_pipeline.settings import Deployment

OnMonth = Callable[[MonthMade], None]


def months_in(deployment: Deployment, start: datetime, end: datetime, now: datetime) -> list[str]:
    """Keys of the months that ``[start, end)`` touches; those that have not begun at ``now`` are left out.

    Raises
    ------
    ConfigError
        When there is none, or none that can be materialized.
    """
    keys = [
        key
        for key in months_from(deployment.settings.first_month).get_partition_keys(current_time=now)
        if _touches(key, start, end)
    ]
    if not keys:
        raise ConfigError(
            f"no month from {deployment.settings.first_month} to now lies in {start:%Y-%m-%d} to {end:%Y-%m-%d}.",
            "Give days between these.",
        )
    return keys


def plan_backfill(
    deployment: Deployment,
    start: datetime,
    end: datetime,
    *,
    is_again: bool = False,
    overrides: Overrides | None = None,
) -> BackfillPlan:
    """What a backfill of the range has to do now: the months that are missing or stale, or all with ``is_again``.

    Raises
    ------
    ConfigError
        As :func:`months_in`.
    """
    chosen = replace(overrides or Overrides(), deployment=deployment)
    watch = Watch(installation(chosen))
    try:
        months = [parse_month(key) for key in months_in(deployment, start, end, watch.now())]
        found = dict.fromkeys(months, (ASKED_FOR,)) if is_again else months_due(watch, months)
        due = {month: reasons for month, reasons in found.items() if reasons}
        with dagster_instance(chosen.home or mm_home()) as instance:
            pace = pace_of(instance, FrameStore(watch.frames_root), deployment.settings.backfill)
        estimate = estimated((plan_of_month(watch, month) for month in due), pace)
        stay = {month: nothing_to_do(plan_of_month(watch, month)) for month in months if month not in due}
    finally:
        watch.close()
    return BackfillPlan(
        months={f"{month:%Y-%m}": reasons for month, reasons in due.items()},
        current=tuple(f"{month:%Y-%m}" for month, why in stay.items() if why is None),
        empty={f"{month:%Y-%m}": why for month, why in stay.items() if why is not None},
        estimate=estimate,
    )


def backfill(
    deployment: Deployment,
    months: Sequence[str],
    on_progress: OnProgress | None = None,
    *,
    is_refetch: bool = False,
    on_problem: Callable[[str], None] | None = None,
    on_month: OnMonth | None = None,
    overrides: Overrides | None = None,
) -> list[MonthMade]:
    """Materialize months, a run each, in their order.

    Between two months it gives way to a tick that is queued. ``on_problem`` is told what a check found wrong with a
    market or a grid; the others are materialized all the same. ``is_refetch`` asks for all candles of the months again.

    Raises
    ------
    PipelineError
        When a month's run failed; the months before it are done.
    """
    chosen = replace(overrides or Overrides(), deployment=deployment)
    done: list[MonthMade] = []
    told: set[str] = set()

    def tell(problem: str) -> None:
        if on_problem is not None and problem not in told:
            told.add(problem)
            on_problem(problem)

    for key in months:
        begun_s = time.perf_counter()
        try:
            result = execute(
                chosen.home or mm_home(),
                chosen,
                HISTORY_JOB,
                partition_key=key,
                tags={LIVE_TAG: "false", REFETCH_TAG: str(is_refetch).lower()},
                gives_way=deployment.settings.writing.give_way,
                on_progress=_of_all(on_progress, key, len(done), len(months)),
                on_problem=tell,
            )
        except PipelineError as error:
            so_far = f"{done[0].month} to {done[-1].month} are done" if done else "no month is done"
            raise PipelineError(f"{key}: {error.problem.removesuffix('.')} ({so_far}).", error.hint) from error
        done.append(_made(key, result, time.perf_counter() - begun_s))
        if on_month is not None:
            on_month(done[-1])
    return done


def _made(key: str, result: dg.ExecuteInProcessResult, seconds: float) -> MonthMade:
    events = result.get_asset_materialization_events()
    hours = _hours_of(result)
    return MonthMade(
        month=key,
        seconds=seconds,
        rows=rows_made([event.step_materialization_data.materialization for event in events]),
        hours_compared=hours.get(HOURS_COMPARED, 0),
        hours_differing=tuple(f"{one['market']} {one['hour']}: {one['problem']}" for one in hours.get("differing", ())),
        not_compared=tuple(f"{one['market']}: {one['why']}" for one in hours.get("not_compared", ())),
    )


def _hours_of(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """What the check of the exchange's own hours says; nothing where it could not be made."""
    for check in result.get_asset_check_evaluations():
        if check.check_name == HOURS and HOURS_TOLD in check.metadata:
            found: Any = check.metadata[HOURS_TOLD].value
            return {HOURS_COMPARED: check.metadata[HOURS_COMPARED].value, **found}
    return {}


def _of_all(on_progress: OnProgress | None, key: str, done: int, runs: int) -> OnProgress | None:
    """Progress of one of several runs as a part of the whole."""
    if on_progress is None:
        return None
    return lambda step, steps, of: on_progress(f"{key} ({done} of {runs} months): {step}", done * of + steps, runs * of)


def _touches(key: str, start: datetime, end: datetime) -> bool:
    month = parse_month(key)
    return start < next_month(month + timedelta(days=1)) and month < end
