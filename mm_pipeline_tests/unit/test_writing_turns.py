"""Writers of frames: one at a time, a tick before all others, and no lock outlives its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from mm_pipeline.adapters.writing import FileLock, Turns, WritingPolicy, turns_of
from mm_pipeline.domain.errors import StorageError
from mm_pipeline.orchestration.runs.execution import give_way
from mm_pipeline.settings import load_settings
from mm_pipeline_tests.postgres_server import session_server

POLICY = load_settings().writing
SECOND = timedelta(seconds=1)
IMPATIENT = POLICY.model_copy(update={"tick_wait": SECOND, "give_up_after": SECOND, "give_way": SECOND})

Make = Callable[..., Turns]


@pytest.fixture(params=["disk", "object store and journal in a file", "object store and Postgres"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes one run's turns, as its own process would."""
    root, journal = {
        "disk": (str(tmp_path / "frames"), f"sqlite:///{tmp_path}/journal.db"),
        "object store and journal in a file": ("memory://frames", f"sqlite:///{tmp_path}/journal.db"),
    }.get(request.param) or ("memory://frames", session_server().new_database())
    made: list[Turns] = []

    def one(policy: WritingPolicy = POLICY) -> Turns:
        made.append(turns_of(root, journal, policy))
        return made[-1]

    yield one
    for turns in made:
        turns.end()


@contextmanager
def held(turns: Turns) -> Iterator[None]:
    with turns.ordinary("another backfill"):
        yield


def test_two_writers_never_write_at_once(make: Make) -> None:
    inside, most = [0], [0]

    def write() -> None:
        turns = make()
        for _ in range(5):
            with turns.ordinary("backfill"):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.01)
                inside[0] -= 1

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert most == [1]


def test_no_stage_of_a_backfill_begins_between_two_of_a_tick(make: Make) -> None:
    tick, backfill = make(), make(IMPATIENT)
    with tick.urgent("tick, candles") as stuck:
        assert stuck is None
    with pytest.raises(StorageError, match="written by another process"), backfill.ordinary("backfill"):
        pytest.fail("a backfill wrote between two stages of a tick")
    tick.end()
    with backfill.ordinary("backfill"):
        pass


def test_backfill_that_holds_the_frames_longer_than_give_up_after_fails_another(make: Make) -> None:
    with (
        held(make()),
        pytest.raises(StorageError, match="another backfill"),
        make(IMPATIENT).ordinary("backfill"),
    ):
        pytest.fail("two backfills wrote at once")


def test_tick_goes_on_after_tick_wait_names_the_holder_and_waits_once_a_run(make: Make) -> None:
    tick = make(IMPATIENT)
    with held(make()):
        with tick.urgent("tick, candles") as stuck:
            assert stuck is not None
            assert "another backfill" in stuck
        begun = time.monotonic()
        for _ in range(20):
            with tick.urgent("tick, states") as stuck:
                assert stuck is not None
        assert time.monotonic() - begun < 15.0  # 20 s and more, if each stage waited again
    with tick.urgent("tick, notifications") as stuck:
        assert stuck is None


def test_tick_waits_for_a_stage_that_ends_within_tick_wait(make: Make) -> None:
    other, tick = make(), make()
    begun = threading.Event()

    def write() -> None:
        with other.ordinary("backfill"):
            begun.set()
            time.sleep(0.3)

    writer = threading.Thread(target=write)
    writer.start()
    begun.wait(10)
    with tick.urgent("tick") as stuck:
        assert stuck is None
    writer.join()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_lock_ends_with_the_process_that_holds_it(tmp_path: Path, number: signal.Signals) -> None:
    code = (
        "import sys, time; from pathlib import Path; from mm_pipeline.adapters.writing import FileLock;"
        "lock = FileLock(Path(sys.argv[1])); print(lock.try_take('backfill'), flush=True); time.sleep(600)"
    )
    file = tmp_path / "frames.writer.lock"
    with subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        mine = FileLock(file)
        assert not mine.try_take("tick")
        assert mine.holder() == f"process {process.pid}: backfill"
        process.send_signal(number)
        process.wait()
    assert mine.try_take("tick")
    mine.free()


def test_lock_whose_file_was_removed_is_held_by_one_all_the_same(tmp_path: Path) -> None:
    file = tmp_path / "frames.writer.lock"
    first, second = FileLock(file), FileLock(file)
    assert first.try_take("first")
    os.unlink(file)
    assert second.try_take("second")
    assert not FileLock(file).try_take("third")
    first.free()
    second.free()


def test_backfill_gives_way_to_a_tick_and_no_longer_than_give_way(tmp_path: Path) -> None:
    @dg.job
    def nothing() -> None: ...

    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        waiting = {"status": dg.DagsterRunStatus.STARTED}
        instance.create_run_for_job(nothing, tags={"dagster/priority": "0"}, **waiting)  # type: ignore[arg-type]
        begun = time.monotonic()
        give_way(instance, timedelta(minutes=5))
        assert time.monotonic() - begun < 60
        tick = instance.create_run_for_job(nothing, tags={"dagster/priority": "10"}, **waiting)  # type: ignore[arg-type]
        begun = time.monotonic()
        give_way(instance, IMPATIENT.give_way)
        assert time.monotonic() - begun >= 1.0
        give_way(instance, timedelta(minutes=5))  # it did not begin: no daemon, and no second wait
        instance.report_run_canceled(tick)
        assert time.monotonic() - begun < 120
