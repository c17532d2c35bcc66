"""``mm up`` as a process: UI and schedules run, evaluations come by themselves, and a signal leaves nothing behind."""

import os
import signal
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from mm_pipeline.adapters.config.home import journal_file
from mm_pipeline.adapters.journal import Evaluation, Journal, sqlite_url
from mm_pipeline.cli.up.family import MARK
from mm_pipeline.cli.up.processes import Stop, is_paper_exchange, listen
from mm_pipeline.cli.up.ticks import new_lines
from mm_pipeline.domain.errors import PipelineError
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.paper.exchange import PaperExchange
from mm_pipeline_tests.up_process import MM, installation, processes_of, running


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
        assert schedules(url) == dict.fromkeys(("exit_evaluation", "hourly_metrics", "housekeeping"), "RUNNING")
        line = output.until("eth-paper")
        assert "UNKNOWN" not in line
        assert "eth-v3" in line
        assert len(processes_of(home)) > 3
        process.send_signal(signal.SIGTERM)
        output.until("stopped")
        assert process.wait(timeout=60) == 0
    assert processes_of(home) == {}
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
    assert processes_of(tmp_path / "home") == {}


def test_broken_settings_stop_it_before_anything_starts(tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("policy: bold\n")
    done = subprocess.run([str(MM), "up", "--settings", str(settings)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "calibrated, seed" in done.stderr


def test_dagster_storage_that_is_away_is_named_without_a_traceback(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "dagster").mkdir(parents=True)
    url = f"postgresql://nobody@/none?host={tmp_path}"
    (home / "dagster" / "dagster.yaml").write_text(f"storage: {{postgres: {{postgres_url: '{url}'}}}}\n")
    with subprocess.Popen(["sleep", "600"], env=os.environ | {MARK: f"1:{home}"}) as left:
        done = subprocess.run(
            [str(MM), "up", "--port", "0", "--settings", str(installation(tmp_path))],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"MM_HOME": str(home)},
        )
        assert f"ended what an earlier mm up had left running on this home: processes {left.pid}" in done.stdout
    assert done.returncode == 1
    assert "Dagster's own storage" in done.stderr
    assert "Traceback" not in done.stderr
    assert "BLIND: mm up has ended" in (home / "paper" / "pages.jsonl").read_text()
    assert processes_of(home) == {}


def test_port_in_use_is_refused_with_its_mend() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(PipelineError, match="cannot be listened on") as told:
            listen(taken.getsockname()[1])
    assert "--port" in told.value.hint


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_is_noted_and_the_handler_given_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with Stop() as stop:
        assert not stop.is_asked_within(0.0)
        os.kill(os.getpid(), number)
        assert stop.is_asked_within(5.0)
    assert signal.getsignal(number) is before


def test_hang_up_that_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Stop() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.is_asked_within(0.0)
    finally:
        signal.signal(signal.SIGHUP, before)


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
