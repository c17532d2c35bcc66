"""Which processes belong to ``mm up``: one lock a home, and descendants that are found and ended by their mark."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mm_pipeline.cli.up.family import MARK, NOTE_FILE, end, holder, members, only_one
from mm_pipeline.cli.up.family import _up_to_next_variable as up_to_next_variable
from mm_pipeline.domain.errors import PipelineError, StorageError
from mm_pipeline_tests.up_process import wait_for

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked for in /proc")

HOLD = """
import sys, time
from pathlib import Path
from mm_pipeline.cli.up.family import only_one
with only_one(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def start(started: list[subprocess.Popen[str]], code: str, *arguments: str, **environment: str) -> int:
    command = [sys.executable, "-c", code, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | environment)
    started.append(process)
    return process.pid


def test_second_holder_is_refused_by_the_process_id_of_the_first(
    tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    pid = start(started, HOLD, str(tmp_path))
    assert started[0].stdout is not None
    assert started[0].stdout.readline() == "held\n"
    with pytest.raises(PipelineError, match=rf"already \(process {pid}\)") as refused, only_one(tmp_path):
        pass
    assert "MM_HOME" in str(refused.value)
    assert holder(tmp_path) == pid


def test_lock_dies_with_its_process_and_other_homes_are_free(
    tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    start(started, HOLD, str(tmp_path))
    assert started[0].stdout is not None
    assert started[0].stdout.readline() == "held\n"
    with only_one(tmp_path / "other"):
        assert holder(tmp_path / "other") == os.getpid()
    started[0].send_signal(signal.SIGKILL)
    started[0].wait()
    assert holder(tmp_path) is None
    with only_one(tmp_path) as killed:
        assert killed == started[0].pid
        assert (tmp_path / NOTE_FILE).read_text() == f"{os.getpid()}\n"
    with only_one(tmp_path) as killed:
        assert killed is None, "the one before ended in order"


def test_second_holder_is_refused_although_the_note_was_deleted(
    tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    start(started, HOLD, str(tmp_path))
    assert started[0].stdout is not None
    assert started[0].stdout.readline() == "held\n"
    (tmp_path / NOTE_FILE).unlink()
    with pytest.raises(PipelineError, match="already"), only_one(tmp_path):
        pass
    assert holder(tmp_path) == 0


def test_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be used"), only_one(tmp_path / "file"):
        pass


def test_descendants_are_found_by_home_and_supervisor_and_others_are_left_alone(
    tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    sleep = "import time; print('up', flush=True); time.sleep(600)"
    marks = (f"11:{tmp_path}", f"22:{tmp_path}", f"11:{tmp_path}/other", "11:/")
    pids = [start(started, sleep, **{MARK: mark}) for mark in marks]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
    assert {member.pid for member in members(tmp_path)} == set(pids[:2])
    assert {member.pid for member in members(tmp_path, of=22)} == {pids[1]}
    assert {member.pid for member in end(tmp_path, of=11)} == {pids[0]}
    assert {member.pid for member in end(tmp_path)} == {pids[1]}
    assert end(tmp_path) == []
    assert [started[place].poll() for place in (2, 3)] == [None, None]


def test_process_that_hangs_stopped_is_ended_too(tmp_path: Path, started: list[subprocess.Popen[str]]) -> None:
    pid = start(started, "import time; print('up', flush=True); time.sleep(600)", **{MARK: f"1:{tmp_path}"})
    assert started[0].stdout is not None
    assert started[0].stdout.readline() == "up\n"
    os.kill(pid, signal.SIGSTOP)
    assert [member.pid for member in end(tmp_path)] == [pid]


def test_reaper_ends_the_family_and_removes_its_folder_when_its_input_closes(
    tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    home, folder = tmp_path / "home", tmp_path / "sockets"
    folder.mkdir()
    start(started, "import time; print('up', flush=True); time.sleep(600)", **{MARK: f"77:{home}"})
    assert started[0].stdout is not None
    assert started[0].stdout.readline() == "up\n"
    command = [sys.executable, "-m", "mm_pipeline.cli.up.reaper", str(home), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=os.environ | {MARK: f"77:{home}"}) as reaper:
        assert reaper.poll() is None
        reaper.communicate(timeout=120)
    wait_for(lambda: started[0].poll() is not None, "an end of the child")
    assert not folder.exists()


@pytest.mark.parametrize(
    ("shown", "mark"),
    [
        ("1:/home/of mm LANG=C A=b", "1:/home/of mm"),
        ("1:/home", "1:/home"),
        ("1:/home MM_HOME=/home", "1:/home"),
    ],
)
def test_mark_is_read_from_what_ps_shows(shown: str, mark: str) -> None:
    assert up_to_next_variable(shown) == mark
