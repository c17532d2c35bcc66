"""``mm up`` as a real process for tests: started on a home of its own, read line by line, never left behind."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from mm_pipeline.cli.up.family import end
from mm_pipeline.cli.up.processes import listen

MM = Path(sys.executable).with_name("mm")
LOCAL_GRIDS = Path(__file__).resolve().parents[1] / "deploy" / "local" / "grids"
WAIT_S = 240.0
"""Nothing here takes a tenth of this on an idle machine."""
_POLL_S = 0.2


def unused_port() -> int:
    """A port that was free a moment ago."""
    with listen(0) as listening:
        port: int = listening.getsockname()[1]
        return port


def installation(folder: Path, more: str = "", *, grids: Path = LOCAL_GRIDS) -> Path:
    """Settings of a paper exchange on a free port."""
    settings = folder / "settings.yaml"
    settings.write_text(f"exchange: paper\npaper_url: http://127.0.0.1:{unused_port()}\ngrids: {grids}\n{more}")
    return settings


def wait_for(condition: Callable[[], object], what: str, *, every_s: float = _POLL_S) -> None:
    """Poll until it holds."""
    end_s = time.monotonic() + WAIT_S
    while time.monotonic() < end_s:
        if condition():
            return
        time.sleep(every_s)
    pytest.fail(f"{what} did not come in {WAIT_S:g} s")


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
        """The next line that contains this."""
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

    def has_said(self, words: str) -> bool:
        """Whether any line so far contains this; for lines that come in any order."""
        return any(words in line for line in self.drain())

    def drain(self) -> list[str]:
        """Every line so far."""
        while not self._lines.empty():
            self.seen.append(self._lines.get())
        return self.seen


@contextmanager
def running(
    home: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], Output]]:
    """A started ``mm up``; at the end nothing of it is left, whatever the test did."""
    command = [str(MM), "up", "--port", "0", *arguments]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"MM_HOME": str(home)} | dict(environment or {}),
    ) as process:
        try:
            yield process, Output(process)
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
            end(home)


def processes_of(home: Path) -> dict[int, str]:
    """Commands by process id, of the processes whose environment names this home."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            if f"MM_HOME={home}".encode() in environment:
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, ValueError):
            continue
    return found


def process_of(home: Path, part: str) -> int | None:
    """The one process of a home whose command has this part; None where there is none."""
    found = [pid for pid, command in processes_of(home).items() if part in command and "up.exec" not in command]
    return found[0] if found else None


def kill(home: Path, part: str, number: signal.Signals = signal.SIGKILL) -> int:
    """Send a signal to it; its process id."""
    pid = process_of(home, part)
    assert pid is not None, processes_of(home)
    os.kill(pid, number)
    return pid
