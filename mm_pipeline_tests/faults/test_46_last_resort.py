"""Row 46: with disk or journal gone a notice reaches the phone without them; the page follows when they are back."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mm_pipeline.adapters.config.home import journal_file, reserve_file
from mm_pipeline.adapters.journal import Journal, sqlite_url
from mm_pipeline.adapters.last_resort import memory
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.pushover import PaperPushover
from mm_pipeline_tests.dagster_samples import ETH, FixedSources
from mm_pipeline_tests.delivery_process import ENVIRONMENT, TOKEN, USER
from mm_pipeline_tests.effort import SEARCHED
from mm_pipeline_tests.paging_samples import AT, BAR, MINUTE, PagingInstallation, calm_market, with_price
from mm_pipeline_tests.postgres_server import PostgresServer

pytestmark = pytest.mark.fault

STOP = AT + BAR
"""From then on the price is through the stop: what was NORMAL at ``AT`` turns MANDATORY one evaluation later."""
NOTICE = "THE WATCH CANNOT PAGE"
MS_RDONLY, MS_REMOUNT = 1, 32

EVALUATE = """
import sys
from datetime import datetime
from pathlib import Path

import polars as pl

from mm_pipeline.bootstrap import Overrides
from mm_pipeline.domain.errors import PipelineError
from mm_pipeline.orchestration.runs import evaluate_now
from mm_pipeline.settings import Deployment, load_settings
from mm_pipeline_tests.dagster_samples import ETH, FixedSources, quick_run

settings, home, candles, now, journal = sys.argv[1:]
sources = FixedSources({ETH: pl.read_parquet(candles)})
overrides = Overrides(home=Path(home), sources=sources, clock_at=now, journal_url=journal or None)
try:
    with quick_run():
        found = evaluate_now(Deployment(load_settings(Path(settings)), Path(settings)), overrides=overrides)
except PipelineError as error:
    sys.exit(f"refused: {error}")
print([evaluation.state for evaluation in found])
"""
PYTHON = (sys.executable, "-W", "ignore", "-c", EVALUATE)


@dataclass
class Tick:
    """An evaluation in a process of its own, as a timer starts it, on a home that a test breaks."""

    watch: PagingInstallation
    home: Path
    phone: PaperPushover

    def __call__(self, at: Any) -> subprocess.CompletedProcess[str]:
        now = at + MINUTE
        self.phone.clock.stand_at(now)
        settings, candles = str(self.watch.settings_file), str(self.watch.folder / "candles.parquet")
        return subprocess.run(
            [*PYTHON, settings, str(self.home), candles, now.isoformat(), self.watch.journal_url or ""],
            capture_output=True,
            text=True,
            check=False,
            timeout=1800,
        )

    def titles(self) -> list[str]:
        return [message.title for message in self.phone.messages]


def mount(source: bytes, folder: Path, kind: bytes, flags: int, options: bytes) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source, os.fsencode(folder), kind, flags, options) != 0:
        pytest.skip(f"a tmpfs cannot be mounted here: {os.strerror(ctypes.get_errno())}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("a small tmpfs can be mounted by root on Linux only")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount(b"tmpfs", disk, b"tmpfs", 0, b"size=40m")
    try:
        yield disk
    finally:
        assert ctypes.CDLL(None, use_errno=True).umount2(os.fsencode(disk), 2) == 0


@pytest.fixture(scope="module")
def stopped_out() -> pl.DataFrame:
    return with_price(calm_market(), 2700.0, AT)


@pytest.fixture
def phone(monkeypatch: pytest.MonkeyPatch) -> Iterator[PaperPushover]:
    for name, key in ENVIRONMENT.items():
        monkeypatch.setenv(name, key)
    with PaperPushover(clock=PaperClock.standing(AT), token=TOKEN, user=USER) as pushover:
        yield pushover


@pytest.fixture
def ticks(
    tmp_path: Path, phone: PaperPushover, stopped_out: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Tick]]:
    # A free disk is not what these tests are about: the machine's own may be small.
    limits = {"grace": "0s", "reserve_mb": 0, "warn_free_mb": 0, "fail_free_mb": 0}
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # the memory of the outage in the temporary folder
    homes: list[Path] = []

    def make(home: Path, *, journal_url: str | None = None, **changed: Any) -> Tick:
        watch = PagingInstallation(
            tmp_path, FixedSources({ETH: stopped_out}), {"last_resort": limits | changed}, phone, journal_url
        )
        watch.grid("eth")
        stopped_out.write_parquet(tmp_path / "candles.parquet")
        homes.append(home)
        return Tick(watch, home, phone)

    yield make
    for home in homes:
        memory.OutageMemory(home).forget()


def fill(disk: Path) -> Path:
    """Take every byte that is left."""
    hog = disk / "hog"
    with hog.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while file.write(b"\xff" * size) == size:
                    pass
            except OSError:
                continue
    return hog


def assert_page_follows(tick: Tick, at: Any) -> None:
    done = tick(at)
    assert "MANDATORY_EXIT" in done.stdout, done.stderr
    assert any("MANDATORY" in title for title in tick.titles()), tick.titles()
    assert any("works again" in title for title in tick.titles()), tick.titles()


def test_46_disk_full_notice_without_the_disk_then_the_page(small_disk: Path, ticks: Callable[..., Tick]) -> None:
    tick = ticks(small_disk / "home")
    assert "NORMAL" in tick(AT).stdout
    hog = fill(small_disk)
    for n in (1, 2):
        done = tick(AT + n * BAR)
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
    (title,) = tick.titles()
    assert NOTICE in title
    text = tick.phone.messages[0].text
    assert "eth (ETH/USDT, stop 2800" in text
    assert "Free disk space" in text
    hog.unlink()
    assert_page_follows(tick, AT + 3 * BAR)


@SEARCHED
def test_46_disk_full_with_a_reserve_the_page_itself_goes_out(small_disk: Path, ticks: Callable[..., Tick]) -> None:
    tick = ticks(small_disk / "home", reserve_mb=12)
    assert "NORMAL" in tick(AT).stdout
    assert reserve_file(small_disk / "home").stat().st_size == 12_000_000
    fill(small_disk)
    done = tick(AT + BAR)
    assert "MANDATORY_EXIT" in done.stdout, done.stderr
    assert any("MANDATORY" in title for title in tick.titles())
    assert any("DISK ALMOST FULL" in title for title in tick.titles())
    assert not any(NOTICE in title for title in tick.titles())
    assert not reserve_file(small_disk / "home").exists()


def test_46_read_only_disk_is_told(small_disk: Path, ticks: Callable[..., Tick]) -> None:
    tick = ticks(small_disk / "home")
    tick(AT)
    mount(b"tmpfs", small_disk, b"tmpfs", MS_REMOUNT | MS_RDONLY, b"size=40m")
    for n in (1, 2):
        assert "refused" in tick(AT + n * BAR).stderr
    (title,) = tick.titles()
    assert NOTICE in title
    mount(b"tmpfs", small_disk, b"tmpfs", MS_REMOUNT, b"size=40m")
    assert_page_follows(tick, AT + 3 * BAR)


@pytest.mark.parametrize("is_whole_file", [pytest.param(True, marks=SEARCHED), False])
def test_46_journal_overwritten_is_told_and_a_copy_put_back_pages(
    tmp_path: Path, ticks: Callable[..., Tick], is_whole_file: bool
) -> None:
    tick = ticks(tmp_path / "home")
    tick(AT)
    file = journal_file(tmp_path / "home")
    with Journal(sqlite_url(file)) as journal:
        journal.known_grids()
    for name in ("-wal", "-shm"):
        file.with_name(file.name + name).unlink(missing_ok=True)
    whole = file.read_bytes()
    kept = 0 if is_whole_file else 8192
    file.write_bytes(whole[:kept] + os.urandom(len(whole) - kept))
    for n in (1, 2):
        assert "refused" in tick(AT + n * BAR).stderr
    (title,) = tick.titles()
    assert NOTICE in title
    assert "journal" in tick.phone.messages[0].text
    for name in ("-wal", "-shm"):
        file.with_name(file.name + name).unlink(missing_ok=True)
    file.write_bytes(whole)
    assert_page_follows(tick, AT + 3 * BAR)


def test_46_postgres_away_for_good_is_told_once(tmp_path: Path, ticks: Callable[..., Tick]) -> None:
    server = PostgresServer()
    try:
        tick = ticks(tmp_path / "home", journal_url=server.new_database())
        tick(AT)
        server.stop_at_once()
        for n in (1, 2, 3):
            assert "refused" in tick(AT + n * BAR).stderr
        (title,) = tick.titles()
        assert NOTICE in title
        server.start()
        assert_page_follows(tick, AT + 4 * BAR)
    finally:
        server.remove()


@SEARCHED
def test_46_outage_shorter_than_grace_is_told_by_nobody(tmp_path: Path, ticks: Callable[..., Tick]) -> None:
    server = PostgresServer()
    try:
        tick = ticks(tmp_path / "home", journal_url=server.new_database(), grace="5min")
        tick(AT)
        server.stop_at_once()
        import threading

        again = threading.Timer(timedelta(seconds=6).total_seconds(), server.start)
        again.start()
        done = tick(AT + BAR)
        again.join()
        assert "MANDATORY_EXIT" in done.stdout, done.stderr
        assert not any(NOTICE in title for title in tick.titles())
    finally:
        server.remove()
