"""The product's definitions as code servers of tests load them: ticks when a test says, on a clock that it sets.

Schedules, and the sensors that no test here needs, are left out. A test steers by the files of one folder, which
``STEER`` names.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import dagster as dg

from mm_pipeline.adapters.clock import SystemClock
from mm_pipeline.adapters.config.home import mm_home
from mm_pipeline.application.plan import floor_to_evaluation
from mm_pipeline.orchestration import jobs, sensors
from mm_pipeline.orchestration.code_location import build_definitions
from mm_pipeline.orchestration.dead_runs import dead_runs
from mm_pipeline.orchestration.resources import WatchResource

STEER = "MM_TEST_STEER"
TOGETHER = "MM_TEST_TOGETHER"
"""Environment variable: how many homes a run waits for, each with a run of the same number; unset: none."""
STEADILY = "steadily"
"""What ``asked`` holds where a tick is to follow each that has ended; else a number, and each is one tick."""
UNDER_WAY = [
    *(dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING),
    *(dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING),
]


def told(name: str, otherwise: str) -> str:
    """Content of one file of the steering folder."""
    file = Path(os.environ[STEER]) / name
    return file.read_text() if file.exists() else otherwise


def _now_ms(_clock: SystemClock) -> int:
    return time.time_ns() // 1_000_000 + int(told("ahead_ms", "0"))


def _begin_together() -> None:
    """Wait in a run's own process until every home has one for the number that is asked for now."""
    homes = int(os.environ.get(TOGETHER, "0"))
    if not homes or multiprocessing.parent_process() is None:
        return
    folder, asked = Path(os.environ[STEER]), told("asked", STEADILY)
    (folder / f"began {asked} {mm_home().parent.name}").touch()
    while len(list(folder.glob(f"began {asked} *"))) < homes:
        time.sleep(0.02)


@dg.sensor(
    name="steered_ticks",
    job=jobs.exit_evaluation,
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def steered_ticks(context: dg.SensorEvaluationContext, watch: WatchResource) -> Any:
    """A tick as the schedule asks for it."""
    asked, now = told("asked", STEADILY), watch.now()
    if asked == context.cursor and asked != STEADILY:
        return dg.SkipReason("This one was asked for.")
    if context.instance.get_runs(dg.RunsFilter(statuses=UNDER_WAY), limit=1):
        return dg.SkipReason("A run is under way.")
    jobs.TICK_MAX_RUNTIME_S = int(told("max_runtime_s", "600"))  # type: ignore[misc]
    request = jobs.tick_request(
        watch.decisions(),
        floor_to_evaluation(now),
        f"{asked} {now.isoformat()}",
        first_month=watch.settings.first_month,
    )
    return dg.SensorResult(run_requests=[request], cursor=asked)


@dg.definitions
def defs() -> dg.Definitions:
    """What the code server loads."""
    SystemClock.now_ms = _now_ms  # type: ignore[method-assign, assignment]
    _begin_together()
    given = build_definitions()
    return dg.Definitions(
        assets=given.assets,
        asset_checks=given.asset_checks,
        jobs=given.jobs,
        sensors=[sensors.watch_is_blind, sensors.due_deliveries, dead_runs, steered_ticks],
        resources=given.resources,
        executor=given.executor,
    )
