"""Row 48 by real processes: a backfill that is killed, hung up on or long keeps no tick from beginning."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from mm_pipeline.orchestration.runs import opened_instance
from mm_pipeline_tests.effort import IS_SEARCH
from mm_pipeline_tests.up_process import MM, installation, running, wait_for

pytestmark = [pytest.mark.fault, pytest.mark.slow]

GRID = """id: eth
exchange: kucoin
symbol: ETH/USDT
enabled: true
lower: 2900
upper: 3100
levels: 6
spacing: arithmetic
stop_loss: 2800
capital: {capital}
fee: 0.001
started_at: 2026-03-01T00:00:00Z
"""
PERIOD_S = 15 * 60
UNDER_WAY = [dg.DagsterRunStatus.STARTED]


class Watched:
    """A home whose `mm up` runs, seen through Dagster's own storage."""

    def __init__(self, folder: Path, settings: Path) -> None:
        self.home = folder / "home"
        self.settings = settings
        self.grids = folder / "grids"
        self._edits = 0

    def edit(self) -> None:
        """Change the grid file: a sensor asks for a tick."""
        self._edits += 1
        (self.grids / "eth.yaml").write_text(GRID.format(capital=1000 + self._edits))

    def records(self, **filters: object) -> list[dg.RunRecord]:
        with opened_instance(self.home) as instance:
            return list(instance.get_run_records(dg.RunsFilter(**filters)))  # type: ignore[arg-type]

    def ticks(self) -> list[dg.RunRecord]:
        return self.records(tags={"mm/live": "true", "dagster/sensor_name": "grid_files"})

    def tick(self) -> dg.RunRecord:
        """Ask for a tick and wait until it has ended."""
        known = {record.dagster_run.run_id for record in self.ticks()}
        self.edit()

        def ended() -> list[dg.RunRecord]:
            return [
                record
                for record in self.ticks()
                if record.dagster_run.run_id not in known and record.dagster_run.is_finished
            ]

        wait_for(ended, "a tick")
        return ended()[0]

    @contextmanager
    def backfill(self) -> Iterator[subprocess.Popen[bytes]]:
        """A real `mm backfill` over nine months, whose run is under way and in a stage."""
        known = {record.dagster_run.run_id for record in self.records()}
        months = ("--from", "2026-03-01", "--to", "2026-11-29", "--again")
        command = [str(MM), "backfill", "--settings", str(self.settings), *months]
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as a terminal's child hears it
        with subprocess.Popen(
            command,
            env=os.environ | {"MM_HOME": str(self.home)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            try:
                wait_for(lambda: self.started(known) or process.poll() is not None, "the backfill's run")
                assert process.poll() is None
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def started(self, known: set[str]) -> list[dg.RunRecord]:
        return [
            record
            for record in self.records(statuses=UNDER_WAY, tags={"mm/live": "false"})
            if record.dagster_run.run_id not in known
        ]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("row48")
    grids = folder / "grids"
    grids.mkdir()
    made = Watched(folder, installation(folder, grids=grids))
    made.edit()
    with running(made.home, "--settings", str(made.settings)) as (_, output):
        output.until("Ctrl-C stops")
        wait_for(lambda: any(record.dagster_run.is_finished for record in made.ticks()), "the first tick")
        yield made


@pytest.mark.parametrize("number", [signal.SIGKILL, *([signal.SIGHUP] if IS_SEARCH else [])])
def test_48_tick_begins_after_a_backfill_was_killed_and_the_dead_run_is_ended(
    watched: Watched, number: signal.Signals
) -> None:
    known = {record.dagster_run.run_id for record in watched.records()}
    with watched.backfill() as process:
        (dead,) = watched.started(known)
        process.send_signal(number)
        process.wait(60)
    tick = watched.tick()
    assert tick.dagster_run.status is dg.DagsterRunStatus.SUCCESS
    (found,) = watched.records(run_ids=[dead.dagster_run.run_id])
    assert found.dagster_run.status in {dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}


def test_48_tick_begins_and_ends_while_a_long_backfill_runs(watched: Watched) -> None:
    with watched.backfill() as process:
        tick = watched.tick()
        assert process.poll() is None, "the backfill was too short to show anything"
    assert tick.dagster_run.status is dg.DagsterRunStatus.SUCCESS
    assert tick.start_time is not None
    waited_s = tick.start_time - tick.create_timestamp.timestamp()
    assert waited_s < PERIOD_S


def test_48_run_that_is_cancelled_while_it_holds_the_pool_lets_the_next_tick_begin(watched: Watched) -> None:
    """Row 38: by the API, which finds no server that started this process; the run is CANCELING then."""
    known = {record.dagster_run.run_id for record in watched.records()}
    with watched.backfill() as process:
        (record,) = watched.started(known)
        with opened_instance(watched.home) as instance:
            instance.report_run_canceling(record.dagster_run)
        tick = watched.tick()
        process.terminate()
        process.wait(60)
    assert tick.dagster_run.status is dg.DagsterRunStatus.SUCCESS
    (found,) = watched.records(run_ids=[record.dagster_run.run_id])
    assert found.dagster_run.status is dg.DagsterRunStatus.CANCELED
