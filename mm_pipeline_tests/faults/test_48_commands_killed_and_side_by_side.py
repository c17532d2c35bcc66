"""Row 48 by real commands: a backfill that is killed or hung up on, and an evaluation while one writes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from mm_pipeline.adapters.config.home import frames_dir
from mm_pipeline.adapters.frames.store import FrameStore
from mm_pipeline.cli.paper_exchange import simulated_markets
from mm_pipeline.domain.months import month_start
from mm_pipeline.orchestration.runs import opened_instance
from mm_pipeline.paper.exchange import PaperExchange
from mm_pipeline_tests.up_process import MM

pytestmark = [pytest.mark.fault, pytest.mark.slow]

WAIT_S = 900.0
"""Nothing here takes a hundredth of this on an idle machine."""
STATES = ("exit_states", "positions", "risk", "grid_analysis")


class Home:
    """A real home, and a paper exchange of its own."""

    def __init__(self, folder: Path, paper_url: str, started_at: datetime) -> None:
        self.folder = folder
        self.home = folder / "home"
        (folder / "grids").mkdir()
        (folder / "grids" / "eth.yaml").write_text(
            "id: eth\nexchange: kucoin\nsymbol: ETH/USDT\nenabled: true\nlower: 2900\nupper: 3100\nlevels: 6\n"
            "spacing: arithmetic\nstop_loss: 2800\ncapital: 1000\nfee: 0.001\n"
            f"started_at: {started_at:%Y-%m-%dT%H:%M:%SZ}\n"
        )
        (folder / "settings.yaml").write_text(f"exchange: paper\npaper_url: {paper_url}\ngrids: grids\n")

    @contextmanager
    def command(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """A real `mm` command, which hears a hang-up as one in a terminal does."""
        before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        try:
            started = subprocess.Popen(
                [str(MM), *arguments, "--settings", str(self.folder / "settings.yaml")],
                env=os.environ | {"MM_HOME": str(self.home)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        finally:
            signal.signal(signal.SIGHUP, before)
        with started as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    @contextmanager
    def backfill(self, since: datetime) -> Iterator[tuple[subprocess.Popen[str], str]]:
        """A backfill whose run has begun to work, and the run's id."""
        known = {record.dagster_run.run_id for record in self.records()}
        with self.command(
            "backfill", "--from", f"{since:%Y-%m-%d}", "--to", f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"
        ) as process:
            end_s = time.monotonic() + WAIT_S
            while time.monotonic() < end_s and process.poll() is None:
                begun = [
                    record.dagster_run.run_id
                    for record in self.records()
                    if record.start_time and record.dagster_run.run_id not in known
                ]
                if begun:
                    yield process, begun[0]
                    return
                time.sleep(0.1)
            pytest.fail(f"the backfill did not begin: {process.stdout and process.stdout.read()}")

    def evaluate(self) -> str:
        """One `mm evaluate`; what it printed."""
        with self.command("evaluate", "--json") as process:
            printed, _ = process.communicate(timeout=WAIT_S)
        assert process.returncode in {0, 1}, printed
        return printed

    def records(self) -> list[dg.RunRecord]:
        with opened_instance(self.home) as instance:
            return list(instance.get_run_records())

    def status(self, run_id: str) -> dg.DagsterRunStatus:
        return next(record.dagster_run.status for record in self.records() if record.dagster_run.run_id == run_id)

    def newest(self, dataset: str) -> datetime:
        """Newest evaluation that is stored."""
        store = FrameStore(str(frames_dir(self.home / "paper")))
        now = datetime.now(UTC)
        found: datetime = store.read(
            dataset, "eth", start=month_start(now - timedelta(days=2)), end=now + timedelta(days=40)
        )["evaluated_at"][-1]
        return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    now = datetime.now(UTC)
    with PaperExchange(markets=simulated_markets(["kucoin:ETH/USDT"], seed=0, at=now)) as paper:
        yield Home(tmp_path_factory.mktemp("row48"), paper.url, now - timedelta(days=3))


def test_48_backfill_that_is_killed_is_ended_before_the_next_evaluation(home: Home) -> None:
    with home.backfill(datetime.now(UTC) - timedelta(days=3)) as (process, run_id):
        process.send_signal(signal.SIGKILL)
        process.wait(WAIT_S)
    home.evaluate()
    assert home.status(run_id) in {dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
    assert all(record.dagster_run.is_finished for record in home.records())


def test_48_evaluation_while_a_backfill_writes_the_same_month_keeps_its_rows(home: Home) -> None:
    with home.backfill(datetime.now(UTC) - timedelta(days=40)) as (process, _):
        home.evaluate()
        evaluated = {dataset: home.newest(dataset) for dataset in STATES}
        printed, _ = process.communicate(timeout=WAIT_S)
    assert "months" in printed or "month," in printed
    assert len(set(evaluated.values())) == 1
    after = {dataset: home.newest(dataset) for dataset in STATES}
    assert all(after[dataset] >= evaluated[dataset] for dataset in STATES)
    assert all(record.dagster_run.status is not dg.DagsterRunStatus.STARTED for record in home.records())
