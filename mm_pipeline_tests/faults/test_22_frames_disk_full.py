"""Row 22 for frames: whatever interrupts a write, what is read is whole: the old file or the new one."""

import ctypes
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from mm_pipeline.adapters.frames.store import FrameStore
from mm_pipeline.domain.errors import StorageError

pytestmark = pytest.mark.fault

MARKET = "kucoin_ETH-USDT"
JAN, FEB, MAR = (datetime(2024, month, 1, tzinfo=UTC) for month in (1, 2, 3))
MEBIBYTE = 1 << 20

WRITER = """
import os, signal, sys
from mm_pipeline.adapters.frames import files as frame_files
from mm_pipeline.adapters.frames.store import FrameStore
from mm_pipeline_tests.faults.test_22_frames_disk_full import FEB, MAR, MARKET, noise

root, step, at_call = sys.argv[1], sys.argv[2], int(sys.argv[3])
calls = 0

def is_the_moment():
    global calls
    calls += 1
    return calls == at_call

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def dies(*args, _real=getattr(os, step, None)):
    if is_the_moment():
        die()
    return _real(*args)

def opened(path, mode):
    file = open(path, mode, buffering=0)
    if not is_the_moment():
        return file
    content = noise(2).write_csv().encode()
    file.write(content[: len(content) // 2])
    die()

if step == "write":
    frame_files.open = opened
elif at_call:
    setattr(os, step, dies)
frames = [noise(seed) for seed in (1, 2)]
print("ready", flush=True)
while True:
    for frame in reversed(frames):
        FrameStore(root).write("bars", MARKET, frame, start=FEB, end=MAR)
"""


def noise(seed: int) -> pl.DataFrame:
    """Two months of 15m rows that do not compress; ``seed`` stands in every row."""
    times = pl.datetime_range(JAN, MAR, "15m", closed="left", time_unit="ms", time_zone="UTC", eager=True)
    draw = random.Random(seed)  # noqa: S311
    columns = {f"value_{index}": [draw.random() for _ in times] for index in range(4)}
    return pl.DataFrame({"open_time": times, **columns}).with_columns(seed=pl.lit(seed))


def assert_files_are_whole(store: FrameStore, seeds: tuple[int, ...]) -> None:
    rows = store.read("bars", MARKET, start=FEB, end=MAR)
    assert any(rows.equals(noise(seed).filter(pl.col("open_time") >= FEB)) for seed in seeds)
    everything = store.read_with_context("bars", MARKET, start=FEB, end=MAR)
    context = everything.filter(pl.col("open_time") < FEB)
    assert any(context.equals(noise(seed).filter(pl.col("open_time") < FEB)) for seed in seeds)


def start_writer(root: Path, step: str, at_call: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WRITER, str(root), step, str(at_call)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("step", "at_call"), [("write", 1), ("write", 2), ("fsync", 1), ("replace", 1), ("replace", 2)]
)
def test_22_writer_killed_at_a_step_leaves_old_or_new(tmp_path: Path, step: str, at_call: int) -> None:
    store = FrameStore(str(tmp_path))
    store.write("bars", MARKET, noise(1), start=FEB, end=MAR)
    with start_writer(tmp_path, step, at_call) as writer:
        assert writer.wait(timeout=60) == -signal.SIGKILL
    assert_files_are_whole(store, (1, 2))


def test_22_writer_killed_at_any_moment_leaves_old_or_new(tmp_path: Path) -> None:
    store = FrameStore(str(tmp_path))
    store.write("bars", MARKET, noise(1), start=FEB, end=MAR)
    for delay_s in (0.002, 0.013, 0.031):
        with start_writer(tmp_path, "fsync", 0) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            time.sleep(delay_s)
            writer.kill()
        assert_files_are_whole(store, (1, 2))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("a small tmpfs can be mounted by root on Linux only")
    libc = ctypes.CDLL(None, use_errno=True)
    disk = tmp_path / "disk"
    disk.mkdir()
    if libc.mount(b"tmpfs", os.fsencode(disk), b"tmpfs", 0, b"size=2m") != 0:
        pytest.skip(f"a tmpfs cannot be mounted here: {os.strerror(ctypes.get_errno())}")
    try:
        yield disk
    finally:
        assert libc.umount(os.fsencode(disk)) == 0


def test_22_disk_full_keeps_what_was_stored_and_names_the_mend(small_disk: Path) -> None:
    store = FrameStore(str(small_disk))
    store.write("bars", MARKET, noise(1), start=FEB, end=MAR)
    used = {path: path.read_bytes() for path in small_disk.rglob("*.parquet")}
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    (small_disk / "other").write_bytes(b"0" * (free - MEBIBYTE // 8))

    with pytest.raises(StorageError, match=r"No space left on device.*Free disk space"):
        store.write("bars", MARKET, noise(2), start=FEB, end=MAR)

    assert {path: path.read_bytes() for path in small_disk.rglob("*.parquet")} == used
    assert not list(small_disk.rglob("*.tmp"))
    (small_disk / "other").unlink()
    store.write("bars", MARKET, noise(2), start=FEB, end=MAR)
    assert_files_are_whole(store, (2,))
