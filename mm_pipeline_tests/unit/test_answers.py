"""What is heard of a page after it was sent: receipts, commands, recovery, and windows that pass unanswered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mm_pipeline.adapters.journal import Journal, ResponseRecord, sqlite_url
from mm_pipeline.application.delivery import follow_up as answers_module
from mm_pipeline.application.delivery.follow_up import FollowUp
from mm_pipeline.application.delivery.page_answers import PageAnswers
from mm_pipeline.application.opening.channels import Delivery
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.notifications import Cause, Judgement, ReceiptState, ReceiptStatus, Response, ResponseKind
from mm_pipeline.settings import load_settings
from mm_pipeline_tests.journal_samples import SAMPLE, grid
from mm_pipeline_tests.notification_samples import (
    AT,
    BAR,
    FAILED,
    MINUTE,
    REFUSED,
    SECOND,
    UNCLEAR,
    WRITTEN_BY,
    ScriptedChannel,
    ScriptedPhone,
    TestClock,
    a_decided,
    a_page,
    commit,
    delivery_over,
    outcomes,
    settings_with,
)


class Desk:
    """A phone with receipts and what else there is, over one journal."""

    def __init__(self, journal: Journal, *others: ScriptedChannel, **changes: Any) -> None:
        self.journal = journal
        self.clock = TestClock()
        self.phone = ScriptedPhone("phone", self.clock)
        self.others = others
        self.changes = changes
        for other in others:
            other.clock = self.clock

    def delivery(self, **changes: Any) -> Delivery:
        channels = {channel.name: channel for channel in (self.phone, *self.others)}
        secondary = tuple(channel.name for channel in self.others)
        return delivery_over(self.journal, channels, self.clock, secondary=secondary, **self.changes | changes)

    def send(self, page: str = "p1", **changes: Any) -> None:
        commit(self.journal, self.delivery(), page, **changes)
        self.clock.at = max(self.clock.at, changes.get("evaluated_at", AT) + MINUTE)
        self.delivery().relay.run()

    def follow(self, **changes: Any) -> FollowUp:
        return self.delivery(**changes).answers.follow()

    def heard(self) -> list[str]:
        return kinds(self.follow())

    def respond(self, kind: ResponseKind, page: str = "", at: datetime | None = None) -> None:
        self.clock.pass_(timedelta(milliseconds=1))  # after the page was decided
        now = self.clock.now()
        response = Response(grid="eth", at=at or now, kind=kind, page=page)
        answer = ResponseRecord(response=response, source="mm", by_whom="ann", recorded_at=now, **WRITTEN_BY)
        assert self.journal.responses.record([answer]) == 1

    def evaluate(
        self,
        *states: str,
        first: datetime,
        kind: EvaluationKind = EvaluationKind.EXIT,
        again_at: datetime | None = None,
    ) -> None:
        """Evaluations bar by bar, each made in time; or all at ``again_at``, as their candles were revised."""
        made = {} if again_at is None else {"input_hash": "revised", "recorded_at": again_at}
        rows = [
            replace(SAMPLE, grid="eth", evaluated_at=first + number * BAR, state=state, kind=kind, **made)
            for number, state in enumerate(states)
        ]
        assert self.journal.record_evaluations(rows) == len(rows)
        # What lies ahead of the clock counts as never made.
        self.clock.at = max(self.clock.at, rows[-1].evaluated_at + MINUTE)

    def open_receipts(self) -> list[str]:
        return [one.receipt for one in self.journal.outbox.open_receipts(now=self.clock.now())]


def kinds(heard: FollowUp) -> list[str]:
    return [answer.response.kind.value for answer in heard.answers]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(sqlite_url(tmp_path / "journal.db")) as opened:
        yield opened


@pytest.fixture
def desk(journal: Journal) -> Desk:
    return Desk(journal, ScriptedPhone("partner", TestClock()))


# Receipts


def test_acknowledgement_is_stored_once_with_who_and_when(desk: Desk) -> None:
    desk.send()
    assert desk.heard() == []
    assert desk.open_receipts() == ["phone-1"]
    desk.clock.pass_(3 * MINUTE)
    desk.phone.acknowledge("phone-1", by="ann's phone")
    desk.clock.pass_(MINUTE)
    (answer,) = desk.follow().answers
    assert answer.response == Response(grid="eth", at=AT + 4 * MINUTE, kind=ResponseKind.ACKNOWLEDGED, page="p1")
    assert (answer.source, answer.by_whom, answer.recorded_at) == ("receipt", "ann's phone", AT + 5 * MINUTE)
    assert desk.heard() == []
    assert desk.open_receipts() == []
    assert desk.phone.questions == ["phone-1"] * 2
    assert desk.phone.cancelled == []


def test_page_of_a_clock_that_was_ahead_is_acknowledged_for_no_later_one_of_its_name(desk: Desk) -> None:
    later = AT + 5 * 60 * MINUTE
    desk.clock.at = later + MINUTE
    desk.send(evaluated_at=later)
    desk.clock.at = AT
    desk.journal.keep_time(desk.clock, tolerance=MINUTE)
    desk.phone.acknowledge("phone-1")
    assert desk.heard() == [], "the page counts as never made"
    desk.journal.set_aside_future(AT)
    desk.clock.at = later + MINUTE
    desk.send(evaluated_at=later)
    assert len(desk.open_receipts()) == 1
    assert desk.heard() == []
    desk.phone.acknowledge(desk.open_receipts()[0])
    assert desk.heard() == ["acknowledged"]


def test_acknowledgement_that_is_older_than_its_page_answers_nothing(desk: Desk) -> None:
    desk.clock.at = AT + 10 * SECOND
    desk.respond(ResponseKind.ACKNOWLEDGED, "p1")
    desk.send()
    known = PageAnswers.about(desk.journal, a_page())
    assert not known.is_answered("eth", a_page())
    judged = Judgement(grid="eth", kind="exit", evaluated_at=AT + BAR, started_at=None, state="MANDATORY_EXIT")
    policy = load_settings().notify
    before = desk.journal.histories.before(judged, now=AT + BAR, started_at={}, policy=policy)
    assert before.acknowledged == {}


def test_emergency_that_expires_is_journalled_once(desk: Desk) -> None:
    desk.send(respond_by=None)
    desk.phone.expire("phone-1")
    assert desk.heard() == ["expired"]
    assert desk.heard() == []
    assert desk.open_receipts() == []


def test_page_acknowledged_on_one_phone_rings_no_more_on_the_other(desk: Desk) -> None:
    (partner,) = desk.others
    desk.send()
    desk.clock.pass_(16 * MINUTE)
    assert desk.heard() == ["missed"]
    desk.delivery().relay.run()
    assert desk.open_receipts() == ["phone-1", "partner-1"]
    desk.phone.acknowledge("phone-1")
    assert desk.heard() == ["acknowledged", "cancelled"]
    assert (desk.phone.cancelled, partner.cancelled) == ([], ["mm-p1"])
    assert desk.open_receipts() == []


def test_receipt_that_expired_on_one_phone_is_still_followed_on_the_other(desk: Desk) -> None:
    (partner,) = desk.others
    desk.send()
    desk.clock.pass_(16 * MINUTE)
    assert desk.heard() == ["missed"]
    desk.delivery().relay.run()
    desk.phone.expire("phone-1")
    assert desk.heard() == ["expired"]
    assert desk.open_receipts() == ["partner-1"]
    partner.acknowledge("partner-1", by="bob")
    (answer,) = desk.follow().answers
    assert (answer.response.kind, answer.by_whom) == (ResponseKind.ACKNOWLEDGED, "bob")


def test_page_that_may_have_arrived_twice_is_ended_whole_by_one_acknowledgement(desk: Desk) -> None:
    desk.phone.errors = [UNCLEAR]
    desk.send()
    desk.clock.pass_(10 * SECOND)
    desk.delivery().relay.run()
    desk.phone.acknowledge("phone-1")
    assert desk.heard() == ["acknowledged"]
    assert desk.phone.cancelled == ["mm-p1"]


def test_phone_under_another_name_is_asked_about_the_receipts_of_the_old_one(desk: Desk) -> None:
    desk.send()
    desk.phone.acknowledge("phone-1")
    desk.phone.name = "pushover"
    assert desk.heard() == ["acknowledged"]


def test_receipt_of_a_phone_that_is_gone_waits_for_it(desk: Desk) -> None:
    desk.send()
    desk.phone.acknowledge("phone-1")
    delivery = delivery_over(desk.journal, {"log": ScriptedChannel("log", desk.clock)}, desk.clock)
    assert delivery.answers.follow() == FollowUp((), ())
    assert desk.heard() == ["acknowledged"]


def test_phone_that_does_not_answer_is_asked_once_a_round_and_windows_do_not_wait_for_it(desk: Desk) -> None:
    for name in ("a", "b", "c"):
        desk.send(name, grids=(name,))
    desk.phone.receipt_errors = dict.fromkeys(("phone-1", "phone-2", "phone-3"), FAILED)
    desk.clock.pass_(BAR)
    heard = desk.follow()
    assert desk.phone.questions == ["phone-1"]
    assert heard.problems == ("phone: it did not answer.",)
    assert kinds(heard) == ["missed"] * 3


def test_receipt_that_is_refused_or_breaks_keeps_no_other_from_being_heard(desk: Desk) -> None:
    for name in ("a", "b", "c"):
        desk.send(name, grids=(name,))
    desk.phone.receipt_errors = {"phone-1": REFUSED, "phone-2": KeyError("odd answer")}
    desk.phone.acknowledge("phone-3")
    heard = desk.follow()
    assert [(answer.response.grid, answer.response.kind.value) for answer in heard.answers] == [("c", "acknowledged")]
    assert heard.problems == ("phone: the key is wrong. Mend it.", "phone: KeyError when asked about a receipt")


def test_receipt_is_followed_for_a_week(desk: Desk) -> None:
    desk.send(respond_by=None)
    desk.clock.pass_(timedelta(days=7) - MINUTE)
    assert desk.open_receipts() == ["phone-1"]
    desk.clock.pass_(2 * MINUTE)
    assert desk.open_receipts() == []


# What ends an emergency


@pytest.mark.parametrize("page", ["p1", ""])
def test_command_that_acknowledges_ends_the_alarms_at_the_provider(desk: Desk, page: str) -> None:
    desk.send()
    desk.respond(ResponseKind.ACKNOWLEDGED, page)
    assert desk.heard() == ["cancelled"]
    assert desk.phone.cancelled == ["mm-p1"]
    assert desk.open_receipts() == []
    assert desk.heard() == []


@pytest.mark.parametrize("kind", [ResponseKind.FLAT, ResponseKind.VERIFIED_FLAT])
def test_closed_position_ends_the_alarms(desk: Desk, kind: ResponseKind) -> None:
    desk.send()
    desk.respond(kind)
    assert desk.heard() == ["cancelled"]
    assert desk.phone.cancelled == ["mm-p1"]


@pytest.mark.parametrize("kind", [ResponseKind.ACKNOWLEDGED, ResponseKind.FLAT])
def test_answer_from_before_the_page_does_not_end_it(desk: Desk, kind: ResponseKind) -> None:
    desk.clock.at = AT - SECOND
    desk.respond(kind)
    desk.send()
    assert outcomes(desk.journal, channel="phone") == ["sent"]
    assert desk.heard() == []
    assert desk.phone.cancelled == []


@pytest.mark.parametrize(
    ("states", "is_over"),
    [
        (("NORMAL", "NORMAL"), True),
        (("WARNING", "LATEST_ACCEPTABLE_EXIT"), False),
        (("NORMAL",), False),
        (("NORMAL", "UNKNOWN"), False),
        (("NORMAL", "MANDATORY_EXIT"), False),
        (("UNKNOWN", "UNKNOWN", "UNKNOWN"), False),
    ],
)
def test_two_evaluations_that_say_normal_end_the_alarms(desk: Desk, states: tuple[str, ...], is_over: bool) -> None:
    desk.evaluate("NORMAL", "NORMAL", "MANDATORY_EXIT", first=AT - 2 * BAR)
    desk.send(respond_by=None)
    desk.evaluate(*states, first=AT + BAR)
    assert desk.heard() == (["cancelled"] if is_over else [])


def test_bar_before_that_is_judged_anew_ends_no_alarm(desk: Desk) -> None:
    desk.send(respond_by=None)
    desk.evaluate("MANDATORY_EXIT", "NORMAL", first=AT + BAR)
    desk.evaluate("NORMAL", first=AT + BAR, again_at=AT + 2 * BAR + MINUTE)
    assert desk.heard() == []
    desk.evaluate("NORMAL", first=AT + 3 * BAR)
    assert desk.heard() == ["cancelled"]


@pytest.mark.parametrize(("evaluations", "is_over"), [(1, True), (2, True), (3, False)])
def test_after_evaluations_of_normal_says_how_many(desk: Desk, evaluations: int, is_over: bool) -> None:
    desk.send(respond_by=None)
    desk.evaluate("NORMAL", "NORMAL", first=AT + BAR)
    notify = settings_with().notify.model_dump()
    notify["normal"] |= {"after_evaluations": evaluations}
    assert kinds(desk.follow(notify=notify)) == (["cancelled"] if is_over else [])


def test_grid_that_is_switched_off_rings_no_more(desk: Desk) -> None:
    desk.send(respond_by=None)
    desk.evaluate("AVOID", first=AT + BAR, kind=EvaluationKind.ENTRY)
    assert desk.heard() == ["cancelled"]


def test_alarm_about_a_disabled_grid_rings_although_the_grid_is_disabled(desk: Desk) -> None:
    told = a_page("p1", respond_by=None)
    decided = [a_decided(told, kind="entry", cause=Cause.CONTRADICTED, state="WAIT")]
    assert desk.journal.notifications.commit(
        decided, [told], channels=desk.delivery().ladder.first(), due_at=told.decided_at
    )
    desk.delivery().relay.run()
    desk.evaluate("WAIT", "WAIT", first=AT, kind=EvaluationKind.ENTRY)
    assert desk.heard() == []
    desk.respond(ResponseKind.ACKNOWLEDGED, "p1")
    assert desk.heard() == ["cancelled"]


def test_newer_page_ends_the_alarms_of_an_older_one_only_once_it_has_arrived_on_the_same_phone(desk: Desk) -> None:
    desk.send(respond_by=None)
    desk.phone.errors = [FAILED]
    desk.send("p2", evaluated_at=AT + BAR, respond_by=None)
    assert desk.heard() == []  # the one that rings is all that the operator hears
    desk.clock.pass_(MINUTE)
    desk.delivery().relay.run()
    assert desk.heard() == ["cancelled"]
    assert desk.phone.cancelled == ["mm-p1"]
    assert desk.open_receipts() == ["phone-2"]


def test_unknown_page_does_not_end_an_emergency_that_stands(desk: Desk) -> None:
    desk.send(respond_by=None)
    desk.send("p2", evaluated_at=AT + BAR, notice="UNKNOWN", priority=1, respond_by=None)
    assert desk.heard() == []
    assert desk.open_receipts() == ["phone-1"]


def test_emergency_of_two_grids_rings_until_both_are_settled(desk: Desk) -> None:
    desk.send(grids=("eth", "btc"), respond_by=None)
    desk.respond(ResponseKind.FLAT)
    assert desk.heard() == []
    rows = [replace(SAMPLE, grid="btc", evaluated_at=AT + number * BAR, state="NORMAL") for number in (1, 2)]
    desk.journal.record_evaluations(rows)
    desk.clock.at = AT + 2 * BAR + MINUTE
    assert desk.heard() == ["cancelled", "cancelled"]


def test_cancel_that_fails_is_told_and_tried_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_tag: str) -> None:
        raise FAILED

    desk.send()
    desk.respond(ResponseKind.FLAT)
    with monkeypatch.context() as patched:
        patched.setattr(desk.phone, "cancel", fail, raising=True)
        assert desk.follow().problems == ("phone: it did not answer.",)
    assert desk.heard() == ["cancelled"]


def test_acknowledged_emergency_whose_cancel_fails_is_ended_at_the_next_round(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_tag: str) -> None:
        raise FAILED

    desk.phone.errors = [UNCLEAR]
    desk.send()
    desk.clock.pass_(MINUTE)
    desk.delivery().relay.run()
    desk.phone.acknowledge(desk.open_receipts()[0], by="ann")
    with monkeypatch.context() as patched:
        patched.setattr(desk.phone, "cancel", fail, raising=True)
        assert desk.follow().problems
    desk.clock.pass_(3 * MINUTE)
    desk.follow()
    assert desk.phone.cancelled
    assert desk.open_receipts() == []


@pytest.mark.parametrize("kind", [ResponseKind.ACKNOWLEDGED, ResponseKind.FLAT])
def test_attempt_that_may_ring_without_a_receipt_is_ended_once_its_page_is_answered(
    desk: Desk, kind: ResponseKind
) -> None:
    desk.phone.errors = [UNCLEAR, REFUSED]  # then it goes to the other phone
    desk.send()
    desk.clock.pass_(3 * MINUTE)
    desk.delivery().relay.run()
    desk.clock.pass_(MINUTE)
    assert desk.phone.cancelled == []
    desk.respond(kind, "p1" if kind is ResponseKind.ACKNOWLEDGED else "")
    desk.follow()
    assert "mm-p1" in desk.phone.cancelled
    cancelled = len(desk.phone.cancelled)
    desk.clock.pass_(MINUTE)
    desk.follow()
    assert len(desk.phone.cancelled) == cancelled


def test_attempt_that_may_ring_is_ended_only_once_the_phone_hears_of_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(_tag: str) -> None:
        raise ZeroDivisionError

    desk.phone.errors = [UNCLEAR, REFUSED]
    desk.send()
    desk.clock.pass_(3 * MINUTE)
    desk.delivery().relay.run()
    desk.clock.pass_(MINUTE)
    desk.respond(ResponseKind.ACKNOWLEDGED, "p1")
    with monkeypatch.context() as patched:
        patched.setattr(desk.phone, "cancel", breaks, raising=True)
        assert any("ZeroDivisionError" in problem for problem in desk.follow().problems)
    assert desk.phone.cancelled == []
    desk.clock.pass_(MINUTE)
    desk.follow()
    assert desk.phone.cancelled == ["mm-p1"]


# Windows that pass


def test_window_that_passes_is_a_row_and_goes_to_the_secondary_channel_once(desk: Desk) -> None:
    (partner,) = desk.others
    desk.send()
    desk.clock.at = AT + BAR - SECOND
    assert desk.heard() == []
    desk.clock.pass_(SECOND)
    (missed,) = desk.follow().answers
    assert missed.response == Response(grid="eth", at=AT + BAR, kind=ResponseKind.MISSED, page="p1")
    assert missed.source == "watch"
    for _ in range(3):
        desk.clock.pass_(MINUTE)
        assert desk.heard() == []
        desk.delivery().relay.run()
    assert [message.page_id for message in partner.sent] == ["p1"]


def test_page_that_came_late_has_its_whole_window_from_then_on(desk: Desk) -> None:
    commit(desk.journal, desk.delivery())
    desk.clock.at = AT + 41 * MINUTE
    desk.delivery().relay.run()
    desk.clock.at = AT + 55 * MINUTE - SECOND
    assert desk.heard() == []
    desk.clock.pass_(SECOND)
    (missed,) = desk.follow().answers
    assert missed.response.at == AT + 55 * MINUTE


def test_page_answered_after_its_window_but_before_the_round_is_missed_and_goes_no_further(desk: Desk) -> None:
    (partner,) = desk.others
    desk.send()
    desk.clock.at = AT + BAR + MINUTE
    desk.respond(ResponseKind.ACKNOWLEDGED, "p1")
    desk.clock.pass_(MINUTE)
    assert desk.heard() == ["cancelled", "missed"]
    desk.delivery().relay.run()
    assert partner.sent == []


def test_position_seen_open_again_makes_the_report_that_it_was_flat_no_answer(desk: Desk) -> None:
    desk.send()
    desk.respond(ResponseKind.FLAT)
    desk.clock.pass_(MINUTE)
    desk.respond(ResponseKind.REOPENED)
    desk.clock.at = AT + BAR
    assert desk.heard() == ["missed"]
    desk.respond(ResponseKind.FLAT)
    desk.clock.pass_(MINUTE)
    assert desk.heard() == ["cancelled"]


@pytest.mark.parametrize(("before", "is_over"), [(61 * MINUTE, False), (59 * MINUTE, True)])
def test_exit_before_the_range_began_ends_no_alarm(desk: Desk, before: timedelta, is_over: bool) -> None:
    """The range began an hour before the page; its operator notes an exit late."""
    desk.journal.observe_grids([grid("eth", started_at=AT - 60 * MINUTE)], AT - 60 * MINUTE)
    desk.send(respond_by=None)
    desk.respond(ResponseKind.FLAT, at=AT - before)
    assert desk.heard() == (["cancelled"] if is_over else [])


@pytest.mark.parametrize("enabled", [True, False])
def test_exit_before_the_range_of_a_disabled_grid_ends_its_alarm(desk: Desk, enabled: bool) -> None:
    desk.journal.observe_grids([grid("eth", started_at=AT - 60 * MINUTE, enabled=enabled)], AT - 60 * MINUTE)
    desk.send(respond_by=None)
    desk.respond(ResponseKind.FLAT, at=AT - 61 * MINUTE)
    assert desk.heard() == ([] if enabled else ["cancelled"])


@pytest.mark.parametrize(("before", "is_over"), [(61 * MINUTE, False), (59 * MINUTE, True)])
def test_exit_before_a_reopening_that_is_older_than_the_page_ends_no_alarm(
    desk: Desk, before: timedelta, is_over: bool
) -> None:
    desk.clock.at = AT - 60 * MINUTE
    desk.respond(ResponseKind.REOPENED)
    desk.send(respond_by=None)
    desk.respond(ResponseKind.FLAT, at=AT - before)
    assert desk.heard() == (["cancelled"] if is_over else [])


def test_window_of_a_warning_is_a_row_alone(desk: Desk) -> None:
    (partner,) = desk.others
    desk.send(notice="WARNING", priority=0)
    desk.clock.pass_(BAR)
    assert desk.heard() == ["missed"]
    desk.delivery().relay.run()
    assert partner.sent == []


@pytest.mark.parametrize(("after", "is_missed"), [(14 * MINUTE, False), (16 * MINUTE, True)])
@pytest.mark.parametrize("kind", [ResponseKind.ACKNOWLEDGED, ResponseKind.FLAT])
def test_answer_counts_for_the_window_by_when_it_was_given(
    desk: Desk, kind: ResponseKind, after: timedelta, is_missed: bool
) -> None:
    desk.send(notice="LATEST_ACCEPTABLE_EXIT", priority=1)
    desk.respond(kind, "p1" if kind is ResponseKind.ACKNOWLEDGED else "", at=AT + after)
    desk.clock.pass_(BAR + MINUTE)
    assert desk.heard() == (["missed"] if is_missed else [])


@pytest.mark.parametrize(("notice", "is_missed"), [("NORMAL", False), ("UNKNOWN", True)])
def test_newer_page_within_the_window_replaces_it_unless_it_says_that_the_watch_is_blind(
    desk: Desk, notice: str, is_missed: bool
) -> None:
    desk.send(notice="LATEST_ACCEPTABLE_EXIT", priority=1, respond_by=AT + 4 * BAR)
    desk.send("p2", evaluated_at=AT + 2 * BAR, notice=notice, priority=0, respond_by=None)
    desk.clock.at = AT + 5 * BAR
    assert desk.heard() == (["missed"] if is_missed else [])


def test_page_that_reached_nobody_was_not_missed(desk: Desk) -> None:
    desk.phone.errors = [FAILED] * 2
    desk.send()
    desk.clock.pass_(BAR)
    assert desk.heard() == []


def test_escalation_passes_by_a_channel_where_the_page_is_due_already(journal: Journal) -> None:
    chat, mail = ScriptedChannel("chat", TestClock()), ScriptedChannel("mail", TestClock())
    desk = Desk(journal, chat, mail, delivery={"breaker_failures": 1})
    chat.errors = [FAILED]
    desk.send("other", grids=("x",), respond_by=None)
    journal.outbox.escalate("other", "chat", 1, at=desk.clock.now(), detail="test")
    desk.delivery().relay.run()  # chat is left alone from now on
    desk.send()
    journal.outbox.escalate("p1", "chat", 1, at=desk.clock.now(), detail="test")  # waits there, never tried
    desk.clock.pass_(BAR)
    assert desk.heard() == ["missed"]
    desk.delivery().relay.run()
    assert "p1" in [message.page_id for message in mail.sent]


def test_process_that_died_before_it_noted_a_missed_window_escalates_all_the_same(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(BaseException):
        pass

    def die(**_: object) -> None:
        raise Died

    (partner,) = desk.others
    desk.send()
    desk.clock.pass_(BAR)
    with monkeypatch.context() as patched:
        patched.setattr(answers_module, "Response", die)
        with pytest.raises(Died):
            desk.follow()
    assert desk.heard() == ["missed"]
    desk.delivery().relay.run()
    assert [message.page_id for message in partner.sent] == ["p1"]
    assert outcomes(desk.journal, channel="partner") == ["escalated", "sent"]


def test_late_answer_of_the_provider_counts_from_when_it_was_given(desk: Desk) -> None:
    desk.send()
    at = AT + 10 * MINUTE
    desk.phone.statuses["phone-1"] = ReceiptStatus(state=ReceiptState.ACKNOWLEDGED, at=at, by="ann")
    desk.clock.at = AT + 40 * MINUTE  # nobody asked until now
    assert desk.heard() == ["acknowledged"]
