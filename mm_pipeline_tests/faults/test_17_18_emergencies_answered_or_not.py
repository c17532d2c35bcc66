"""Rows 17 and 18: emergencies that nobody answers, and what ends those that somebody does; over SQLite and Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mm_pipeline.adapters.journal import Journal, ResponseRecord, sqlite_url
from mm_pipeline.application.delivery.follow_up import page_tag
from mm_pipeline.application.opening.channels import ConfiguredChannels, Delivery, delivery_of
from mm_pipeline.domain.notifications import Cause, Judgement, Message, Response, ResponseKind, decide_all
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.pushover import AcceptedMessage, PaperPushover
from mm_pipeline_tests.delivery_process import ENVIRONMENT, TOKEN, USER, phone_settings
from mm_pipeline_tests.journal_samples import SAMPLE
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
)
from mm_pipeline_tests.postgres_server import session_server

pytestmark = pytest.mark.fault


class Desk:
    """One grid's ticks, as the journal and the phone see them."""

    def __init__(self, journal: Journal, server: PaperPushover) -> None:
        self.journal = journal
        self.server = server
        self.clock = TestClock()
        self.settings = phone_settings(server.url, secondary=("partner",))
        self.partner = ScriptedChannel("partner", self.clock)

    def delivery(self) -> Delivery:
        channels = {**ConfiguredChannels(Path("/nonexistent")).open(self.settings), "partner": self.partner}
        return delivery_of(self.journal, channels, settings=self.settings, clock=self.clock, written_by=WRITTEN_BY)

    def pass_to(self, moment: timedelta) -> None:
        self.clock.at = AT + moment
        self.server.clock.stand_at(AT + moment)

    def tick(self, bars: int, state: str, *mandatory: str) -> list[str]:
        """Evaluate, decide, deliver and hear, a minute after the close; kinds of what was heard."""
        self.pass_to(bars * BAR + MINUTE)
        self.decide(bars, state, *mandatory)
        self.delivery().relay.run()
        return self.hear()

    def decide(self, bars: int, state: str, *mandatory: str) -> list[str]:
        """Evaluate a bar and decide about it now; ids of the pages that this makes due."""
        at = AT + bars * BAR
        self.journal.record_evaluations([replace(SAMPLE, grid="eth", evaluated_at=at, state=state)])
        judged = Judgement(
            grid="eth",
            kind="exit",
            evaluated_at=at,
            started_at=None,
            state=state,
            mandatory=mandatory,
            is_held=True,
            cause="stale",
        )
        policy, now = self.settings.notify, self.clock.now()
        history = self.journal.histories.before(judged, now=now, started_at={}, policy=policy)
        made = decide_all([judged], {"eth": history}, policy)
        for decision in made:
            page = a_page(
                decision.page,
                notice=decision.notice.value,
                priority=2 if decision.notice == "MANDATORY_EXIT" else -1,
                evaluated_at=at,
                decided_at=now,
                respond_by=at + BAR if decision.notice == "MANDATORY_EXIT" else None,
            )
            decided = replace(a_decided(page), decision=decision, decided_at=now)
            channels = self.delivery().ladder.first()
            assert self.journal.notifications.commit([decided], [page], channels=channels, due_at=now)
        return [decision.page for decision in made]

    def hear(self) -> list[str]:
        return [answer.response.kind.value for answer in self.delivery().answers.follow().answers]

    def respond(self, kind: ResponseKind, page: str = "") -> None:
        now = self.clock.now()
        response = Response(grid="eth", at=now, kind=kind, page=page)
        answer = ResponseRecord(response=response, source="mm", by_whom="ann", recorded_at=now, **WRITTEN_BY)
        assert self.journal.responses.record([answer]) == 1

    def receipt(self, message: AcceptedMessage) -> dict[str, object]:
        shown = self.server.account.receipt(message.receipt or "", TOKEN)
        assert shown is not None
        return shown

    def cancels(self) -> list[str]:
        return [record.path for record in self.server.requests if "cancel" in record.path]


@pytest.fixture(params=["sqlite", "postgresql"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    is_sqlite = request.param == "sqlite"
    with Journal(sqlite_url(tmp_path / "journal.db") if is_sqlite else session_server().new_database()) as opened:
        yield opened


@pytest.fixture
def desk(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    for name, key in ENVIRONMENT.items():
        monkeypatch.setenv(name, key)
    with PaperPushover(clock=PaperClock.standing(AT), token=TOKEN, user=USER) as server:
        yield Desk(journal, server)


STOP = "stop_loss_breached"


def test_17_unanswered_emergency_expires_is_journalled_and_issued_again_as_number_two(desk: Desk) -> None:
    assert desk.tick(0, "MANDATORY_EXIT", STOP) == []
    (first,) = desk.server.messages
    desk.pass_to(BAR)
    assert desk.hear() == ["missed"]
    desk.delivery().relay.run()
    assert [message.page_id for message in desk.partner.sent] == [first.tags[0].removeprefix("mm-")]

    assert desk.tick(11, "MANDATORY_EXIT", STOP) == []
    desk.pass_to(timedelta(hours=3) + MINUTE - SECOND)
    assert desk.hear() == []
    desk.pass_to(timedelta(hours=3) + MINUTE)
    assert desk.hear() == ["expired"]
    assert desk.hear() == []
    desk.tick(12, "MANDATORY_EXIT", STOP)
    _, again = desk.server.messages
    assert (again.priority, again.tags != first.tags) == (2, True)
    newest = desk.journal.notifications.decisions("eth")[-1].decision
    assert (newest.cause, newest.number, newest.episode_at) == (Cause.REISSUE, 2, AT)
    expired, *_ = (one for one in desk.journal.responses.select("eth") if one.response.kind is ResponseKind.EXPIRED)
    assert (expired.response.at, expired.source) == (AT + timedelta(hours=3) + MINUTE, "receipt")


def test_17_missed_window_of_each_page_is_one_row_and_one_escalation(desk: Desk) -> None:
    desk.tick(0, "MANDATORY_EXIT", STOP)
    for bars in (1, 2, 3):
        desk.tick(bars, "MANDATORY_EXIT", STOP)
    rows = [one.response.kind.value for one in desk.journal.responses.select("eth")]
    assert rows == ["missed"]
    assert len(desk.partner.sent) == 1


def test_18_acknowledgement_is_stored_once_with_who_and_when_and_ends_the_reissues(desk: Desk) -> None:
    desk.tick(0, "MANDATORY_EXIT", STOP)
    (page,) = desk.server.messages
    desk.pass_to(4 * MINUTE)
    assert desk.server.acknowledge(page.receipt or "", device="anns-phone")
    desk.pass_to(9 * MINUTE)
    assert desk.hear() == ["acknowledged"]
    for bars in (1, 12, 13):
        assert desk.tick(bars, "MANDATORY_EXIT", STOP) == []
    (stored,) = desk.journal.responses.select("eth")
    assert (stored.response.at, stored.by_whom, stored.source) == (AT + 4 * MINUTE, "anns-phone", "receipt")
    assert len(desk.server.messages) == 1
    assert desk.cancels() == []


def test_18_new_trigger_pages_again_though_the_first_page_was_acknowledged(desk: Desk) -> None:
    desk.tick(0, "MANDATORY_EXIT", STOP)
    (page,) = desk.server.messages
    desk.server.acknowledge(page.receipt or "")
    desk.hear()
    desk.tick(1, "MANDATORY_EXIT", STOP, "regime_trend")
    assert len(desk.server.messages) == 2


@pytest.mark.parametrize("kind", [ResponseKind.ACKNOWLEDGED, ResponseKind.FLAT, ResponseKind.VERIFIED_FLAT])
def test_18_answer_by_command_ends_the_emergency_at_the_provider_by_its_tag(desk: Desk, kind: ResponseKind) -> None:
    desk.tick(0, "MANDATORY_EXIT", STOP)
    (page,) = desk.server.messages
    desk.pass_to(5 * MINUTE)
    desk.respond(kind, page.tags[0].removeprefix("mm-") if kind is ResponseKind.ACKNOWLEDGED else "")
    assert desk.hear() == ["cancelled"]
    assert desk.cancels() == [f"/1/receipts/cancel_by_tag/{page.tags[0]}.json"]
    assert desk.receipt(page)["expired"] == 1
    assert desk.hear() == []
    desk.tick(13, "MANDATORY_EXIT", STOP)
    assert len(desk.server.messages) == 1


def test_18_recovery_ends_the_emergency_after_two_good_evaluations(desk: Desk) -> None:
    desk.tick(0, "MANDATORY_EXIT", "regime_trend")
    assert desk.tick(1, "NORMAL") == ["missed"]
    (page,) = desk.server.messages
    assert desk.receipt(page)["expired"] == 0
    assert desk.tick(2, "NORMAL") == ["cancelled"]
    assert desk.receipt(page)["expired"] == 1
    assert [message.priority for message in desk.server.messages] == [2, -1]


def test_18_newer_emergency_ends_the_older_one_once_it_rings_itself(desk: Desk) -> None:
    desk.tick(0, "MANDATORY_EXIT", "regime_trend")
    (first,) = desk.server.messages
    desk.server.fail_next(status=500)
    heard = desk.tick(1, "MANDATORY_EXIT", "regime_trend", STOP)
    assert "cancelled" not in heard  # the first is all that rings
    assert desk.receipt(first)["expired"] == 0
    desk.pass_to(BAR + 2 * MINUTE)
    desk.delivery().relay.run()
    assert "cancelled" in desk.hear()
    _, second = desk.server.messages
    assert desk.receipt(first)["expired"] == 1
    assert desk.receipt(second)["expired"] == 0


def test_18_provider_that_is_away_is_asked_again_and_nothing_is_lost(desk: Desk) -> None:
    desk.tick(0, "MANDATORY_EXIT", STOP)
    (page,) = desk.server.messages
    desk.server.acknowledge(page.receipt or "", device="anns-phone")
    desk.server.stop()
    desk.pass_to(10 * MINUTE)
    heard = desk.delivery().answers.follow()
    assert heard.answers == ()
    assert len(heard.problems) == 1
    desk.server.start()
    assert desk.hear() == ["acknowledged"]


@pytest.mark.parametrize("kind", [ResponseKind.ACKNOWLEDGED, ResponseKind.FLAT])
def test_18_emergency_that_rings_unrecorded_is_ended_when_it_was_answered_meanwhile(
    desk: Desk, kind: ResponseKind
) -> None:
    desk.pass_to(MINUTE)
    (page,) = desk.decide(0, "MANDATORY_EXIT", STOP)
    claim = desk.journal.outbox.claim(
        owner="dead", now=desk.clock.now(), lease=desk.settings.delivery.lease, channels=["phone"]
    )
    assert claim is not None
    phone = desk.delivery().ladder.channels["phone"]
    phone.send(  # the process dies before the answer is recorded
        Message(
            page_id=page, title="t", text="t", priority=2, at=AT, tags=(page_tag(page),), retry_s=60, expire_s=10_800
        )
    )
    (message,) = desk.server.messages
    desk.pass_to(2 * MINUTE)
    desk.respond(kind, page if kind is ResponseKind.ACKNOWLEDGED else "")
    desk.pass_to(6 * MINUTE)
    assert [sent.outcome.value for sent in desk.delivery().relay.run()] == ["answered"]
    assert desk.hear() == []
    assert len(desk.cancels()) == 1
    assert desk.receipt(message)["expired"] == 1
    assert len(desk.server.messages) == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("LATEST_ACCEPTABLE_EXIT",), ("MANDATORY_EXIT", STOP)),
        (("MANDATORY_EXIT", STOP), ("MANDATORY_EXIT", STOP, "regime_trend")),
    ],
)
def test_18_word_that_it_is_flat_stands_until_it_is_taken_back(
    desk: Desk, first: tuple[str, ...], second: tuple[str, ...]
) -> None:
    desk.tick(0, *first)
    desk.pass_to(BAR + 20 * SECOND)  # after the bar has closed, before anybody decides about it
    desk.respond(ResponseKind.FLAT)
    for bars in range(1, 14):
        desk.tick(bars, *second)
    assert len(desk.server.messages) == 1
    desk.pass_to(13 * BAR + 2 * MINUTE)
    desk.respond(ResponseKind.REOPENED)
    for bars in range(14, 16):
        desk.tick(bars, *second)
    assert len(desk.server.messages) == 2


def test_18_repetitions_that_the_grid_is_blind_are_sent_after_a_flat_too(desk: Desk) -> None:
    for bars in range(50):
        desk.tick(bars, "UNKNOWN")
        if bars == 4:
            desk.respond(ResponseKind.FLAT)
    assert len(desk.server.messages) == 3
