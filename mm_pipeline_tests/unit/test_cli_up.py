"""``mm up`` as a process: UI and schedules run, evaluations come by themselves, and a signal leaves nothing behind."""

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from mm_pipeline.adapters.home import journal_file
from mm_pipeline.adapters.journal import Evaluation, EvaluationKind, Journal, sqlite_url
from mm_pipeline.cli.up_processes import DagsterProcess, Stop, free_port, is_paper_exchange
from mm_pipeline.cli.up_ticks import new_lines
from mm_pipeline.domain.errors import PipelineError
from mm_pipeline.paper.exchange import PaperExchange

MM = Path(sys.executable).with_name("mm")
LOCAL_GRIDS = Path(__file__).resolve().parents[2] / "deploy" / "local" / "grids"
WAIT_S = 150.0


def unused_port() -> int:
    return free_port(0)


def installation(folder: Path) -> Path:
    """The shipped local grids, under a paper exchange on a free port."""
    settings = folder / "settings.yaml"
    settings.write_text(f"exchange: paper\npaper_url: http://127.0.0.1:{unused_port()}\ngrids: {LOCAL_GRIDS}\n")
    return settings


class Output:
    """What a process prints, line by line, with a limit on the waiting."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._lines: queue.Queue[str] = queue.Queue()
        self.seen: list[str] = []
        threading.Thread(target=self._read, args=(process,), daemon=True).start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._lines.put(line)

    def until(self, told: str) -> str:
        end_s = time.monotonic() + WAIT_S
        while time.monotonic() < end_s:
            try:
                line = self._lines.get(timeout=1.0)
            except queue.Empty:
                continue
            self.seen.append(line)
            if told in line:
                return line
        pytest.fail(f"{told!r} was not told in {WAIT_S:g} s; told was {self.seen}")


@contextmanager
def running(home: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], Output]]:
    command = [str(MM), "up", "--port", "0", *arguments]
    environment = os.environ | {"MM_HOME": str(home)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        try:
            yield process, Output(process)
        finally:
            process.terminate()


def processes_of(home: Path) -> list[str]:
    """Commands of the processes whose environment names this home."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            if f"MM_HOME={home}".encode() in environment:
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except (OSError, ValueError):
            continue
    return found


def schedules(url: str) -> dict[str, str]:
    """Schedules and their status, as the UI knows them."""
    query = "{schedulesOrError{...on Schedules{results{name scheduleState{status}}}}}"
    repository = (
        '(repositorySelector:{repositoryName:"__repository__",repositoryLocationName:"mm_pipeline.definitions"})'
    )
    query = query.replace("schedulesOrError", f"schedulesOrError{repository}")
    with requests.Session() as http:
        http.trust_env = False
        answer = http.post(f"{url}/graphql", json={"query": query}, timeout=20).json()
    results = answer["data"]["schedulesOrError"]["results"]
    return {found["name"]: found["scheduleState"]["status"] for found in results}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="leftovers are looked for in /proc")
def test_up_serves_the_ui_evaluates_by_itself_and_ends_whole(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home, "--settings", str(installation(tmp_path))) as (process, output):
        assert "kucoin:ETH/USDT" in output.until("paper exchange")
        url = output.until("UI ").split()[1]
        assert url.startswith("http://127.0.0.1:")
        assert schedules(url) == {"exit_evaluation": "RUNNING", "hourly_metrics": "RUNNING"}
        line = output.until("eth-paper")
        assert "UNKNOWN" not in line
        assert "eth-v3" in line
        assert len(processes_of(home)) > 3
        process.send_signal(signal.SIGTERM)
        output.until("stopped")
        assert process.wait(timeout=60) == 0
    assert processes_of(home) == []
    with Journal(sqlite_url(journal_file(home / "paper"))) as journal:
        assert {one.grid for one in journal.evaluations()} == {"eth-paper", "eth-v3"}


def test_paper_port_that_is_taken_by_another_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = tmp_path / "settings.yaml"
        settings.write_text(f"exchange: paper\npaper_url: http://127.0.0.1:{taken.getsockname()[1]}\n")
        done = subprocess.run(
            [str(MM), "up", "--settings", str(settings)],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"MM_HOME": str(tmp_path / "home")},
        )
    assert done.returncode == 1
    assert "the paper exchange cannot listen" in done.stderr
    assert "set paper_url" in done.stderr
    assert processes_of(tmp_path / "home") == []


def test_broken_settings_stop_it_before_anything_starts(tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("policy: bold\n")
    done = subprocess.run([str(MM), "up", "--settings", str(settings)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "calibrated, seed" in done.stderr


def test_dagster_that_ends_by_itself_is_told_with_its_log(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        home, log = tmp_path / "home", tmp_path / "dagster.log"
        (home / "dagster" / "dagster.yaml").mkdir(parents=True)  # no file can be read there
        dagster = DagsterProcess(home=home, settings=None, port=taken.getsockname()[1], log=log)
        with dagster, Stop() as stop, pytest.raises(PipelineError, match="Dagster has ended") as told:
            dagster.wait_until_ready(stop)
    assert "Its last lines" in told.value.problem
    assert str(log) in told.value.mend


def test_port_in_use_is_refused_with_its_mend() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(PipelineError, match="cannot be listened on") as told:
            free_port(taken.getsockname()[1])
    assert "--port" in told.value.mend


def test_signal_is_noted_and_the_handler_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Stop() as stop:
        assert not stop.is_asked_within(0.0)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.is_asked_within(5.0)
    assert signal.getsignal(signal.SIGTERM) is before


def test_running_paper_exchange_is_told_from_any_other_server() -> None:
    with PaperExchange(markets=[]) as paper:
        url = paper.url
        assert is_paper_exchange(url)
    assert not is_paper_exchange(url)


def test_each_evaluation_is_told_once(tmp_path: Path) -> None:
    at = datetime(2025, 3, 1, 12, tzinfo=UTC)

    def evaluation(grid: str, *, after_min: int, state: str = "NORMAL", fired: tuple[str, ...] = ()) -> Evaluation:
        return Evaluation(
            grid=grid,
            evaluated_at=at + timedelta(minutes=after_min),
            kind=EvaluationKind.EXIT,
            input_hash="a",
            state=state,
            price=1.0,
            fired=fired,
            triggers={},
            reasons=(),
            grid_version="v",
            settings_hash="s",
            code_version="c",
            is_live=True,
            recorded_at=at,
        )

    told: set[tuple[str, datetime, str]] = set()
    with Journal(sqlite_url(tmp_path / "journal.db")) as journal:
        journal.record_evaluations([evaluation("b", after_min=0), evaluation("a", after_min=0)])
        assert [line.plain for line in new_lines(journal, told, since=at)] == ["03-01 12:00   a NORMAL   b NORMAL"]
        assert new_lines(journal, told, since=at) == []
        journal.record_evaluations([evaluation("a", after_min=15, state="WARNING", fired=("x", "y"))])
        assert [line.plain for line in new_lines(journal, told, since=at)] == ["03-01 12:15   a WARNING (x, y)"]
