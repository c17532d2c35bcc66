"""What waits before a tick, in Dagster's real storage: the sensor alarms, the doctor names it, and both only read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin

from mm_pipeline import bootstrap
from mm_pipeline.adapters.clock import FixedClock, SystemClock
from mm_pipeline.cli.doctor.findings import Finding
from mm_pipeline.cli.doctor.watch import watch as watch_findings
from mm_pipeline.cli.up.family import only_one
from mm_pipeline.orchestration.code_location import build_definitions
from mm_pipeline.orchestration.jobs import EVALUATION_JOB
from mm_pipeline.orchestration.resources import watch_resource
from mm_pipeline.orchestration.run_queue import pool_limit, waiting_ticks
from mm_pipeline.orchestration.runs import dagster_instance
from mm_pipeline.orchestration.sensors import run_queue
from mm_pipeline.orchestration.turns import BACKFILL_TAG, LIVE_TAG
from mm_pipeline.settings import load_settings
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, FixedSources, Installation

pytestmark = DAGSTER_WARNINGS
POLICY = load_settings().supervision
MINUTE = timedelta(minutes=1)
LOCATION = RegisteredCodeLocationOrigin("mm_pipeline")
ORIGIN = RemoteRepositoryOrigin(LOCATION, "__repository__").get_job_origin(EVALUATION_JOB)


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    made = Installation(tmp_path, FixedSources({}))
    monkeypatch.setenv("MM_HOME", str(made.home))
    return made


@pytest.fixture
def instance(installation: Installation) -> Iterator[dg.DagsterInstance]:
    with dagster_instance(installation.home) as made:
        made.event_log_storage.initialize_concurrency_limit_to_default("frames")
        yield made


def queue_run(instance: dg.DagsterInstance, run_id: str, status: str = "QUEUED", **tags: str) -> None:
    run = dg.DagsterRun(
        job_name=EVALUATION_JOB,
        run_id=run_id,
        status=dg.DagsterRunStatus(status),
        tags={LIVE_TAG: "true", **tags},
        remote_job_origin=ORIGIN,
    )
    instance.add_run(run)


def sense(installation: Installation, instance: dg.DagsterInstance, now: datetime) -> list[str]:
    """Titles of the alarms in the journal after a look of the sensor."""
    definitions = build_definitions(installation.overrides(now))
    resources = {"watch": watch_resource(lambda: bootstrap.installation(installation.overrides(now)))}
    with dg.build_sensor_context(
        instance, resources=resources, repository_def=definitions.get_repository_def()
    ) as context:
        assert run_queue.evaluate_tick(context).run_requests == []
    with installation.journal() as journal:
        return sorted(page.title for page in journal.notifications.pages(since=now - 10 * MINUTE, notice="ALARM"))


def test_live_evaluations_that_have_not_begun_are_found_and_nothing_else(instance: dg.DagsterInstance) -> None:
    queue_run(instance, "00000000-0000-0000-0000-000000000001")
    queue_run(instance, "00000000-0000-0000-0000-000000000002", "STARTING")
    queue_run(instance, "00000000-0000-0000-0000-000000000003", "STARTED")
    queue_run(instance, "00000000-0000-0000-0000-000000000004", **{BACKFILL_TAG: "b"})
    queue_run(instance, "00000000-0000-0000-0000-000000000005", **{LIVE_TAG: "false"})
    assert [tick.run_id[-1] for tick in waiting_ticks(instance)] == ["1", "2"]


def test_sensor_alarms_about_a_tick_that_waits_and_about_the_pool(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    queue_run(instance, "00000000-0000-0000-0000-000000000001")
    now = SystemClock().now()
    assert sense(installation, instance, now + MINUTE) == []
    waits, limit = "BLIND: an evaluation waits and does not begin", "WATCH: the limit of the pool was changed"
    assert sense(installation, instance, now + 3 * MINUTE) == [waits]
    instance.event_log_storage.set_concurrency_slots("frames", 0)
    assert pool_limit(instance) == 0
    assert sense(installation, instance, now + 4 * MINUTE) == [waits, limit]
    assert sense(installation, instance, now + 5 * MINUTE) == [waits, limit], "each alarm is raised once"


def test_doctor_names_what_waits_the_pool_and_a_silent_daemon(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    def failing(minutes: int) -> dict[str, str]:
        clock = FixedClock(SystemClock().now() + minutes * MINUTE)
        findings: list[Finding] = list(watch_findings(POLICY, clock))
        return {finding.check: finding.seen for finding in findings if finding.status.value == "fail"}

    assert failing(0) == {}
    queue_run(instance, "00000000-0000-0000-0000-000000000001")
    instance.event_log_storage.set_concurrency_slots("frames", 2)
    assert set(failing(1)) == {"pool"}
    assert "limit of the pool frames is 2" in failing(1)["pool"]
    assert "1 evaluation(s) have waited for more than 2min" in failing(3)["queue"]
    with only_one(installation.home):
        assert "SENSOR" in failing(3)["daemon"]
