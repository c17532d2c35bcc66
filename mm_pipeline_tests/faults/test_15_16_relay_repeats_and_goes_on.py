"""Rows 15 and 16 of the reliability table at the relay, over a real Pushover channel: repeated, or handed on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mm_pipeline.adapters.clock import Clock, SystemClock
from mm_pipeline.adapters.journal import Journal, sqlite_url
from mm_pipeline.application.opening.channels import ConfiguredChannels, Delivery, delivery_of
from mm_pipeline.domain.notifications import Channel
from mm_pipeline.paper.pushover import PaperPushover
from mm_pipeline_tests.delivery_process import ENVIRONMENT, TOKEN, USER, phone_settings
from mm_pipeline_tests.notification_samples import (
    AT,
    BAR,
    MINUTE,
    SECOND,
    WRITTEN_BY,
    ScriptedChannel,
    TestClock,
    a_decided,
    a_page,
    commit,
    outcomes,
)

pytestmark = pytest.mark.fault

REFUSALS = {
    "400": {"status": 400, "body": {"status": 0, "errors": ["user key is not valid"]}},
    "200 with status 0": {"status": 200, "body": {"status": 0, "errors": ["device is not enabled"]}},
}


class Desk:
    """A phone over the paper Pushover, and a chat that takes what the phone does not."""

    def __init__(self, journal: Journal, server: PaperPushover, clock: Clock, **delivery: Any) -> None:
        self.journal = journal
        self.server = server
        self.clock = clock
        self.settings = phone_settings(server.url, secondary=("chat",), **delivery)
        self.chat = ScriptedChannel("chat", TestClock())

    def delivery(self, *, without_chat: bool = False) -> Delivery:
        """Made anew each time, as each run does."""
        channels: dict[str, Channel] = {**ConfiguredChannels(Path("/nonexistent")).open(self.settings)}
        channels["chat"] = self.chat
        if without_chat:
            del channels["chat"]
        return delivery_of(self.journal, channels, settings=self.settings, clock=self.clock, written_by=WRITTEN_BY)

    def run(self, **options: Any) -> list[str]:
        return [f"{sent.channel} {sent.outcome}" for sent in self.delivery(**options).relay.run()]

    def posts(self) -> list[int]:
        return [record.status for record in self.server.requests if record.path == "/1/messages.json"]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(sqlite_url(tmp_path / "journal.db")) as opened:
        yield opened


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PaperPushover]:
    for name, key in ENVIRONMENT.items():
        monkeypatch.setenv(name, key)
    with PaperPushover(token=TOKEN, user=USER) as started:
        yield started


def test_15_page_that_met_an_error_is_repeated_five_seconds_later_and_delivered_once(
    journal: Journal, server: PaperPushover
) -> None:
    desk = Desk(journal, server, SystemClock())
    now = desk.clock.now()
    page = a_page(evaluated_at=now, decided_at=now)
    journal.notifications.commit([a_decided(page)], [page], channels={"phone": 0}, due_at=now)
    server.fail_next(status=500)
    made, ends_s = desk.run(), time.monotonic() + 15
    while "phone sent" not in made and time.monotonic() < ends_s:
        time.sleep(0.1)
        made += desk.run()
    assert made == ["phone failed", "phone sent"]
    failed, taken = server.requests
    assert (failed.status, taken.status) == (500, 200)
    assert 5.0 <= taken.real_s - failed.real_s < 12.0
    assert desk.run() == []
    assert len(server.messages) == 1
    assert outcomes(journal) == ["failed", "sent"]


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
def test_16_refused_page_goes_to_the_next_channel_with_one_alarm_and_is_not_repeated(
    journal: Journal, server: PaperPushover, refusal: dict[str, Any]
) -> None:
    clock = TestClock()
    desk = Desk(journal, server, clock)
    server.fail_next(100, **refusal)
    commit(journal, desk.delivery())
    for _ in range(3):
        desk.run()
        clock.pass_(7 * MINUTE)
    assert desk.posts() == [refusal["status"]]
    page, alarm = desk.chat.sent
    assert (page.page_id, alarm.title) == ("p1", "CHANNEL phone refuses pages")
    assert refusal["body"]["errors"][0] in alarm.text
    commit(journal, desk.delivery(), "p2", evaluated_at=AT + 2 * BAR)
    clock.pass_(BAR)
    desk.run()
    assert [message.page_id for message in desk.chat.sent if message.title.startswith("CHANNEL")] == [alarm.page_id]
    assert desk.chat.sent[-1].page_id == "p2"


def test_16_used_up_quota_goes_on_to_the_next_channel_and_is_told_before_it_happens(
    journal: Journal, server: PaperPushover
) -> None:
    clock = TestClock()
    desk = Desk(journal, server, clock, min_quota_share=0.4)
    server.account.monthly_limit = 4
    for number in range(5):
        commit(journal, desk.delivery(), f"p{number}", grids=(f"g{number}",), priority=0, notice="WARNING")
        desk.run()
    assert [message.title for message in server.messages] == [
        "EXIT NOW p0",
        "EXIT NOW p1",
        "EXIT NOW p2",
        "CHANNEL phone runs out of messages",
    ]
    assert [message.page_id for message in desk.chat.sent if not message.title.startswith("CHANNEL")] == ["p3", "p4"]


def test_16_page_that_every_channel_refuses_is_recorded_as_undeliverable_and_overdue(
    journal: Journal, server: PaperPushover, caplog: pytest.LogCaptureFixture
) -> None:
    clock = TestClock()
    desk = Desk(journal, server, clock)
    server.fail_next(100, **REFUSALS["400"])
    commit(journal, desk.delivery())
    for _ in range(4):
        desk.run(without_chat=True)
        clock.pass_(SECOND)
    assert outcomes(journal) == ["refused", "undeliverable"]
    assert desk.posts() == [400, 400]  # the page, and the alarm about it for want of another channel
    assert "reached nobody" in caplog.text
    overdue = journal.outbox.unsent(decided_before=clock.now())
    assert "p1" in [page.page for page in overdue]


def test_15_phone_that_fails_again_and_again_is_left_alone_then_tried_again(
    journal: Journal, server: PaperPushover
) -> None:
    clock = TestClock()
    desk = Desk(journal, server, clock, breaker_failures=3, breaker_cool_down="5min")
    server.fail_next(3, status=500)
    for number in range(3):
        commit(journal, desk.delivery(), f"p{number}", grids=(f"g{number}",))
    desk.run()
    assert desk.posts() == [500] * 3
    commit(journal, desk.delivery(), "p3", grids=("g3",))
    desk.run()
    assert "p3" in [message.page_id for message in desk.chat.sent]  # at once
    assert desk.posts() == [500] * 3
    clock.pass_(5 * MINUTE - SECOND)
    desk.run()
    assert desk.posts() == [500] * 3
    clock.pass_(SECOND)
    desk.run()
    assert desk.posts() == [500] * 3 + [200] * 4  # all that waited for it, late or not
    assert len({message.tags for message in server.messages}) == 4


def test_15_phone_that_still_fails_after_the_cool_down_is_asked_once(journal: Journal, server: PaperPushover) -> None:
    clock = TestClock()
    desk = Desk(journal, server, clock, breaker_failures=3, breaker_cool_down="5min")
    server.fail_next(100, status=500)
    for number in range(3):
        commit(journal, desk.delivery(), f"p{number}", grids=(f"g{number}",))
    desk.run()
    clock.pass_(5 * MINUTE)
    desk.run()
    assert desk.posts() == [500] * 4


def test_15_server_that_is_away_loses_no_page(journal: Journal, server: PaperPushover) -> None:
    clock = TestClock()
    desk = Desk(journal, server, clock)
    server.stop()
    commit(journal, desk.delivery())
    for _ in range(6):
        desk.run(without_chat=True)
        clock.pass_(6 * MINUTE)
    server.start()
    desk.run(without_chat=True)
    desk.run(without_chat=True)
    titles = [message.title for message in server.messages if not message.title.startswith("CHANNEL")]
    assert len(titles) == 1
    assert titles[0].startswith("EXIT NOW p1 (LATE 37 min")
