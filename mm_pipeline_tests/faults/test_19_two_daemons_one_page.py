"""Row 19 for pages: two daemons that tick at the same moments decide once and page once for each grid and bar."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.pushover import PaperPushover
from mm_pipeline_tests.dagster_samples import ETH, FixedSources
from mm_pipeline_tests.delivery_process import ENVIRONMENT, TOKEN, USER
from mm_pipeline_tests.effort import IS_SEARCH
from mm_pipeline_tests.paging_samples import AT, BAR, DOWN, PagingInstallation, calm_market, with_price
from mm_pipeline_tests.postgres_server import session_server
from mm_pipeline_tests.quick_dagster import compile_once, quicken

pytestmark = [pytest.mark.fault, pytest.mark.slow]

TICKS, STOP_AT, BLIND = (8, 6, range(1, 4)) if IS_SEARCH else (5, 3, range(1, 4))
"""Ticks, the bar in which price falls below the stop, and the ticks at which the exchange is away."""
ADDRESS = "PUSHOVER_ADDRESS"
ERRORS = "errors.txt"
BELOW_GRID, BELOW_STOP = 2870.0, 2700.0


class Address:
    """Where a paper Pushover of another process listens, for an installation's settings."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clock = PaperClock.standing(AT)


def market() -> pl.DataFrame:
    """Below the grid, where there is time for it, then below the stop: each is a page."""
    candles = with_price(calm_market(), BELOW_GRID, AT + BAR)
    return with_price(candles, BELOW_STOP, AT + STOP_AT * BAR)


def installation(folder: Path, pushover: Any, journal_url: str) -> PagingInstallation:
    made = PagingInstallation(folder, FixedSources({ETH: market()}), pushover=pushover, journal_url=journal_url)
    made.grid("eth")
    return made


def blind_at(number: int) -> bool:
    """Whether the exchange is away at a tick."""
    return number in BLIND


def daemon(folder: str, journal_url: str) -> None:
    """Tick when told to, until there is nothing more to read; the body of a process."""
    import warnings

    warnings.simplefilter("ignore")
    quicken()
    compile_once()
    watch = installation(Path(folder), Address(os.environ[ADDRESS]), journal_url)
    with dg.DagsterInstance.ephemeral() as instance:
        print("ready", flush=True)
        for line in sys.stdin:
            number = int(line)
            watch.sources.problems = {ETH: DOWN} if blind_at(number) else {}
            watch.tick(AT + number * BAR, instance)
            print("done", flush=True)


def test_19_two_daemons_at_once_decide_and_page_once_for_each_grid_and_bar(tmp_path: Path) -> None:
    journal_url = session_server().new_database()
    with PaperPushover(clock=PaperClock.standing(AT), token=TOKEN, user=USER) as server, ExitStack() as stack:
        daemons = [
            stack.enter_context(_started(tmp_path / name, server.url, journal_url)) for name in ("first", "second")
        ]
        _hear(daemons, "ready", tmp_path)
        for number in range(TICKS):
            server.clock.stand_at(AT + number * BAR + timedelta(minutes=1))
            for process in daemons:  # both at the same moment
                assert process.stdin is not None
                process.stdin.write(f"{number}\n")
                process.stdin.flush()
            _hear(daemons, "done", tmp_path)
        messages = server.messages
    watch = installation(tmp_path / "first", Address(server.url), journal_url)
    with watch.journal() as journal:
        evaluated = Counter((row.grid, row.evaluated_at, row.input_hash) for row in journal.evaluations())
        decisions = [one.decision for one in journal.notifications.decisions()]
        pages = {page.page for page in journal.notifications.pages()}
        waiting = journal.outbox.waiting()
    assert set(evaluated.values()) == {1}
    assert {at for _, at, _ in evaluated} == {AT + number * BAR for number in range(TICKS)}
    decided = Counter((one.grid, one.evaluated_at) for one in decisions)
    assert set(decided.values()) == {1}
    told = {one.page for one in decisions if one.is_told}
    notices = {one.notice.value for one in decisions if one.is_told}
    assert len(told) >= (3 if IS_SEARCH else 2)
    assert {"MANDATORY_EXIT", "UNKNOWN"} <= notices
    assert pages == told
    sent = Counter(tag.removeprefix("mm-") for message in messages for tag in message.tags)
    assert sent == dict.fromkeys(told, 1)
    assert not [message.title for message in messages if "DUPLICATE" in message.title]
    assert waiting == []


@contextmanager
def _started(folder: Path, pushover: str, journal_url: str) -> Iterator[subprocess.Popen[str]]:
    folder.mkdir()
    command = [sys.executable, "-c", f"from {__name__} import daemon; daemon(*__import__('sys').argv[1:])"]
    environment = {**os.environ, **ENVIRONMENT, ADDRESS: pushover}
    with (
        (folder / ERRORS).open("w") as errors,
        subprocess.Popen(
            [*command, str(folder), journal_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
        ) as process,
    ):
        yield process


def _hear(daemons: list[subprocess.Popen[str]], word: str, folder: Path) -> None:
    for process in daemons:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line == f"{word}\n", [file.read_text()[-3000:] for file in folder.glob(f"*/{ERRORS}")]
