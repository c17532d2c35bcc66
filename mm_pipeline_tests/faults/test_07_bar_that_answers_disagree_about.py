"""Row 7: two servers of one exchange tell one bar in turn; its breach is paged once, and is not well until it is so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mm_pipeline.adapters.journal import ResponseRecord
from mm_pipeline.domain.notifications import Notice, Response, ResponseKind
from mm_pipeline.settings import Settings, load_settings
from mm_pipeline_tests.machine_watch import BAR, MINUTE, MachineWatch, World, without_pictures
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


def tick(watch: MachineWatch, price: float) -> str:
    world = watch.world
    world.prices[world.now - MINUTE] = price
    world.now += BAR
    watch.tick()
    for standing in watch.journal.notifications.standing("eth"):
        word = Response(grid="eth", at=world.now, kind=ResponseKind.ACKNOWLEDGED, page=standing.decision.page)
        made = ResponseRecord(response=word, source="command", by_whom="op", recorded_at=world.now, **WRITTEN_BY)
        watch.journal.responses.record([made])
    found = watch.journal.last_evaluation("eth")
    assert found is not None
    return found.state


@pytest.mark.parametrize("answers", [1, 2])
def test_07_bar_that_two_servers_tell_in_turn_is_paged_once_and_never_well(watch: MachineWatch, answers: int) -> None:
    for _ in range(3):
        tick(watch, CALM)
    opened = watch.world.now - MINUTE
    tick(watch, BELOW)
    for number in range(8):
        watch.world.prices[opened] = CALM if number // answers % 2 == 0 else BELOW
        assert tick(watch, CALM) == "MANDATORY_EXIT"
    told = [one.decision.notice for one in watch.journal.notifications.decisions("eth") if one.decision.is_told]
    assert (told.count(Notice.MANDATORY_EXIT), told.count(Notice.NORMAL)) == (1, 0)


def test_07_breach_that_three_answers_take_back_is_over(watch: MachineWatch) -> None:
    for _ in range(3):
        tick(watch, CALM)
    opened = watch.world.now - MINUTE
    tick(watch, BELOW)
    watch.world.prices[opened] = CALM
    assert [tick(watch, CALM) for _ in range(3)] == ["MANDATORY_EXIT", "MANDATORY_EXIT", "NORMAL"]
