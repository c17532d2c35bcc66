"""Row 25 on a real ``mm up``: a run that is killed or stopped, and a daemon and a code server that are stopped.

One start serves every test here: each goes on where the one before has left the watch.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml

from mm_pipeline.adapters.config.home import dagster_dir
from mm_pipeline.adapters.dagster_folder import INSTANCE_SETTINGS
from mm_pipeline.cli.paper_exchange import simulated_markets
from mm_pipeline.orchestration.jobs import MAX_RUNTIME_TAG
from mm_pipeline.orchestration.runs import opened_instance
from mm_pipeline.paper.exchange import PaperExchange
from mm_pipeline.paper.http.faults import Delayed, Rule
from mm_pipeline.paper.pushover import PaperPushover
from mm_pipeline_tests.clock_samples import Heart
from mm_pipeline_tests.delivery_process import ENVIRONMENT, TOKEN, USER
from mm_pipeline_tests.effort import IS_SEARCH
from mm_pipeline_tests.up_process import Output, kill, processes_of, running, wait_for

pytestmark = [
    pytest.mark.fault,
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked for in /proc"),
]

CODE_SERVER, DAEMON = "dagster api grpc", "dagster._daemon run"
STARTED = dg.DagsterRunStatus.STARTED
ENDED = {dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
GRID = """id: eth
exchange: kucoin
symbol: ETH/USDT
enabled: true
lower: 2900
upper: 3100
levels: 6
spacing: arithmetic
stop_loss: 1000
capital: {capital}
fee: 0.001
started_at: {started_at:%Y-%m-%dT00:00:00Z}
"""


@dataclass
class Watch:
    """A ``mm up`` on a fresh home, with an exchange, a phone and a heart."""

    folder: Path
    paper: PaperExchange
    phone: PaperPushover
    heart: Heart
    dagster: dg.DagsterInstance
    output: Output = field(init=False)
    first_hang: Rule = field(init=False)
    edits: int = 0

    @property
    def home(self) -> Path:
        """Of the watch."""
        return self.folder / "home"

    def edit(self) -> None:
        """Ask for a tick: the sensor of grid files sees another content."""
        self.edits += 1
        started_at = datetime.now(UTC) - timedelta(days=2)
        (self.folder / "grids" / "eth.yaml").write_text(GRID.format(capital=1000 + self.edits, started_at=started_at))

    def hang(self) -> Rule:
        """From now on the exchange answers nothing."""
        return self.paper.faults.add(Delayed(delay_s=900.0), path_contains="/kucoin/")

    def ticks(self) -> dict[str, dg.DagsterRunStatus]:
        """Status of every evaluation by its run's id."""
        found = self.dagster.get_runs(dg.RunsFilter(tags={"mm/live": "true"}))
        return {run.run_id: run.status for run in found}

    def hanging_tick(self, hang: Rule) -> tuple[str, int]:
        """The tick that waits for the exchange: its run, and the process that executes it."""
        wait_for(lambda: hang.hits and STARTED in self.ticks().values(), "a tick that asks the exchange")
        self.paper.faults.remove(hang)
        run = next(run for run, status in self.ticks().items() if status is STARTED)
        lock = dagster_dir(self.home) / "run_locks" / run
        return run, int(lock.read_text().partition(":")[0].removeprefix("process "))

    def heals(self) -> None:
        """The next tick that is asked for evaluates, and beats."""
        known, beats = self.ticks(), self.heart.beats
        self.edit()
        wait_for(
            lambda: dg.DagsterRunStatus.SUCCESS in {status for run, status in self.ticks().items() if run not in known},
            "the next evaluation",
        )
        assert self.heart.beats > beats

    def titles(self) -> set[str]:
        """Titles of what has reached the phone."""
        return {message.title for message in self.phone.messages}


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    folder, now = tmp_path_factory.mktemp("row25"), datetime.now(UTC)
    (folder / "grids").mkdir()
    home = folder / "home"
    dagster_dir(home).mkdir(parents=True)
    packaged = yaml.safe_load(INSTANCE_SETTINGS.read_text())
    packaged["run_monitoring"] |= {"poll_interval_seconds": 2, "cancel_timeout_seconds": 5}
    (dagster_dir(home) / "dagster.yaml").write_text(yaml.safe_dump(packaged))
    with ExitStack() as stack:
        markets = simulated_markets(["kucoin:ETH/USDT"], seed=0, at=now)
        paper = stack.enter_context(PaperExchange(markets=markets))
        phone = stack.enter_context(PaperPushover(token=TOKEN, user=USER))
        heart = Heart()
        stack.callback(heart.stop)
        opened = stack.enter_context(opened_instance(home))
        made = Watch(folder=folder, paper=paper, phone=phone, heart=heart, dagster=opened)
        keys = dict(zip(("token_env", "user_env"), ENVIRONMENT, strict=True))
        chosen = {
            **{"exchange": "paper", "paper_url": paper.url, "grids": "grids"},
            "channels": [{"name": "phone", "kind": "pushover", "api_url": phone.url, **keys}],
            "supervision": {"queued_for": "10s", "silent_for": "60s"},
        }
        settings = folder / "settings.yaml"
        settings.write_text(yaml.safe_dump(chosen))
        made.edit()
        hang = made.hang()
        environment = ENVIRONMENT | {"MM_HEARTBEAT_URL": heart.url}
        _, made.output = stack.enter_context(running(home, "--settings", str(settings), environment=environment))
        made.output.until("Ctrl-C stops")
        made.first_hang = hang
        yield made


def test_25_killed_run_is_ended_and_paged_and_the_next_tick_heals(watch: Watch) -> None:
    run, pid = watch.hanging_tick(watch.first_hang)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: watch.ticks()[run] in ENDED, "an end of the run")
    failed = "BLIND: an evaluation run failed, no grid was judged"
    wait_for(lambda: failed in watch.titles(), "a page about it")
    assert watch.heart.beats == 0
    watch.heals()


def test_25_stopped_run_is_ended_with_the_code_server_that_waits_for_it(watch: Watch) -> None:
    """Asked to end a run, the code server waits for the run's process, and begins no other meanwhile."""
    hang = watch.hang()
    watch.edit()
    run, pid = watch.hanging_tick(hang)
    os.kill(pid, signal.SIGSTOP)
    beats = watch.heart.beats
    watch.edit()
    wait_for(lambda: "BLIND: an evaluation waits and does not begin" in watch.titles(), "a page about what waits")
    watch.dagster.add_run_tags(run, {MAX_RUNTIME_TAG: "1"})  # ten minutes have passed
    wait_for(lambda: watch.output.has_said("code server gave no sign of life for"), "another code server")
    assert watch.heart.beats == beats
    assert pid not in processes_of(watch.home)
    wait_for(lambda: watch.ticks()[run] in ENDED, "an end of the run")
    watch.heals()


@pytest.mark.skipif(not IS_SEARCH, reason="two minutes of waiting: with MM_TEST_EFFORT above 1; row 44 stops a daemon")
def test_25_stopped_daemon_and_code_server_are_started_again(watch: Watch) -> None:
    wait_for(lambda: STARTED not in watch.ticks().values(), "an end of what runs")
    said = len(watch.output.drain())
    for part in (DAEMON, CODE_SERVER):
        kill(watch.home, part, signal.SIGSTOP)
    beats = watch.heart.beats
    for name in ("daemon", "code server"):
        line = f"{name} gave no sign of life for"
        wait_for(lambda line=line: any(line in one for one in watch.output.drain()[said:]), line)
    assert watch.heart.beats == beats
    watch.heals()
