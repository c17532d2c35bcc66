"""``mm watch`` in a real terminal: it shows what is journalled, says what cannot be read, and Ctrl-C ends it."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mm_pipeline.adapters.config.home import JOURNAL_VARIABLE
from mm_pipeline.adapters.journal import Journal
from mm_pipeline_tests.journal_samples import evaluation, grid
from mm_pipeline_tests.operator_samples import OperatedHome, operated_home
from mm_pipeline_tests.up_process import MM

MINUTE = timedelta(minutes=1)


@dataclass
class Screen:
    """A process in a terminal of 80 columns, and all that it wrote."""

    process: subprocess.Popen[bytes]
    terminal: int
    text: str = ""

    def until(self, words: str, seconds: float = 60.0) -> None:
        """Read on until the words were written."""
        end = time.monotonic() + seconds
        while words not in self.text:
            assert time.monotonic() < end, f"{words!r} was not written: {self.text[-2000:]}"
            if select.select([self.terminal], [], [], 0.2)[0]:
                self.text += os.read(self.terminal, 65536).decode(errors="replace")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OperatedHome:
    monkeypatch.setenv("MM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(JOURNAL_VARIABLE, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    return operated_home(tmp_path)


@pytest.fixture
def screen(home: OperatedHome) -> Iterator[Screen]:
    """``mm watch`` of the home."""
    terminal, inner = pty.openpty()
    command = [str(MM), "watch", "--every", "0.2", "--settings", str(home.settings_file)]
    process = subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner, start_new_session=True)
    os.close(inner)
    yield Screen(process, terminal)
    process.kill()
    process.wait()
    os.close(terminal)


def judge(journal: Journal, state: str, at: datetime) -> None:
    made = replace(evaluation(), grid="eth", evaluated_at=at, as_of=at, state=state, fired=(), triggers={})
    journal.record_evaluations([made])


def test_change_that_is_journalled_comes_to_the_screen_and_ctrl_c_ends_it(home: OperatedHome, screen: Screen) -> None:
    screen.until("UNKNOWN: there is no journal at")
    newest = datetime.now(UTC).replace(second=0, microsecond=0)
    declared = grid("eth", started_at=newest - timedelta(days=2))
    home.declare(declared)
    with home.journal() as journal:
        journal.observe_grids([declared], newest - timedelta(days=1))
        judge(journal, "NORMAL", newest - 5 * MINUTE)
        screen.until("NORMAL")
        screen.until("the watch is alive")
        judge(journal, "MANDATORY_EXIT", newest)
        screen.until("MANDATORY_EXIT")
    os.kill(screen.process.pid, signal.SIGINT)
    screen.until("Stopped looking.")
    assert screen.process.wait() == 0
