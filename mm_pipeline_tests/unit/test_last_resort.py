"""When the notice that needs neither journal nor disk goes out, how often, and what room is kept."""

import json
import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from mm_pipeline.adapters.clock import FixedClock
from mm_pipeline.adapters.config.home import reserve_file
from mm_pipeline.adapters.last_resort import (
    LastResort,
    LastResortPolicy,
    OutageMemory,
    Outcome,
    Room,
    RoomState,
    StorageProbe,
    is_storage_failure,
    memory,
)
from mm_pipeline.domain.errors import StorageError
from mm_pipeline.domain.notifications import Accepted, ChannelError, Message
from mm_pipeline.settings import load_settings
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, ETH, FixedSources, Installation, ranging_candles

pytestmark = DAGSTER_WARNINGS

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
AWAY = StorageError("the journal cannot be reached.", "Start the database.")
POLICY = load_settings().last_resort


@dataclass
class Phone:
    """A channel that takes messages, or does not."""

    name: str = "phone"
    is_out: bool = False
    got: list[Message] = field(default_factory=list)

    def send(self, message: Message) -> Accepted:
        if self.is_out:
            raise ChannelError("no answer.", "Wait.", is_final=False)
        self.got.append(message)
        return Accepted()


class Machine:
    """One home on a machine: each report is made by a process that remembers nothing."""

    def __init__(self, folder: Path, *channels: Phone, policy: LastResortPolicy = POLICY) -> None:
        self.places = [folder / "ram", folder / "tmp"]
        for place in self.places:
            place.mkdir()
        self.home = folder / "home"
        self.channels = {channel.name: channel for channel in channels}
        self.policy = policy

    def resort(self, now: datetime, *, is_same_process: bool = False) -> LastResort:
        if not is_same_process:
            memory._remembered.clear()
        known = OutageMemory(self.home, places=self.places)
        return LastResort(self.channels, known, self.policy, FixedClock(now), watched="eth (ETH/USDT, stop 2800)")

    def report(self, now: datetime, *, is_lasting: bool = False) -> Outcome:
        return self.resort(now).report(AWAY, is_lasting=is_lasting)


@pytest.fixture
def phone() -> Phone:
    return Phone()


@pytest.fixture
def machine(tmp_path: Path, phone: Phone) -> Machine:
    return Machine(tmp_path, phone)


def test_outage_is_told_after_grace_and_once(machine: Machine, phone: Phone) -> None:
    assert machine.report(AT) is Outcome.WAITING
    assert machine.report(AT + MINUTE) is Outcome.WAITING
    assert machine.report(AT + 2 * MINUTE) is Outcome.TOLD
    assert {machine.report(AT + n * MINUTE) for n in range(3, 600, 15)} == {Outcome.TOLD_BEFORE}
    (message,) = phone.got
    assert "eth (ETH/USDT, stop 2800)" in message.text
    assert "Start the database." in message.text
    assert message.priority == 1


def test_grace_is_a_setting(tmp_path: Path, phone: Phone) -> None:
    machine = Machine(tmp_path, phone, policy=POLICY.model_copy(update={"grace": timedelta(0)}))
    assert machine.report(AT) is Outcome.TOLD


def test_outage_of_a_day_is_told_again_by_repeat(tmp_path: Path, phone: Phone) -> None:
    machine = Machine(tmp_path, phone, policy=POLICY.model_copy(update={"repeat": timedelta(hours=5)}))
    told = [n for n in range(0, 24 * 4) if machine.report(AT + n * 15 * MINUTE, is_lasting=True) is Outcome.TOLD]
    assert told == [0, 20, 40, 60, 80]


@pytest.mark.parametrize(("quiet_for", "notices"), [("1h", 6), ("3h", 2)])
def test_disk_that_fails_and_works_by_turns_is_told_no_oftener_than_quiet_for(
    tmp_path: Path, phone: Phone, quiet_for: str, notices: int
) -> None:
    policy = LastResortPolicy.model_validate(POLICY.model_dump(mode="json") | {"quiet_for": quiet_for})
    machine = Machine(tmp_path, phone, policy=policy)
    for n in range(0, 24):
        machine.report(AT + n * 15 * MINUTE, is_lasting=True)
        machine.resort(AT + n * 15 * MINUTE + 7 * MINUTE).end()
    assert len(phone.got) == notices


def test_next_outage_is_told_too(machine: Machine, phone: Phone) -> None:
    machine.report(AT, is_lasting=True)
    ended = machine.resort(AT + 10 * MINUTE).end()
    assert ended is not None
    assert ended.since == AT
    assert machine.resort(AT + 11 * MINUTE).end() is None
    later = AT + timedelta(hours=3)
    assert machine.report(later) is Outcome.WAITING
    assert machine.report(later + 2 * MINUTE) is Outcome.TOLD
    assert len(phone.got) == 2


def test_outage_that_was_over_before_grace_leaves_nothing(machine: Machine, phone: Phone) -> None:
    machine.report(AT)
    assert machine.resort(AT + MINUTE).end() is None
    assert machine.report(AT + 3 * MINUTE) is Outcome.WAITING
    assert phone.got == []


def test_outage_that_no_process_saw_ending_is_another_after_an_hour(machine: Machine, phone: Phone) -> None:
    machine.report(AT, is_lasting=True)
    assert machine.report(AT + timedelta(hours=30)) is Outcome.WAITING
    assert machine.report(AT + timedelta(hours=30) + 2 * MINUTE) is Outcome.TOLD


def test_channel_that_refuses_leaves_it_to_the_next_one_and_to_the_next_tick(tmp_path: Path) -> None:
    first, second = Phone(is_out=True), Phone("chat", is_out=True)
    machine = Machine(tmp_path, first, second)
    assert machine.report(AT, is_lasting=True) is Outcome.NOT_TAKEN
    second.is_out = False
    assert machine.report(AT + MINUTE, is_lasting=True) is Outcome.TOLD
    assert (len(first.got), len(second.got)) == (0, 1)


def test_nobody_to_tell_is_said(tmp_path: Path) -> None:
    assert Machine(tmp_path).report(AT, is_lasting=True) is Outcome.NOBODY


def test_one_place_left_is_enough_to_remember(machine: Machine, phone: Phone) -> None:
    machine.places[0].rmdir()
    machine.places[0].write_text("in the way")
    machine.report(AT, is_lasting=True)
    assert machine.report(AT + MINUTE, is_lasting=True) is Outcome.TOLD_BEFORE
    assert len(phone.got) == 1


def test_without_any_place_a_process_remembers_and_a_new_one_tells_again(machine: Machine, phone: Phone) -> None:
    for place in machine.places:
        place.rmdir()
        place.write_text("in the way")
    assert machine.report(AT, is_lasting=True) is Outcome.TOLD
    same = machine.resort(AT + MINUTE, is_same_process=True)
    assert same.report(AWAY, is_lasting=True) is Outcome.TOLD_BEFORE
    assert machine.report(AT + 15 * MINUTE, is_lasting=True) is Outcome.TOLD


def test_what_a_clock_ahead_left_mutes_nothing(machine: Machine, phone: Phone) -> None:
    ahead = AT + timedelta(days=400)
    assert machine.report(ahead, is_lasting=True) is Outcome.TOLD
    assert machine.report(AT, is_lasting=True) is Outcome.TOLD
    assert len(phone.got) == 2


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"since": 1}', b"\xff\x00" * 100])
def test_damaged_memory_mutes_nothing(machine: Machine, content: bytes) -> None:
    machine.report(AT, is_lasting=True)
    for place in machine.places:
        for file in place.rglob("*"):
            if file.is_file():
                file.write_bytes(content)
    assert machine.report(AT + MINUTE, is_lasting=True) is Outcome.TOLD


def test_folder_that_others_can_write_is_not_believed(machine: Machine, phone: Phone) -> None:
    machine.report(AT, is_lasting=True)
    for place in machine.places:
        (folder,) = place.iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        folder.chmod(0o777)
    assert machine.report(AT + MINUTE, is_lasting=True) is Outcome.TOLD


def test_process_that_died_while_telling_leaves_it_to_the_next(machine: Machine, phone: Phone) -> None:
    held = machine.resort(AT).memory
    with held.alone() as is_alone:
        assert is_alone
        assert machine.report(AT, is_lasting=True) is Outcome.TOLD_BEFORE
    assert machine.report(AT + MINUTE, is_lasting=True) is Outcome.TOLD


def test_waiting_process_leaves_it_when_the_storage_works_again(machine: Machine, phone: Phone) -> None:
    answers: Iterator[StorageError | None] = iter([AWAY, None])
    assert machine.resort(AT).insist(lambda: next(answers)) is Outcome.RECOVERED
    assert phone.got == []


def test_waiting_process_tells_at_the_end_of_grace(tmp_path: Path, phone: Phone) -> None:
    machine = Machine(tmp_path, phone, policy=POLICY.model_copy(update={"grace": timedelta(milliseconds=50)}))
    assert machine.resort(AT).insist(lambda: AWAY) is Outcome.TOLD
    assert machine.resort(AT).insist(lambda: AWAY) is Outcome.TOLD_BEFORE


@pytest.mark.parametrize("reserve_mb", [0, 3])
def test_reserve_takes_its_size_and_gives_it_back(tmp_path: Path, reserve_mb: int) -> None:
    room = Room(tmp_path, POLICY.model_copy(update={"reserve_mb": reserve_mb}))
    assert room.reserve() is (reserve_mb > 0)
    assert room.reserve() is (reserve_mb > 0)
    if reserve_mb:
        found = reserve_file(tmp_path).stat()
        assert found.st_size == reserve_mb * 1_000_000
        assert found.st_blocks * 512 >= found.st_size
        assert stat.S_IMODE(found.st_mode) == 0o600
    assert room.release() is (reserve_mb > 0)
    assert list(tmp_path.iterdir()) == []


def test_reserve_of_another_size_is_made_anew(tmp_path: Path) -> None:
    for reserve_mb in (2, 1):
        assert Room(tmp_path, POLICY.model_copy(update={"reserve_mb": reserve_mb})).reserve()
        assert reserve_file(tmp_path).stat().st_size == reserve_mb * 1_000_000


@pytest.mark.parametrize(("warn_free_mb", "state"), [(0, RoomState.ENOUGH), (1_000_000, RoomState.LOW)])
def test_room_is_low_below_warn_free_mb(tmp_path: Path, warn_free_mb: int, state: RoomState) -> None:
    assert Room(tmp_path / "not made", POLICY.model_copy(update={"warn_free_mb": warn_free_mb})).check() is state


def test_reserve_that_was_given_up_and_does_not_fit_again_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Room(tmp_path, POLICY.model_copy(update={"warn_free_mb": 0, "reserve_mb": 3}))
    assert room.reserve()
    monkeypatch.setattr(Room, "_free_bytes", lambda _: 0)
    assert room.check() is RoomState.RELEASED
    assert room.check() is RoomState.FULL
    monkeypatch.setattr(Room, "_free_bytes", lambda _: 3_000_000)
    assert room.check() is RoomState.LOW
    monkeypatch.setattr(Room, "_free_bytes", lambda _: 7_000_000)
    assert room.check() is RoomState.ENOUGH


@pytest.mark.parametrize(("warn_free_mb", "alarms"), [(0, 0), (1_000_000, 1)])
def test_tick_raises_an_alarm_while_room_is_low(tmp_path: Path, warn_free_mb: int, alarms: int) -> None:
    settings = {"last_resort": {"warn_free_mb": warn_free_mb}}
    made = Installation(tmp_path, FixedSources({ETH: candles()}), settings)
    made.grid("eth")
    with dg.DagsterInstance.ephemeral() as instance:
        for n in range(2):
            made.tick(TICK + n * 15 * MINUTE, instance)
    lines = (made.home / "pages.jsonl").read_text().splitlines() if (made.home / "pages.jsonl").exists() else []
    told = [json.loads(line)["title"] for line in lines]
    assert sum(title.startswith("DISK ALMOST FULL") for title in told) == alarms


TICK = datetime(2025, 3, 3, 14, tzinfo=UTC)


def candles() -> pl.DataFrame:
    return ranging_candles(datetime(2024, 12, 20, tzinfo=UTC), 80, seed=3)


@pytest.mark.parametrize(
    ("limits", "status"),
    [
        ({"warn_free_mb": 0, "fail_free_mb": 0}, "ok"),
        ({"warn_free_mb": 1_000_000, "fail_free_mb": 0}, "warn"),
        ({"warn_free_mb": 1_000_000, "fail_free_mb": 1_000_000}, "fail"),
    ],
)
def test_doctor_warns_and_fails_by_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: dict[str, int], status: str
) -> None:
    from mm_pipeline.cli.doctor.checks import _home

    monkeypatch.setenv("MM_HOME", str(tmp_path))
    settings = load_settings()
    policy = settings.last_resort.model_copy(update=limits)
    findings = {one.check: one for one in _home(settings.model_copy(update={"last_resort": policy}))}
    assert findings["disk"].status.value == status


def test_probe_finds_a_journal_that_is_no_database_and_one_damaged_inside(tmp_path: Path) -> None:
    from mm_pipeline.adapters.journal import Journal, sqlite_url

    file = tmp_path / "journal.db"
    probe = StorageProbe(sqlite_url(file), (tmp_path, tmp_path / "not made"), is_paper=True)
    with Journal(sqlite_url(file)):
        pass
    assert probe.problem(is_thorough=True) is None
    whole = file.read_bytes()
    file.write_bytes(b"x" * 4096 + whole[4096:])
    assert probe.problem() is not None
    file.write_bytes(whole[:8192] + os.urandom(len(whole) - 8192))
    found = probe.problem(is_thorough=True)
    assert found is not None
    assert "journal" in found.problem


def test_errors_of_storage_are_told_from_others() -> None:
    def raised(cause: Exception) -> Exception:
        try:
            raise RuntimeError("the step failed") from cause
        except RuntimeError as error:
            return error

    assert is_storage_failure(raised(AWAY))
    assert is_storage_failure(raised(OSError(28, "No space left on device")))
    assert not is_storage_failure(raised(OSError(2, "No such file")))
    assert not is_storage_failure(raised(ValueError("x")))


@pytest.mark.skipif(sys.platform != "linux", reason="the folder is Linux's")
def test_default_places_do_not_lie_on_the_homes_disk_alone(tmp_path: Path) -> None:
    found = memory._places(tmp_path)
    assert found[-1] == tmp_path
    assert Path("/dev/shm") in found  # noqa: S108
