"""Row 37: runs of the past are removed, and nothing that anybody asks about: also when it is killed, or beside a tick.

On SQLite and on Postgres, with runs of real jobs.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
import yaml
from click.testing import CliRunner
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
from dagster._core.storage.runs.schema import RunsTable, RunTagsTable

from mm_pipeline.cli import main
from mm_pipeline.domain.housekeeping import HousekeepingPolicy
from mm_pipeline.orchestration.housekeeping import CleanUp, clean_up, due_clean_up
from mm_pipeline.orchestration.jobs import HOURLY_JOB, HOUSEKEEPING_JOB
from mm_pipeline.settings import load_settings
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, ETH, FixedSources, Installation, ranging_candles
from mm_pipeline_tests.postgres_server import session_server

pytestmark = DAGSTER_WARNINGS

AT = datetime(2025, 4, 1, 0, 15, tzinfo=UTC)
BAR = timedelta(minutes=15)
LATER = timedelta(hours=20)
TICKS = (AT - 2 * BAR, AT, AT + BAR, AT + 2 * BAR, AT + 3 * BAR)
"""One of March, and four of April; the first of these makes the candles of March anew."""
CANDLES = ranging_candles(datetime(2025, 2, 1, tzinfo=UTC), days=61)
SETTINGS = {"housekeeping": {"keep_runs_for": "1h"}}
STORAGE = Path("home", "dagster")
STEPS = 4
"""What a clean-up does for each run, one after the other."""


@dataclass
class Watched:
    """An installation with a Dagster storage that outlives a process."""

    installation: Installation
    instance: dg.DagsterInstance

    def due(self, *, later: timedelta = LATER, **changes: Any) -> CleanUp:
        """What a pass removes so long after now, of runs that are kept for an hour."""
        policy = load_settings().housekeeping.model_dump(mode="json") | {"keep_runs_for": "1h"}
        return due_clean_up(
            self.instance, HousekeepingPolicy.model_validate(policy | changes), datetime.now(UTC) + later
        )

    def runs(self) -> set[str]:
        return {run.run_id for run in self.instance.get_runs()}

    def asked(self) -> dict[str, Any]:
        """What people and Dagster ask: months that are made, their data versions, and newest results of checks."""
        storage, found = self.instance.event_log_storage, {}
        for key in self.instance.all_asset_keys():
            months = storage.get_latest_tags_by_partition(
                key, dg.DagsterEventType.ASSET_MATERIALIZATION, ["dagster/data_version"]
            )
            last = self.instance.get_latest_materialization_event(key)
            found[key.to_user_string()] = (dict(months), None if last is None else last.timestamp)
        checks = [key for definition in self._definitions() for key in definition.check_keys]
        for check, record in storage.get_latest_asset_check_execution_by_key(checks).items():
            found[f"{check.asset_key.to_user_string()} {check.name}"] = (record.run_id, record.status)
        return found

    def _definitions(self) -> list[Any]:
        from mm_pipeline.orchestration.code_location import ASSETS, CHECKS

        return [*ASSETS, *CHECKS]

    def left_of(self, run_id: str) -> list[str]:
        """Files whose name tells the run, and tables with rows of it."""
        files = [str(path) for path in Path(self.instance.root_directory).rglob(f"*{run_id}*")]
        of_events = self.instance.event_log_storage.index_connection
        tables = ((of_events, SqlEventLogStorageTable), (of_events, AssetCheckExecutionsTable))
        for connect, table in (
            *tables,
            *((self.instance.run_storage.connect, one) for one in (RunsTable, RunTagsTable)),
        ):
            with connect() as connection:
                rows = connection.execute(sa.select(table.c.run_id).where(table.c.run_id == run_id)).all()
            files += [table.name] if rows else []
        return files


@dg.op
def break_down() -> None:
    raise RuntimeError("as any op may")


@dg.job
def broken() -> None:
    break_down()


@dataclass(frozen=True)
class Home:
    """A folder with everything after some runs; each test gets a copy."""

    folder: Path
    database: str | None

    def copied(self, folder: Path) -> Path:
        """The folder of Dagster's storage of a copy."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        storage = folder / STORAGE
        if self.database is not None:
            write_storage(storage, session_server().new_database(like=self.database))
        return storage


def write_storage(storage: Path, database: str | None) -> None:
    storage.mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = {"telemetry": {"enabled": False}}
    if database is not None:
        settings["storage"] = {"postgres": {"postgres_url": database}}
    (storage / "dagster.yaml").write_text(yaml.safe_dump(settings))


def installed(folder: Path) -> Installation:
    made = Installation(folder, FixedSources({ETH: CANDLES}), settings=SETTINGS)
    made.grid("eth")
    return made


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("home")
    made = Home(folder, session_server().new_database() if request.param == "postgres" else None)
    installation = installed(folder)
    write_storage(folder / STORAGE, made.database)
    with dg.DagsterInstance.from_config(str(folder / STORAGE)) as instance:
        for tick in TICKS:
            installation.tick(tick, instance)
        installation.run(AT + 3 * BAR, instance, job=HOURLY_JOB, month="2025-04")
    return made


@pytest.fixture
def watched(home: Home, tmp_path: Path) -> Iterator[Watched]:
    storage = home.copied(tmp_path)
    with dg.DagsterInstance.from_config(str(storage)) as instance:
        yield Watched(installed(tmp_path), instance)


def test_37_runs_go_with_all_that_they_left_and_nothing_that_is_asked_for(watched: Watched) -> None:
    before, runs = watched.asked(), watched.runs()
    found = watched.due()
    assert len(found.run_ids) == 2, "the others are the newest of something"
    assert (found.kept, found.left) == (len(runs) - 2, 0)
    by_age = [record.dagster_run.run_id for record in watched.instance.get_run_records(ascending=True)]
    assert list(found.run_ids) == [run_id for run_id in by_age if run_id in found.run_ids], "the oldest first"
    for _step in clean_up(watched.instance, found):
        pass
    assert watched.asked() == before
    assert watched.runs() == runs - set(found.run_ids)
    assert [watched.left_of(run_id) for run_id in found.run_ids] == [[]] * 2
    assert watched.due().run_ids == ()


@pytest.mark.parametrize(
    ("later", "changes", "runs", "left"),
    [
        (LATER, {}, 2, 0),
        (LATER, {"runs_a_pass": 1}, 1, 1),
        (LATER, {"keep_runs_for": "21h"}, 0, 0),
        (timedelta(days=400), {"keep_runs_for": "23h"}, 2, 0),
        (timedelta(days=400), {"keep_runs_for": "25h"}, 0, 0),  # a clock that is a year ahead makes no run old
    ],
)
def test_37_settings_say_what_goes(
    watched: Watched, later: timedelta, changes: dict[str, Any], runs: int, left: int
) -> None:
    found = watched.due(later=later, **changes)
    assert (len(found.run_ids), found.left) == (runs, left)


def test_37_failed_runs_stay_longer(watched: Watched) -> None:
    failed = broken.execute_in_process(instance=watched.instance, raise_on_error=False).run_id
    assert failed not in watched.due(keep_failed_runs_for="21h").run_ids
    assert failed in watched.due(keep_failed_runs_for="19h").run_ids


def test_37_job_of_each_night_does_it_and_says_what_it_did(watched: Watched) -> None:
    before, runs, due = watched.asked(), watched.runs(), set(watched.due().run_ids)
    made = watched.installation.run(datetime.now(UTC) + LATER, watched.instance, job=HOUSEKEEPING_JOB)
    (output,) = made.filter_events(lambda event: event.event_type is dg.DagsterEventType.STEP_OUTPUT)
    counts = {name: value.value for name, value in output.step_output_data.metadata.items()}
    assert (counts["runs_removed"], counts["runs_left"]) == (len(due), 0)
    assert watched.runs() == (runs - due) | {made.run_id}
    assert watched.asked() == before


def test_37_command_says_first_what_it_would_remove(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    with watched.instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
        connection.execute(sa.update(RunsTable).values(create_timestamp=datetime.now(UTC) - timedelta(hours=2)))
    monkeypatch.setenv("MM_HOME", str(watched.installation.home))
    before, runs = watched.asked(), watched.runs()
    for options, left in ((["--dry-run"], len(runs)), ([], len(runs) - 2), ([], len(runs) - 2)):
        command = ["housekeep", "--settings", str(watched.installation.settings_file), *options]
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 0, done.output
        assert max(map(len, done.output.splitlines())) <= 80
        assert len(watched.runs()) == left
        assert done.output.startswith(("2 runs would be removed", "2 runs removed", "0 runs removed"))
    told = json.loads(CliRunner().invoke(main, [*command, "--json", "--dry-run"]).stdout)
    assert (told["runs"], told["kept"], told["left"], told["is_dry_run"]) == (0, len(runs) - 2, 0, True)
    assert watched.asked() == before


@pytest.mark.parametrize("steps", range(1, STEPS + 1))
def test_37_killed_after_any_step_it_goes_on_and_loses_nothing(watched: Watched, steps: int) -> None:
    before, runs = watched.asked(), watched.runs()
    due = watched.due()
    with closing(clean_up(watched.instance, due)) as begun:  # type: ignore[type-var] # a generator can be closed
        assert len(list(islice(begun, steps))) == steps
    assert watched.asked() == before
    assert set(watched.due().run_ids) == set(due.run_ids) - ({due.run_ids[0]} if steps == STEPS else set())
    for _step in clean_up(watched.instance, watched.due()):
        pass
    assert watched.asked() == before
    assert watched.runs() == runs - set(due.run_ids)
    assert [watched.left_of(run_id) for run_id in due.run_ids] == [[]] * len(due.run_ids)


def test_37_tick_in_the_middle_of_it_is_stored_and_decides_as_ever(watched: Watched) -> None:
    steps = clean_up(watched.instance, watched.due())
    assert len(list(islice(steps, STEPS + 1))) == STEPS + 1
    result = watched.installation.tick(AT + 4 * BAR, watched.instance)
    assert result.success
    after_tick = watched.asked()
    for _step in steps:
        pass
    assert watched.asked() == after_tick
    rows = watched.installation.read("exit_states", "eth", start=AT - BAR, end=AT + 5 * BAR)
    assert rows["evaluated_at"].to_list() == [AT + number * BAR for number in range(5)]
