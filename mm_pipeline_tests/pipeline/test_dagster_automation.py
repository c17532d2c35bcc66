"""Schedules ask for the right months, on their edges and after a gap; sensors see changed grids and failed runs."""

from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._utils.schedules import cron_string_iterator

from mm_pipeline import bootstrap
from mm_pipeline.adapters.journal import Evaluation, Incident, Journal, sqlite_url
from mm_pipeline.application.plan import floor_to_evaluation
from mm_pipeline.application.subjects import PIPELINE
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.grid import Grid
from mm_pipeline.orchestration.code_location import build_definitions
from mm_pipeline.orchestration.jobs import HISTORY_JOB, PRIORITY_TAG
from mm_pipeline.orchestration.resources import watch_resource
from mm_pipeline.orchestration.run_moment import EVALUATED_AT_TAG
from mm_pipeline.orchestration.schedules import EVALUATION_CRON, every_15_minutes, every_hour
from mm_pipeline.orchestration.sensors import OTHER_RUN_FAILED, RUN_FAILED, blind_since, grid_files, watch_is_blind
from mm_pipeline.orchestration.turns import LIVE_TAG
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, ETH, FixedSources, Installation, ranging_candles

pytestmark = DAGSTER_WARNINGS
AT = datetime(2025, 3, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    made = Installation(tmp_path, FixedSources({}))
    made.grid("eth", started_at="2025-01-01T00:00:00Z")
    return made


def evaluated(grid: str, at: datetime) -> Evaluation:
    return Evaluation(
        grid=grid,
        evaluated_at=at,
        kind=EvaluationKind.EXIT,
        input_hash="0",
        state="NORMAL",
        price=1.0,
        fired=(),
        triggers={},
        reasons=(),
        grid_version="v",
        settings_hash="s",
        code_version="c",
        is_live=True,
        recorded_at=at,
    )


def remember(installation: Installation, **last: datetime) -> None:
    """Journal the grid files as they are, and one evaluation of each of the given grids."""
    with installation.watch(AT) as watch:
        grids: list[Grid] = list(watch.grid_folder().grids)
        watch.decisions().observe_grids(grids, grids[0].started_at)
        watch.decisions().record_evaluations(evaluated(grid, at) for grid, at in last.items())


def tick(installation: Installation, at: datetime, schedule: dg.ScheduleDefinition = every_15_minutes) -> Any:
    definitions = build_definitions(installation.overrides(at))
    with dg.build_schedule_context(
        scheduled_execution_time=at,
        resources={"watch": watch_resource(lambda: bootstrap.installation(installation.overrides(at)))},
        repository_def=definitions.get_repository_def(),
    ) as context:
        (request,) = schedule.evaluate_tick(context).run_requests or ()
    return request


@pytest.mark.parametrize(
    ("scheduled", "evaluation", "month"),
    [
        ("2025-03-20T12:16", "2025-03-20T12:15", "2025-03"),
        ("2025-04-01T00:01", "2025-04-01T00:00", "2025-03"),
        ("2025-04-01T00:16", "2025-04-01T00:15", "2025-04"),
        ("2025-01-01T00:01", "2025-01-01T00:00", "2024-12"),
        ("2024-02-29T23:46", "2024-02-29T23:45", "2024-02"),
    ],
)
def test_tick_evaluates_the_newest_close_in_the_month_of_its_bar(
    installation: Installation, scheduled: str, evaluation: str, month: str
) -> None:
    request = tick(installation, datetime.fromisoformat(f"{scheduled}Z"))
    assert request.partition_key == month
    assert request.tags["mm/evaluated_at"] == f"{evaluation}:00+00:00"
    assert request.run_key == f"exit_evaluation {evaluation}:00+00:00"


def test_tick_leaves_the_queue_before_hourly_runs_and_these_before_backfills(installation: Installation) -> None:
    ranks = [int(tick(installation, AT, schedule).tags[PRIORITY_TAG]) for schedule in (every_15_minutes, every_hour)]
    backfills = build_definitions(installation.overrides(AT)).resolve_job_def(HISTORY_JOB).tags
    assert ranks[0] > ranks[1] > int(backfills.get(PRIORITY_TAG, "0"))


def test_hourly_run_belongs_to_the_month_of_the_newest_bar(installation: Installation) -> None:
    assert tick(installation, datetime(2025, 4, 1, 0, 5, tzinfo=UTC), every_hour).partition_key == "2025-03"
    assert tick(installation, datetime(2025, 4, 2, 1, 5, tzinfo=UTC), every_hour).partition_key == "2025-04"


def test_hourly_run_counts_the_month_before_for_a_day_more(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    at = datetime(2025, 4, 1, 1, 5, tzinfo=UTC)
    request = tick(installation, at, every_hour)
    assert [request.tags[name] for name in RANGE_TAGS] == ["2025-03", "2025-04"]
    assert request.partition_key is None
    installation.sources.candles[ETH] = ranging_candles(datetime(2024, 12, 20, tzinfo=UTC), 110)
    installation.tick(at - timedelta(minutes=5), instance)
    result = installation.run(at, instance, job="hourly_metrics", tags=request.tags)
    made = [event for event in result.get_asset_materialization_events() if event.asset_key == dg.AssetKey("kpis")]
    assert {event.partition for event in made} == {"2025-03", "2025-04"}


@pytest.mark.parametrize("month", [2, 3, 10, 12])
def test_every_day_has_96_evaluations_also_when_clocks_change(installation: Installation, month: int) -> None:
    start = datetime(2025, month, 1, tzinfo=UTC)
    cron = cron_string_iterator(start.timestamp(), EVALUATION_CRON, every_15_minutes.execution_timezone)
    ticks = list(takewhile(lambda at: at < start + timedelta(days=31), cron))
    evaluations = {floor_to_evaluation(at) for at in ticks}
    assert len(ticks) == len(evaluations) == 31 * 96


def test_gap_within_the_month_is_left_to_the_run(installation: Installation) -> None:
    remember(installation, eth=AT - timedelta(days=5))
    request = tick(installation, AT + timedelta(minutes=1))
    assert request.partition_key == "2025-03"
    assert not set(RANGE_TAGS) & set(request.tags)


def test_gap_from_an_earlier_month_asks_for_one_run_over_all_months(installation: Installation) -> None:
    remember(installation, eth=datetime(2025, 1, 31, 23, 45, tzinfo=UTC))
    request = tick(installation, AT + timedelta(minutes=1))
    assert request.partition_key is None
    assert [request.tags[name] for name in RANGE_TAGS] == ["2025-01", "2025-03"]


@pytest.mark.parametrize(
    ("first_month", "months"), [("2025-02", ["2025-02", "2025-03"]), ("2025-03", ["2025-03"]), ("2024-12", None)]
)
def test_gap_before_the_first_month_asks_for_no_month_that_is_not_there(
    tmp_path: Path, first_month: str, months: list[str] | None
) -> None:
    made = Installation(tmp_path, FixedSources({}), settings={"first_month": first_month})
    made.grid("eth", started_at="2025-01-01T00:00:00Z")
    remember(made, eth=datetime(2025, 1, 31, 23, 45, tzinfo=UTC))
    request = tick(made, AT + MINUTE)
    found = [request.tags[name] for name in RANGE_TAGS if name in request.tags] or [request.partition_key]
    assert found == (months or ["2025-01", "2025-03"])


def test_hourly_run_of_the_first_month_asks_for_none_before_it(tmp_path: Path) -> None:
    made = Installation(tmp_path, FixedSources({}), settings={"first_month": "2025-04"})
    assert tick(made, datetime(2025, 4, 1, 1, 5, tzinfo=UTC), every_hour).partition_key == "2025-04"


def test_last_evaluation_at_the_very_end_of_a_month_asks_for_the_next_alone(installation: Installation) -> None:
    remember(installation, eth=datetime(2025, 3, 1, tzinfo=UTC))
    assert tick(installation, AT + timedelta(minutes=1)).partition_key == "2025-03"


def test_grid_that_is_new_or_gone_makes_no_gap(installation: Installation) -> None:
    installation.grid("gone")
    installation.grid("new")
    remember(installation, eth=AT - timedelta(minutes=15), gone=datetime(2025, 1, 1, tzinfo=UTC))
    with installation.watch(AT) as watch:
        kept = [grid for grid in watch.grid_folder().grids if grid.id != "gone"]
        watch.decisions().observe_grids(kept, AT - timedelta(days=1))
        assert watch.decisions().retire_grid("gone", AT - timedelta(hours=1), by="me")
    assert tick(installation, AT + timedelta(minutes=1)).partition_key == "2025-03"


@pytest.mark.parametrize(("enabled", "months"), [(False, ["2025-03"]), (True, ["2025-01", "2025-03"])])
def test_disabled_grid_that_has_not_begun_makes_no_gap(tmp_path: Path, enabled: bool, months: list[str]) -> None:
    """It was evaluated until its start was moved; an enabled one is told of at each evaluation all the same."""
    made = Installation(tmp_path, FixedSources({}))
    made.grid("eth", started_at="2025-01-01T00:00:00Z")
    made.grid("plan", started_at="2025-01-01T00:00:00Z", enabled=enabled)
    remember(made, eth=AT, plan=datetime(2025, 1, 20, tzinfo=UTC))
    made.grid("plan", started_at="2026-01-01T00:00:00Z", enabled=enabled)
    with made.watch(AT) as watch:
        watch.decisions().observe_grids(list(watch.grid_folder().grids), AT)
    request = tick(made, AT + timedelta(minutes=16))
    found = [request.tags[name] for name in RANGE_TAGS if name in request.tags] or [request.partition_key]
    assert found == months


def test_journal_that_cannot_be_read_still_asks_for_the_run_that_says_so(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mm_pipeline.adapters.journal import Journal
    from mm_pipeline.domain.errors import StorageError

    def fails(*_: object) -> list[str]:
        raise StorageError("no database.", "Start it.")

    monkeypatch.setattr(Journal, "known_grids", fails)
    assert tick(installation, AT + timedelta(minutes=1)).partition_key == "2025-03"


def sense(installation: Installation, cursor: str | None, now: datetime = AT) -> Any:
    definitions = build_definitions(installation.overrides(now))
    with (
        dg.DagsterInstance.ephemeral() as instance,
        dg.build_sensor_context(
            instance,
            cursor=cursor,
            resources={"watch": watch_resource(lambda: bootstrap.installation(installation.overrides(now)))},
            repository_def=definitions.get_repository_def(),
        ) as context,
    ):
        return grid_files.evaluate_tick(context)


def test_changed_grid_file_asks_for_one_evaluation(installation: Installation) -> None:
    first = sense(installation, None, AT + timedelta(minutes=7))
    assert [request.partition_key for request in first.run_requests] == ["2025-03"]
    assert first.run_requests[0].tags["mm/evaluated_at"] == AT.isoformat()
    assert sense(installation, first.cursor).run_requests == []
    installation.grid("eth", upper=3101)
    second = sense(installation, first.cursor)
    assert len(second.run_requests) == 1
    assert second.cursor != first.cursor
    assert second.run_requests[0].run_key != first.run_requests[0].run_key


def test_file_edited_to_and_fro_within_one_bar_is_evaluated_each_time(installation: Installation) -> None:
    keys, cursor = set(), sense(installation, None, AT).cursor
    for number, upper in enumerate((3101, 3102, 3101, 3102), start=1):
        installation.grid("eth", upper=upper)
        result = sense(installation, cursor, AT + number * timedelta(seconds=30))
        keys |= {request.run_key for request in result.run_requests}
        cursor = result.cursor
    assert len(keys) == 4


def test_file_of_the_same_content_under_another_name_is_a_change(installation: Installation) -> None:
    cursor = sense(installation, None).cursor
    folder = installation.folder / "grids"
    (folder / "eth.yaml").rename(folder / "other.yaml")
    assert len(sense(installation, cursor).run_requests) == 1


def test_grid_file_that_cannot_be_read_is_named(installation: Installation) -> None:
    (installation.folder / "grids" / "bad.yaml").write_text("id: bad\n")
    cursor = sense(installation, None).cursor
    assert "bad.yaml" in sense(installation, cursor).skip_message


def failing_run(installation: Installation, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    """A live run that cannot write its frames."""
    installation.sources.candles[ETH] = ranging_candles(datetime(2024, 12, 20, tzinfo=UTC), 100)
    (installation.home).mkdir(exist_ok=True)
    (installation.home / "frames").write_text("a file where the folder should be")
    return installation.tick(AT, instance, raises=False)


def sense_failure(
    installation: Installation, instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult, at: datetime
) -> None:
    """What the sensor does about a live evaluation that failed so at a moment."""
    (event,) = [event for event in result.all_events if event.is_run_failure]
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    with dg.build_run_status_sensor_context(
        sensor_name="watch_is_blind",
        dagster_event=event,
        dagster_instance=instance,
        dagster_run=run.with_tags({**run.tags, EVALUATED_AT_TAG: at.isoformat(), LIVE_TAG: "true"}),
        resources={"watch": watch_resource(lambda: bootstrap.installation(installation.overrides(at + MINUTE)))},
    ).for_run_failure() as context:
        watch_is_blind(context)


def test_failed_run_is_journalled_and_logged_as_an_error(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    result = failing_run(installation, instance)
    assert not result.success
    sense_failure(installation, instance, result, AT)
    with installation.journal() as journal:
        (notice,) = journal.notices(PIPELINE)
    assert (notice.code, notice.tick_at) == ("run_failed", AT)
    assert "the watch was blind" in notice.message
    assert result.run_id in notice.message


@pytest.mark.parametrize(("good", "began"), [(1, [0, 0, 3, 3, 6]), (2, [0, 0, 0, 0, 0]), (3, [0, 0, 0, 0, 0])])
def test_outage_is_over_after_as_many_good_evaluations_in_a_row(tmp_path: Path, good: int, began: list[int]) -> None:
    bar = timedelta(minutes=15)
    failed = [AT, AT + bar, AT + 3 * bar, AT + 4 * bar, AT + 6 * bar]
    with Journal(sqlite_url(tmp_path / "journal.db")) as journal:
        for tick_at in failed:
            notice = Incident(market=PIPELINE, tick_at=tick_at, code=RUN_FAILED, message="")
            journal.record_notices([notice])
        other = Incident(market=PIPELINE, tick_at=AT + 2 * bar, code=OTHER_RUN_FAILED, message="")
        journal.record_notices([other])
        found = [blind_since(journal, tick_at, good=good) for tick_at in failed]
    assert found == [AT + number * bar for number in began]


@dg.op
def broken() -> None:
    raise RuntimeError("killed")


@dg.job(name="exit_evaluation")
def broken_tick() -> None:
    broken()


@pytest.mark.parametrize(("flapping_of", "alarms"), [(2, 5), (3, 1)])
def test_tick_that_fails_now_and_then_is_one_outage_within_flapping_of(
    tmp_path: Path, instance: dg.DagsterInstance, flapping_of: int, alarms: int
) -> None:
    """Every third fails, with two good ones between."""
    rules = {"notify": {"unknown": {"flapping_count": 2, "flapping_of": flapping_of}}}
    made = Installation(tmp_path, FixedSources({}), {"channels": [{"name": "log", "kind": "console"}], **rules})
    result = broken_tick.execute_in_process(instance=instance, raise_on_error=False)
    for number in range(5):
        sense_failure(made, instance, result, AT + number * timedelta(minutes=45))
    with made.journal() as journal:
        assert len(journal.notifications.pages()) == alarms


def test_blindness_of_nine_days_is_one(tmp_path: Path) -> None:
    bar = timedelta(minutes=15)
    with Journal(sqlite_url(tmp_path / "journal.db")) as journal:
        notices = (
            Incident(market=PIPELINE, tick_at=AT + number * bar, code=RUN_FAILED, message="")
            for number in range(9 * 96)
        )
        journal.record_notices(notices)
        assert {blind_since(journal, AT + number * bar, good=8) for number in range(0, 9 * 96, 50)} == {AT}
