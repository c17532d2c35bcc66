"""Rows 25 and 38: a run that hangs is ended by run monitoring, one whose process is gone at once by whoever looks."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._daemon.monitoring.run_monitoring import monitor_started_run

from mm_pipeline.adapters.clock import Clock, FixedClock, SystemClock
from mm_pipeline.adapters.journal import Journal, sqlite_url
from mm_pipeline.domain.candles import CandleSource, CircuitStore
from mm_pipeline.orchestration import jobs
from mm_pipeline.orchestration.assets.declaration import POOL
from mm_pipeline.orchestration.run_locks import end_dead_runs, hold_run, let_go
from mm_pipeline.orchestration.runs import dagster_instance
from mm_pipeline.settings import Settings
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, FixedSources, Installation

pytestmark = [pytest.mark.fault, *DAGSTER_WARNINGS]

HOLDING = (
    "import sys, time, warnings; from pathlib import Path; warnings.simplefilter('ignore')\n"
    "from mm_pipeline.orchestration.run_locks import hold_run\n"
    "from mm_pipeline.orchestration.runs import opened_instance\n"
    "with opened_instance(Path(sys.argv[1])) as instance:\n"
    "    hold_run(instance, sys.argv[2]); print('held', flush=True); time.sleep(600)"
)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dagster_instance(tmp_path / "home") as made:
        yield made


@dg.asset(pool=POOL)
def frames() -> None:
    """Anything that takes the pool."""


def started(instance: dg.DagsterInstance, **tags: str) -> dg.DagsterRun:
    """A run of the pool that has started, as its record says."""
    job = dg.Definitions(assets=[frames], jobs=[dg.define_asset_job("job")]).resolve_job_def("job")
    run = instance.create_run_for_job(job, tags=tags)
    instance.report_dagster_event(
        dg.DagsterEvent(event_type_value=dg.DagsterEventType.RUN_START.value, job_name="job"), run.run_id
    )
    return run


def status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def monitored(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    """What run monitoring makes of a run."""
    record = instance.get_run_record_by_id(run.run_id)
    assert record is not None
    workspace: Any = None
    monitor_started_run(instance, workspace, record, logging.getLogger("monitor"))
    return status(instance, run)


def test_25_tick_that_hangs_is_ended_by_its_own_limit(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal(sqlite_url(tmp_path / "journal.db")) as journal:
        now_ms = int(datetime(2025, 3, 1, tzinfo=UTC).timestamp() * 1000)
        calm = started(instance, **jobs.tick_request(journal, now_ms, "calm", first_month="2022-01").tags)
        monkeypatch.setattr(jobs, "TICK_MAX_RUNTIME_S", -1)  # a tick that has run for longer than it may
        hung = started(instance, **jobs.tick_request(journal, now_ms, "hung", first_month="2022-01").tags)
    assert monitored(instance, calm) is dg.DagsterRunStatus.STARTED
    assert monitored(instance, hung) is dg.DagsterRunStatus.FAILURE


def test_25_no_run_may_keep_the_pool_from_more_than_one_tick(instance: dg.DagsterInstance) -> None:
    assert jobs.TICK_MAX_RUNTIME_S + instance.run_monitoring_poll_interval_seconds < 15 * 60
    assert instance.run_monitoring_max_runtime_seconds + instance.run_monitoring_poll_interval_seconds < 15 * 60
    assert instance.run_monitoring_cancel_timeout_seconds <= 60


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_48_run_whose_process_is_gone_is_ended_and_one_that_lives_is_not(
    instance: dg.DagsterInstance, number: signal.Signals
) -> None:
    run, cancelled = started(instance), started(instance)
    arguments = [sys.executable, "-c", HOLDING, str(Path(instance.root_directory).parent)]
    with (
        subprocess.Popen([*arguments, run.run_id], stdout=subprocess.PIPE, text=True) as first,
        subprocess.Popen([*arguments, cancelled.run_id], stdout=subprocess.PIPE, text=True) as second,
    ):
        for process in (first, second):
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
        instance.report_run_canceling(cancelled)
        assert end_dead_runs(instance) == []
        assert status(instance, run) is dg.DagsterRunStatus.STARTED
        for process in (first, second):
            process.send_signal(number)
            process.wait()
    assert len(end_dead_runs(instance)) == 2
    assert status(instance, run) is dg.DagsterRunStatus.FAILURE
    assert status(instance, cancelled) is dg.DagsterRunStatus.CANCELED
    assert end_dead_runs(instance) == []


def test_48_run_that_never_reached_its_first_stage_is_ended_after_a_minute(instance: dg.DagsterInstance) -> None:
    run, own = started(instance), started(instance)
    hold_run(instance, own.run_id)
    now = SystemClock().now()
    assert end_dead_runs(instance, clock=FixedClock(now + timedelta(seconds=30))) == []
    assert len(end_dead_runs(instance, clock=FixedClock(now + timedelta(seconds=90)))) == 1
    assert status(instance, run) is dg.DagsterRunStatus.FAILURE
    assert status(instance, own) is dg.DagsterRunStatus.STARTED
    let_go(instance, own.run_id)


class AskedSources(FixedSources):
    """Notes which runs show that they have a process while they ask an exchange."""

    def __init__(self, locks: Path) -> None:
        super().__init__({})
        self.locks = locks
        self.shown: list[set[str]] = []

    def open(
        self, exchanges: Collection[str], *, settings: Settings, clock: Clock, circuits: CircuitStore
    ) -> Mapping[str, CandleSource]:
        self.shown.append({file.name for file in self.locks.glob("*") if f"process {os.getpid()}" in file.read_text()})
        return super().open(exchanges, settings=settings, clock=clock, circuits=circuits)


def test_48_run_that_waits_for_an_exchange_shows_that_it_has_a_process(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    """It may wait for minutes, and was taken for a dead one after the first."""
    sources = AskedSources(Path(instance.root_directory) / "run_locks")
    made = Installation(tmp_path, sources)
    made.grid("eth")
    result = made.tick(datetime(2025, 3, 3, 14, tzinfo=UTC), instance, raises=False)
    let_go(instance, result.run_id)
    assert sources.shown
    assert sources.shown[0] == {result.run_id}


def test_48_home_that_is_opened_has_its_dead_runs_ended(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    run = started(instance)
    (Path(instance.root_directory) / "run_locks").mkdir()
    (Path(instance.root_directory) / "run_locks" / run.run_id).write_text("process 1: of yesterday")
    with dagster_instance(tmp_path / "home") as again:
        assert status(again, run) is dg.DagsterRunStatus.FAILURE
