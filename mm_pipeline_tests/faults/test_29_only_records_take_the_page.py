"""Row 29: console and file keep a page and put it before nobody; only a channel that reaches a person delivers it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mm_pipeline.adapters.channels import AppriseConfig, ConsoleConfig, FileConfig, PushoverConfig
from mm_pipeline.adapters.journal import Journal, sqlite_url
from mm_pipeline.application.opening.channels import ConfiguredChannels, Delivery, delivery_of
from mm_pipeline.domain.notifications import Channel
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.pushover import PaperPushover
from mm_pipeline_tests.delivery_process import ENVIRONMENT, TOKEN, USER
from mm_pipeline_tests.notification_samples import (
    AT,
    MINUTE,
    WRITTEN_BY,
    ScriptedChannel,
    TestClock,
    commit,
    outcomes,
    settings_with,
)

pytestmark = pytest.mark.fault


class House:
    """The packaged console and file, and a phone of a paper Pushover; a chat where a test adds one."""

    def __init__(self, journal: Journal, server: PaperPushover, home: Path) -> None:
        self.journal, self.server, self.home = journal, server, home
        self.clock = TestClock()
        keys = dict(zip(("token_env", "user_env"), ENVIRONMENT, strict=True))
        self.declared = [
            ConsoleConfig(kind="console", name="console"),
            FileConfig(kind="file", name="pages", path="pages.jsonl"),
            PushoverConfig(kind="pushover", name="phone", api_url=server.url, **keys),
        ]
        self.others: dict[str, Channel] = {}
        self.settings = settings_with().model_copy(update={"channels": tuple(self.declared)})

    def add_chat(self) -> ScriptedChannel:
        chat = ScriptedChannel("chat", self.clock)
        self.others["chat"] = chat
        config = AppriseConfig(kind="apprise", name="chat", url_env="MM_CHAT_URL", is_secondary=True)
        self.settings = self.settings.model_copy(update={"channels": (*self.declared, config)})
        return chat

    def delivery(self) -> Delivery:
        channels = {**ConfiguredChannels(self.home).open(self.settings), **self.others}
        return delivery_of(self.journal, channels, settings=self.settings, clock=self.clock, written_by=WRITTEN_BY)

    def pass_(self, minutes: int) -> Delivery:
        """Let the sensors work each minute."""
        for _ in range(minutes):
            self.clock.pass_(MINUTE)
            self.server.clock.stand_at(self.clock.at)
            self.delivery().relay.run()
            self.delivery().answers.follow()
        return self.delivery()

    def overdue(self) -> list[str]:
        before = self.clock.at - self.settings.delivery.overdue_after
        records = self.delivery().ladder.records
        return [page.page for page in self.journal.outbox.unsent(decided_before=before, records=records)]

    def phones(self) -> list[str]:
        """Titles of what the phone has taken."""
        return [message.title for message in self.server.messages]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    for name, key in ENVIRONMENT.items():
        monkeypatch.setenv(name, key)
    server = PaperPushover(clock=PaperClock.standing(AT), token=TOKEN, user=USER)
    with server, Journal(sqlite_url(tmp_path / "journal.db")) as journal:
        yield House(journal, server, tmp_path)


def test_29_page_that_only_console_and_file_took_is_overdue_until_the_phone_is_back(house: House) -> None:
    house.server.fail_next(10_000, status=503)
    commit(house.journal, house.delivery())
    delivery = house.pass_(80)
    assert outcomes(house.journal, channel="console") == outcomes(house.journal, channel="pages") == ["sent"]
    assert (house.phones(), house.overdue()[0]) == ([], "p1")
    assert (delivery.health.silence() or "").startswith("no page reaches anybody; phone: ")
    assert not [one for one in house.journal.responses.select() if one.response.kind == "missed"]

    house.server.faults.clear()
    delivery = house.pass_(6)
    assert any(title.startswith("EXIT NOW p1") for title in house.phones())
    assert (house.overdue(), delivery.health.silence()) == ([], None)
    assert not [one for one in house.journal.responses.select() if one.response.kind == "missed"]
    house.pass_(16)
    assert [one.response.kind for one in house.journal.responses.select()] == ["missed"]


def test_29_page_that_the_phone_refuses_stays_overdue_and_is_tried_again_when_its_key_is_right(house: House) -> None:
    house.server.fail_next(10_000, status=400)
    commit(house.journal, house.delivery())
    delivery = house.pass_(50)
    assert outcomes(house.journal, channel="phone") == ["refused"]
    assert house.overdue()[0] == "p1"
    assert delivery.health.silence() is not None
    house.server.faults.clear()
    delivery = house.pass_(15)
    assert any(title.startswith("EXIT NOW p1") for title in house.phones())
    assert (house.overdue(), delivery.health.silence()) == ([], None)


@pytest.mark.parametrize("status", [400, 503])
def test_29_next_channel_that_reaches_somebody_takes_the_page_and_the_alarm(house: House, status: int) -> None:
    chat = house.add_chat()
    house.server.fail_next(10_000, status=status)
    commit(house.journal, house.delivery())
    delivery = house.pass_(20)
    assert next(message.page_id for message in chat.sent) == "p1"
    assert any("CHANNEL phone" in message.title for message in chat.sent)
    assert (house.overdue(), delivery.health.silence()) == ([], None)
    assert list(delivery.health.failing()) == ["phone"]


def test_29_alarm_about_the_only_channel_that_reaches_somebody_waits_for_it(house: House) -> None:
    house.server.fail_next(10_000, status=503)
    commit(house.journal, house.delivery())
    house.pass_(20)
    assert house.phones() == []
    house.server.faults.clear()
    house.pass_(6)
    assert any("CHANNEL phone takes no pages" in title for title in house.phones())


def test_29_secondary_phone_behind_records_alone_takes_each_page_at_once(house: House) -> None:
    secondary = house.declared[2].model_copy(update={"is_secondary": True})
    house.settings = house.settings.model_copy(update={"channels": (*house.declared[:2], secondary)})
    commit(house.journal, house.delivery())
    house.delivery().relay.run()
    assert len(house.phones()) == 1


def test_29_phone_without_its_key_is_named_before_any_page(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name)
    assert list(house.delivery().health.failing()) == ["phone"]
    assert house.delivery().health.silence() is not None


def test_29_pages_of_the_time_before_the_phone_are_not_poured_out_over_it(house: House) -> None:
    house.settings = house.settings.model_copy(update={"channels": tuple(house.declared[:2])})
    commit(house.journal, house.delivery())
    house.delivery().relay.run()
    assert house.overdue() == []
    house.clock.pass_(timedelta(hours=25))
    house.settings = house.settings.model_copy(update={"channels": tuple(house.declared)})
    house.pass_(1)
    assert (house.phones(), house.overdue()) == ([], [])


def test_29_installation_with_records_alone_counts_them(house: House) -> None:
    house.settings = house.settings.model_copy(update={"channels": tuple(house.declared[:2])})
    commit(house.journal, house.delivery())
    house.pass_(20)
    assert (house.overdue(), house.delivery().health.silence()) == ([], None)
