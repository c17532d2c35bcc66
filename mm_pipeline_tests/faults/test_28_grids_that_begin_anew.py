"""Row 28: a grid that comes back, or trades another market, under its old start is told anew, whatever was answered."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mm_pipeline.adapters.journal import ResponseRecord
from mm_pipeline.domain.notifications import Cause, Notice, Response, ResponseKind
from mm_pipeline.settings import Settings, load_settings
from mm_pipeline_tests.machine_watch import BAR, GRID, MINUTE, MachineWatch, World, without_pictures
from mm_pipeline_tests.notification_watch import WRITTEN_BY, MovingClock, ScriptedProvider

pytestmark = pytest.mark.fault
CALM, BELOW = 3000.0, 2700.0


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


def tick(watch: MachineWatch, price: float) -> None:
    world = watch.world
    world.prices[world.now - MINUTE] = price
    world.now += BAR
    watch.tick()


def emergencies(watch: MachineWatch) -> list[Cause]:
    made = watch.journal.notifications.decisions("eth")
    return [one.decision.cause for one in made if one.decision.notice is Notice.MANDATORY_EXIT]


def breached(watch: MachineWatch) -> None:
    tick(watch, CALM)
    tick(watch, BELOW)
    assert emergencies(watch) == [Cause.CHANGE]


def answer(watch: MachineWatch, kind: ResponseKind) -> None:
    (told,) = watch.journal.notifications.standing("eth")
    page = told.decision.page if kind is ResponseKind.ACKNOWLEDGED else ""
    at = watch.world.now + timedelta(seconds=30)
    word = Response(grid="eth", at=at, kind=kind, page=page)
    made = ResponseRecord(response=word, source="command", by_whom="op", recorded_at=at, **WRITTEN_BY)
    watch.journal.responses.record([made])


@pytest.mark.parametrize("kind", [ResponseKind.ACKNOWLEDGED, ResponseKind.FLAT])
def test_28_market_that_changes_under_the_old_start_is_told_whatever_was_answered(
    watch: MachineWatch, kind: ResponseKind
) -> None:
    breached(watch)
    answer(watch, kind)
    watch.world.now += 2 * MINUTE
    watch.declare(GRID | {"exchange": "binance"})
    watch.world.now -= 2 * MINUTE
    tick(watch, BELOW)
    tick(watch, BELOW)
    assert emergencies(watch) == [Cause.CHANGE, Cause.CHANGE]


@pytest.mark.parametrize("is_acknowledged", [True, False])
def test_28_grid_that_comes_back_after_it_was_retired_is_told_anew(
    watch: MachineWatch, *, is_acknowledged: bool
) -> None:
    breached(watch)
    if is_acknowledged:
        answer(watch, ResponseKind.ACKNOWLEDGED)
    watch.grid_file.unlink()
    tick(watch, BELOW)
    assert watch.journal.retire_grid("eth", watch.world.now, by="op")
    tick(watch, BELOW)
    before = len(emergencies(watch))
    watch.declare(GRID)
    tick(watch, BELOW)
    tick(watch, BELOW)
    assert emergencies(watch)[before:] == [Cause.CHANGE]
