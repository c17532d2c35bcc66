"""Asset ``kpis``: a block of rows a month from the journal, with its contract; a page belongs to its bar's month."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from mm_pipeline import bootstrap
from mm_pipeline.application.isolation import CONTRACT
from mm_pipeline.contracts.operator import KPIS
from mm_pipeline.domain.notifications import Notice, ResponseKind
from mm_pipeline.orchestration.assets.kpis import kpi_frames, kpis
from mm_pipeline.orchestration.io_managers import frames_io_manager
from mm_pipeline.orchestration.jobs import RANGE_END_TAG, RANGE_START_TAG
from mm_pipeline.orchestration.resources import watch_resource
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, QUIET, FixedSources, Installation
from mm_pipeline_tests.journal_samples import grid
from mm_pipeline_tests.operator_samples import answer, commit, decision, send

pytestmark = DAGSTER_WARNINGS
MARCH, APRIL, MAY = (datetime(2025, month, 1, tzinfo=UTC) for month in (3, 4, 5))
MINUTE = timedelta(minutes=1)
NOW = datetime(2025, 4, 10, 12, 5, tzinfo=UTC)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """Two pages about ``eth``: at the last evaluation of March, answered in April, and in April."""
    made = Installation(tmp_path, FixedSources({}))
    with made.journal() as journal:
        journal.observe_grids([grid("eth", started_at=MARCH), grid("calm", started_at=MARCH)], MARCH)
        for at in (APRIL, APRIL + timedelta(days=3)):
            page = commit(journal, decision(Notice.MANDATORY_EXIT, at), decided_at=at + MINUTE)
            send(journal, page, at + 2 * MINUTE)
            answer(journal, ResponseKind.ACKNOWLEDGED, at + 5 * MINUTE, page=page)
    return made


def materialize(installation: Installation, **asked: object) -> dg.ExecuteInProcessResult:
    made = bootstrap.installation(installation.overrides(NOW))
    with dg.DagsterInstance.ephemeral() as instance:
        definitions = dg.Definitions(
            assets=[kpis],
            jobs=[dg.define_asset_job("kpi_job", selection=[kpis])],
            resources={
                "watch": watch_resource(lambda: made),
                "io_manager": frames_io_manager(lambda: made),
            },
        )
        job = definitions.resolve_job_def("kpi_job")
        return job.execute_in_process(instance=instance, run_config=QUIET, **asked)  # type: ignore[arg-type]


def stored(installation: Installation, key: str, start: datetime, end: datetime) -> pl.DataFrame:
    return installation.store.read("kpis", key, start=start, end=end)


def test_month_has_the_pages_of_its_bars_and_reaches_to_the_newest_evaluation(installation: Installation) -> None:
    result = materialize(installation, partition_key="2025-04")
    assert result.success
    frame = stored(installation, "eth", APRIL, MAY)
    assert frame.select("evaluated_at", "notice", "pages", "acknowledge_p50_s").rows() == [
        (datetime(2025, 4, 10, 12, tzinfo=UTC), "MANDATORY_EXIT", 1, 180.0)
    ]
    assert stored(installation, "calm", APRIL, MAY).is_empty()
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed, check.asset_key) == (CONTRACT, True, dg.AssetKey("kpis"))


def test_backfill_of_months_has_a_block_of_rows_each_with_answers_that_came_after(installation: Installation) -> None:
    months = {RANGE_START_TAG: "2025-02", RANGE_END_TAG: "2025-04"}
    assert materialize(installation, tags=months).success
    frame = stored(installation, "eth", MARCH - timedelta(days=28), MAY)
    KPIS.check(frame)
    assert frame.select("evaluated_at", "pages", "acknowledge_p50_s", "answered_in_window_share").rows() == [
        (APRIL, 1, 180.0, 1.0),
        (datetime(2025, 4, 10, 12, tzinfo=UTC), 1, 180.0, 1.0),
    ]


def test_month_that_has_not_begun_is_empty(installation: Installation) -> None:
    with installation.watch(datetime(2025, 4, 1, 0, 5, tzinfo=UTC)) as watch:
        plan = watch.plan(start=APRIL, end=MAY, evaluated_ms=int(APRIL.timestamp() * 1000), is_live=False)
        assert all(frame.is_empty() for frame in kpi_frames(watch, plan).values())
