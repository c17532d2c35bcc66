"""Row 27: a time that is behind moves no edit of a grid to an earlier moment, and one that is ahead mutes no grid."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mm_pipeline.adapters.journal import ResponseRecord
from mm_pipeline.domain.notifications import Notice, Response, ResponseKind
from mm_pipeline.settings import Settings, load_settings
from mm_pipeline_tests.machine_watch import BAR, GRID, MINUTE, MachineWatch, World, without_pictures
from mm_pipeline_tests.notification_watch import WRITTEN_BY, MovingClock, ScriptedProvider

pytestmark = pytest.mark.fault
HOUR = timedelta(hours=1)
CALM, BELOW, BETWEEN = 3000.0, 2700.0, 2820.0
RAISED, LOWERED = 2860.0, 2650.0
"""Stops above the low ``BETWEEN``, and below the low ``BELOW``."""


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MachineWatch]:
    monkeypatch.setenv("MM_HEARTBEAT_URL", "http://127.0.0.1:9/beat")
    content = load_settings().model_dump(mode="json") | {"channels": [{"name": "phone", "kind": "console"}]}
    world = World()
    phone = ScriptedProvider("phone", MovingClock(world.now))
    made = MachineWatch(tmp_path, world, Settings.model_validate(content), {"phone": phone})
    with without_pictures(lambda _url: True):
        yield made
    made.close()


def tick(watch: MachineWatch, price: float) -> str:
    world = watch.world
    world.prices[world.now - MINUTE] = price
    world.now += BAR
    watch.tick()
    made = watch.journal.last_evaluation("eth")
    assert made is not None
    return made.state


def tick_behind(watch: MachineWatch, side: str) -> None:
    """A tick two hours behind: by this machine's clock while the exchange is silent, or by the exchange's own time."""
    world = watch.world
    if side == "clock":
        world.skew, world.is_away = -2 * HOUR, True
        tick(watch, CALM)
    else:
        world.prices[world.now - MINUTE] = CALM
        world.now += BAR - 2 * HOUR
        world.skew = 2 * HOUR
        watch.tick()
        world.now += 2 * HOUR
    world.skew, world.is_away = timedelta(0), False


def emergencies(watch: MachineWatch) -> int:
    made = watch.journal.notifications.decisions("eth")
    return sum(one.decision.notice is Notice.MANDATORY_EXIT and one.decision.is_told for one in made)


@pytest.mark.parametrize("side", ["clock", "exchange"])
@pytest.mark.parametrize("is_edited_then", [False, True])
def test_27_tick_behind_heals_no_breach_of_the_stop_that_was_lowered_later(
    watch: MachineWatch, side: str, *, is_edited_then: bool
) -> None:
    for price in (CALM, CALM, CALM, CALM, BELOW):
        tick(watch, price)
    if not is_edited_then:
        watch.declare(GRID | {"stop_loss": LOWERED})
        for _ in range(2):
            tick(watch, CALM)
    watch.declare(GRID | {"stop_loss": LOWERED})
    tick_behind(watch, side)
    assert [tick(watch, CALM) for _ in range(3)] == ["MANDATORY_EXIT"] * 3
    assert emergencies(watch) == 1
    assert [version.grid.stop_loss for version in watch.journal.grid_versions("eth")] == [2800.0, LOWERED]


@pytest.mark.parametrize("side", ["clock", "exchange"])
def test_27_tick_behind_makes_no_past_low_a_breach_of_the_stop_that_was_raised_later(
    watch: MachineWatch, side: str
) -> None:
    for price in (CALM, CALM, BETWEEN, *[CALM] * 6):
        tick(watch, price)
    watch.declare(GRID | {"stop_loss": RAISED})
    tick(watch, CALM)
    tick_behind(watch, side)
    for _ in range(2):
        tick(watch, CALM)
    assert emergencies(watch) == 0
    assert [version.grid.stop_loss for version in watch.journal.grid_versions("eth")] == [2800.0, RAISED]


def say(watch: MachineWatch, kind: ResponseKind, ahead: timedelta = timedelta(0)) -> None:
    at = watch.world.now + ahead
    word = ResponseRecord(
        response=Response(grid="eth", at=at, kind=kind), source="command", by_whom="op", recorded_at=at, **WRITTEN_BY
    )
    assert watch.journal.responses.record([word]) == 1


def test_27_grid_that_a_clock_ahead_reopens_is_open_and_the_alarm_names_each_word(watch: MachineWatch) -> None:
    for _ in range(3):
        tick(watch, CALM)
    say(watch, ResponseKind.FLAT)
    tick(watch, CALM)
    say(watch, ResponseKind.REOPENED, 6 * HOUR)
    tick(watch, CALM)
    for _ in range(2):
        tick(watch, BELOW)
    assert emergencies(watch) == 1
    said = f"{watch.world.now - 3 * BAR + 6 * HOUR:%Y-%m-%d %H:%M} UTC"
    (alarm,) = [page.text for page in watch.journal.notifications.pages() if "CLOCK" in page.title]
    assert f"reopened of eth at {said} (command) counts from now." in alarm
    say(watch, ResponseKind.FLAT, 6 * HOUR)
    tick(watch, BELOW)
    alarms = [page.text for page in watch.journal.notifications.pages() if "CLOCK" in page.title]
    assert "flat of eth" in alarms[-1]
    assert "does not count; say it again if it is true" in alarms[-1]
