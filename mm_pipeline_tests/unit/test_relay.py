"""The relay: which page goes to which channel when, and that no fault on the way loses, doubles or blocks one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mm_pipeline.adapters.channels import AppriseConfig, FileConfig
from mm_pipeline.adapters.journal import DeliveryOutcome, Journal, sqlite_url
from mm_pipeline.application.delivery import relay as relay_module
from mm_pipeline.application.opening import channels as channels_module
from mm_pipeline.application.opening.channels import ConfiguredChannels, Delivery, delivery_of
from mm_pipeline.domain.notifications import EMERGENCY, Accepted, ChannelError, HeldBack, Message, ResponseKind
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
    TestClock,
    a_decided,
    a_page,
    commit,
    delivery_over,
    outcomes,
    settings_with,
)

ALARM = "ALARM"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(sqlite_url(tmp_path / "journal.db")) as opened:
        yield opened


class Desk:
    """Channels by name over one journal, and the delivery side as often as a new process would make it."""

    def __init__(self, journal: Journal, *names: str, secondary: tuple[str, ...] = (), **changes: Any) -> None:
        self.journal = journal
        self.clock = TestClock()
        self.secondary = secondary
        self.changes = changes
        self.channels: dict[str, ScriptedChannel] = {name: ScriptedChannel(name, self.clock) for name in names}

    def __getitem__(self, name: str) -> ScriptedChannel:
        return self.channels[name]

    def delivery(self, channels: Mapping[str, ScriptedChannel] | None = None) -> Delivery:
        chosen = self.channels if channels is None else channels
        secondary = tuple(name for name in self.secondary if name in chosen)
        return delivery_over(self.journal, chosen, self.clock, secondary=secondary, **self.changes)

    def commit(self, page: str = "p1", **changes: Any) -> None:
        commit(self.journal, self.delivery(), page, **changes)

    def run(self) -> list[str]:
        return [sent.outcome.value for sent in self.delivery().relay.run()]

    def alarms(self) -> list[str]:
        return [page.title for page in self.journal.notifications.pages(notice=ALARM)]


def titles(channel: ScriptedChannel) -> list[str]:
    return [message.title for message in channel.sent]


# Which channel


def test_page_goes_to_every_primary_channel_and_to_no_secondary_one(journal: Journal) -> None:
    desk = Desk(journal, "phone", "chat", "partner", secondary=("partner",))
    desk.commit()
    assert desk.run() == ["sent", "sent"]
    assert desk.run() == []
    assert [len(desk[name].sent) for name in ("phone", "chat", "partner")] == [1, 1, 0]
    (message,) = desk["phone"].sent
    assert (message.page_id, message.priority, message.retry_s, message.expire_s) == ("p1", EMERGENCY, 60, 10_800)
    assert (message.title, message.tags) == ("EXIT NOW p1", ("mm-p1",))


def test_secondary_channels_alone_take_pages_one_after_the_other(journal: Journal) -> None:
    desk = Desk(journal, "phone", "chat", secondary=("phone", "chat"))
    desk["phone"].errors = [REFUSED]
    desk.commit()
    assert desk.run() == ["refused", "sent", "sent"]
    assert (len(desk["phone"].sent), titles(desk["chat"])) == (0, ["EXIT NOW p1", "CHANNEL phone refuses pages"])


def test_without_any_channel_a_page_is_undeliverable_and_goes_to_the_first_that_is_added(journal: Journal) -> None:
    desk = Desk(journal)
    desk.commit()
    for _ in range(2):
        desk.clock.pass_(SECOND)
        assert desk.run() == []
    assert outcomes(journal) == ["undeliverable"]
    desk.channels["phone"] = ScriptedChannel("phone", desk.clock)
    desk.clock.pass_(45 * MINUTE)
    assert desk.run() == ["sent"]
    assert desk.run() == []
    assert titles(desk["phone"]) == ["EXIT NOW p1 (LATE 46 min)"]
    assert outcomes(journal) == ["undeliverable", "escalated", "sent"]


def test_refused_page_is_not_repeated_and_goes_to_the_next_channel_with_an_alarm(journal: Journal) -> None:
    desk = Desk(journal, "phone", "chat", "mail", secondary=("chat", "mail"))
    desk["phone"].errors = [REFUSED]
    desk.commit()
    desk.run()
    desk.clock.pass_(BAR)
    desk.run()
    assert len(desk["phone"].asked) == 1
    assert titles(desk["chat"]) == ["EXIT NOW p1", "CHANNEL phone refuses pages"]
    assert "the key is wrong. Mend it." in " ".join(desk["chat"].sent[1].text.split())
    assert desk["mail"].asked == []


def test_alarm_about_the_only_channel_goes_through_it_for_want_of_another(journal: Journal) -> None:
    desk = Desk(journal, "phone")
    desk["phone"].errors = [REFUSED]  # of this page alone
    desk.commit()
    desk.run()
    desk.clock.pass_(SECOND)
    desk.run()
    assert titles(desk["phone"]) == ["CHANNEL phone refuses pages"]


@pytest.mark.parametrize(("attempts", "chat_gets_it"), [(1, True), (2, False)])
def test_escalate_after_attempts_says_when_the_next_channel_is_tried_too(
    journal: Journal, attempts: int, chat_gets_it: bool
) -> None:
    desk = Desk(journal, "phone", "chat", secondary=("chat",), delivery={"escalate_after_attempts": attempts})
    desk["phone"].errors = [FAILED]
    desk.commit()
    desk.run()
    assert bool(desk["chat"].sent) is chat_gets_it
    desk.clock.pass_(MINUTE)
    desk.run()
    assert len(desk["phone"].sent) == 1


# When


@pytest.mark.parametrize(
    ("changes", "waits_s"),
    [
        ({}, [5, 10, 20, 40]),
        ({"backoff_initial": "8s"}, [8, 16, 32, 64]),
        ({"backoff_max": "15s"}, [5, 10, 15, 15]),
    ],
)
def test_backoff_doubles_from_its_beginning_to_its_end(
    journal: Journal, changes: dict[str, str], waits_s: list[int]
) -> None:
    desk = Desk(journal, "phone", delivery={"breaker_failures": 1000} | changes)
    desk["phone"].errors = [FAILED] * 4
    desk.commit()
    for wait_s in waits_s:
        assert desk.run() == ["failed"]
        desk.clock.pass_((wait_s - 1) * SECOND)
        assert desk.run() == []
        desk.clock.pass_(SECOND)
    assert desk.run() == ["sent"]


def test_provider_may_ask_for_a_longer_wait(journal: Journal) -> None:
    desk = Desk(journal, "phone")
    desk["phone"].errors = [ChannelError("busy.", is_final=False, retry_after_s=90.0)]
    desk.commit()
    desk.run()
    desk.clock.pass_(89 * SECOND)
    assert desk.run() == []
    desk.clock.pass_(SECOND)
    assert desk.run() == ["sent"]


@pytest.mark.parametrize(("run_for", "sent"), [("2s", 2), ("5s", 5)])
def test_run_for_ends_a_run_and_the_next_goes_on(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, run_for: str, sent: int
) -> None:
    passed_s = [0.0]
    monkeypatch.setattr(relay_module, "time", SimpleNamespace(monotonic=lambda: passed_s[0]))
    desk = Desk(journal, "phone", delivery={"run_for": run_for})
    desk["phone"].before = lambda _: passed_s.__setitem__(0, passed_s[0] + 1.0)
    for number in range(6):
        desk.commit(f"p{number}", grids=(f"g{number}",))
    assert len(desk.run()) == sent
    while desk.run():
        pass
    assert sorted(message.page_id for message in desk["phone"].sent) == [f"p{number}" for number in range(6)]


def test_emergencies_come_first_then_what_has_waited_longest(journal: Journal) -> None:
    desk = Desk(journal, "phone")
    desk.commit("warning", grids=("a",), priority=0, notice="WARNING", evaluated_at=AT - BAR)
    desk.commit("latest", grids=("b",), priority=1, notice="LATEST_ACCEPTABLE_EXIT")
    desk.commit("older", grids=("c",), priority=1, notice="UNKNOWN", evaluated_at=AT - BAR)
    desk.commit("emergency", grids=("d",))
    desk.run()
    assert [message.page_id for message in desk["phone"].sent] == ["emergency", "older", "latest", "warning"]


def test_failing_channel_keeps_no_page_from_another_in_the_same_run(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed_s = [0.0]
    monkeypatch.setattr(relay_module, "time", SimpleNamespace(monotonic=lambda: passed_s[0]))
    desk = Desk(journal, "phone", "chat")
    desk["phone"].errors = [FAILED] * 100
    desk["phone"].before = lambda _: passed_s.__setitem__(0, passed_s[0] + 15.0)  # two of these fill a run
    for number in range(4):
        desk.commit(f"p{number}", grids=(f"g{number}",))
    desk.commit("quiet", grids=("calm",), priority=-1, notice="NORMAL")
    desk.run()
    assert len(desk["chat"].sent) == 5
    assert len(desk["phone"].asked) == 2


# Left alone


@pytest.mark.parametrize(("failures", "is_asked"), [(2, False), (3, True)])
def test_breaker_failures_leave_a_channel_alone_and_its_pages_go_on_at_once(
    journal: Journal, failures: int, is_asked: bool
) -> None:
    desk = Desk(
        journal, "phone", "chat", secondary=("chat",), delivery={"breaker_failures": failures, "backoff_initial": "5s"}
    )
    desk["phone"].errors = [FAILED] * 2
    desk.commit("p1", grids=("a",))
    desk.commit("p2", grids=("b",))
    desk.run()
    desk.commit("p3", grids=("c",))
    desk.run()
    assert ("p3" in [message.page_id for message in desk["phone"].asked]) is is_asked
    assert ("p3" in [message.page_id for message in desk["chat"].sent]) is not is_asked
    assert ("CHANNEL phone takes no pages" in titles(desk["chat"])) is not is_asked


@pytest.mark.parametrize(("cool_down", "is_asked"), [("60s", True), ("61s", False)])
def test_breaker_cool_down_says_when_the_channel_is_tried_again(
    journal: Journal, cool_down: str, is_asked: bool
) -> None:
    changes = {"breaker_failures": 1, "breaker_cool_down": cool_down, "backoff_initial": "5s"}
    desk = Desk(journal, "phone", "chat", secondary=("chat",), delivery=changes)
    desk["phone"].errors = [FAILED]
    desk.commit()
    desk.run()
    desk.clock.pass_(60 * SECOND)
    desk.run()
    assert bool(desk["phone"].sent) is is_asked
    assert ("EXIT NOW p1" in titles(desk["chat"])) is not is_asked
    assert "CHANNEL phone takes no pages" in titles(desk["chat"])


def test_next_channel_that_is_left_alone_too_is_passed_by(journal: Journal) -> None:
    desk = Desk(journal, "phone", "chat", "mail", secondary=("chat", "mail"), delivery={"breaker_failures": 1})
    desk["phone"].errors, desk["chat"].errors = [FAILED], [FAILED]
    desk.commit("p1", grids=("a",))
    desk.run()  # its alarm finds out about chat
    desk.commit("p2", grids=("b",))
    desk.run()
    assert "p2" in [message.page_id for message in desk["mail"].sent]


def test_channel_that_works_again_is_forgiven(journal: Journal) -> None:
    desk = Desk(journal, "phone", delivery={"breaker_failures": 2})
    for number in range(3):
        desk["phone"].errors = [FAILED]
        desk.commit(f"p{number}", grids=(f"g{number}",))
        desk.run()
        desk.clock.pass_(MINUTE)
        assert desk.run() == ["sent"]
    assert desk.alarms() == []


# Claims


class Died(BaseException):
    """The process ended here."""


def die(_message: object) -> None:
    raise Died


@pytest.mark.parametrize(("lease", "is_taken"), [("44s", True), ("46s", False)])
def test_lease_says_how_long_a_relay_that_died_blocks_a_page(journal: Journal, lease: str, is_taken: bool) -> None:
    desk = Desk(journal, "phone", delivery={"lease": lease})
    desk.commit()
    desk["phone"].before = die
    with pytest.raises(Died):
        desk.run()
    desk["phone"].before = None
    desk.clock.pass_(45 * SECOND)
    assert desk.run() == (["sent"] if is_taken else [])
    assert titles(desk["phone"]) == (["EXIT NOW p1 (POSSIBLE DUPLICATE)"] if is_taken else [])


def test_lease_that_a_clock_wrote_which_was_ahead_holds_nothing(journal: Journal) -> None:
    desk = Desk(journal, "phone")
    desk.commit()
    desk["phone"].before = die
    desk.clock.pass_(24 * 60 * MINUTE)
    with pytest.raises(Died):
        desk.run()
    desk["phone"].before = None
    desk.clock.pass_(-24 * 60 * MINUTE)
    assert desk.run() == ["sent"]


def test_lease_is_renewed_while_a_slow_send_lasts(journal: Journal) -> None:
    desk = Desk(journal, "phone", delivery={"lease": "3s"})
    desk.commit()
    in_between: list[list[str]] = []

    def slow(_message: object) -> None:
        desk["phone"].before = None
        desk.clock.pass_(2 * SECOND)
        time.sleep(1.4)  # renewed each second of real time
        desk.clock.pass_(2 * SECOND)  # past the first lease
        in_between.append(desk.run())

    desk["phone"].before = slow
    assert desk.run() == ["sent"]
    assert in_between == [[]]
    assert len(desk["phone"].sent) == 1


def test_two_relays_at_once_neither_send_a_page_twice_nor_give_it_up(journal: Journal) -> None:
    desk = Desk(journal, "phone")
    desk.commit()
    in_between: list[list[str]] = []
    desk["phone"].before = lambda _: in_between.append(desk.run())
    assert desk.run() == ["sent"]
    assert (in_between, len(desk["phone"].asked)) == ([[]], 1)
    assert outcomes(journal) == ["sent"]


def test_relay_that_lost_its_claim_and_sent_all_the_same_ends_the_page(journal: Journal) -> None:
    desk = Desk(journal, "phone")
    desk.commit()

    def stall(_message: object) -> None:
        desk["phone"].before = None
        desk.clock.pass_(5 * MINUTE)
        desk["phone"].errors = [FAILED]
        assert desk.run() == ["failed"]  # another relay took it over

    desk["phone"].before = stall
    assert desk.run() == ["sent"]
    desk.clock.pass_(5 * MINUTE)
    assert desk.run() == []


@pytest.mark.parametrize(("error", "mark"), [(UNCLEAR, " (POSSIBLE DUPLICATE)"), (FAILED, "")])
def test_page_whose_answer_did_not_come_is_marked_when_it_is_sent_again(
    journal: Journal, error: ChannelError, mark: str
) -> None:
    desk = Desk(journal, "phone")
    desk["phone"].errors = [error]
    desk.commit()
    desk.run()
    desk.clock.pass_(MINUTE)
    desk.run()
    assert titles(desk["phone"]) == [f"EXIT NOW p1{mark}"]


@pytest.mark.parametrize(("max_lateness", "mark"), [("20min", " (LATE 30 min)"), ("31min", "")])
def test_page_that_is_older_than_a_live_one_is_marked_late(journal: Journal, max_lateness: str, mark: str) -> None:
    notify = settings_with().notify.model_dump() | {"max_lateness": max_lateness}
    desk = Desk(journal, "phone", notify=notify)
    desk.commit()
    desk.clock.pass_(29 * MINUTE)
    desk.run()
    assert titles(desk["phone"]) == [f"EXIT NOW p1{mark}"]


# Faults of the program


def test_fault_in_a_channel_stops_neither_the_other_pages_nor_the_other_channels(journal: Journal) -> None:
    desk = Desk(journal, "phone", "chat")
    desk["phone"].errors = [ValueError("broken")]
    desk.commit("p1", grids=("a",))
    desk.commit("p2", grids=("b",), priority=0, notice="WARNING")
    assert sorted(desk.run()) == ["sent", "sent", "sent", "unclear"]
    desk.clock.pass_(MINUTE)
    desk.run()
    assert titles(desk["phone"]) == ["EXIT NOW p2", "EXIT NOW p1 (POSSIBLE DUPLICATE)"]


def test_page_that_cannot_be_rendered_goes_as_it_was_decided(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(journal, "phone")
    desk.commit("p1", grids=("a",), image=b"png")
    desk.commit("p2", grids=("b",), priority=0, notice="WARNING")
    whole = channels_module.marked

    def marked(title: str, text: str, **marks: Any) -> Any:
        if "p1" in title:
            raise KeyError("no such word")
        return whole(title, text, **marks)

    monkeypatch.setattr(channels_module, "marked", marked)
    assert desk.run() == ["sent", "sent"]
    first = desk["phone"].sent[0]
    assert (first.title, first.text, first.tags, first.retry_s) == (
        "EXIT NOW p1",
        "the stop is breached",
        ("mm-p1",),
        60,
    )
    assert titles(desk["phone"]) == ["EXIT NOW p1", "EXIT NOW p2"]


def test_chart_that_a_channel_does_not_take_does_not_keep_the_page_for_ever(journal: Journal) -> None:
    desk = Desk(journal, "phone", delivery={"escalate_after_attempts": 2})

    def refuse_charts(message: Message) -> None:
        if message.image_png is not None:
            raise FAILED

    desk["phone"].before = refuse_charts
    desk.commit(image=b"a large one")
    for _ in range(3):
        desk.run()
        desk.clock.pass_(MINUTE)
    assert [message.image_png for message in desk["phone"].asked] == [b"a large one", b"a large one", None]
    assert len(desk["phone"].sent) == 1


def test_relay_that_died_after_a_refusal_leaves_the_page_to_the_next_channel(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(journal, "phone", "chat", secondary=("chat",))
    desk["phone"].errors = [REFUSED]
    desk.commit()
    with monkeypatch.context() as patched:
        patched.setattr(relay_module.Relay, "_escalate", lambda *_: die(None))
        with pytest.raises(Died):
            desk.run()
    desk.clock.pass_(SECOND)
    desk.run()
    assert titles(desk["chat"]) == ["EXIT NOW p1"]
    assert outcomes(journal) == ["refused", "escalated", "sent"]


# Superseded


def test_newer_page_about_every_grid_takes_the_place_of_an_older_one(journal: Journal) -> None:
    desk = Desk(journal, "phone")
    desk.commit("both", grids=("a", "b"), notice="UNKNOWN", priority=1)
    desk.commit("newer-a", grids=("a",), evaluated_at=AT + BAR, notice="NORMAL", priority=-1)
    desk.clock.pass_(BAR)
    desk.run()
    assert sorted(message.page_id for message in desk["phone"].sent) == ["both", "newer-a"]  # b has nothing newer

    desk.commit("old", grids=("c",))
    desk.commit("new", grids=("c",), evaluated_at=AT + BAR, notice="NORMAL", priority=-1)
    assert sorted(desk.run()) == ["sent", "superseded"]
    assert outcomes(journal, "old") == ["superseded"]
    assert desk["phone"].sent[-1].page_id == "new"


def test_unknown_takes_nothing_back_of_what_was_told_before(journal: Journal) -> None:
    desk = Desk(journal, "phone")
    desk.commit("exit")
    desk.commit("blind", evaluated_at=AT + BAR, notice="UNKNOWN", priority=1)
    desk.commit("still blind", evaluated_at=AT + 2 * BAR, notice="UNKNOWN", priority=1)
    desk.clock.pass_(2 * BAR)
    assert sorted(desk.run()) == ["sent", "sent", "superseded"]
    assert [message.page_id for message in desk["phone"].sent] == ["exit", "still blind"]
    assert titles(desk["phone"])[0] == "EXIT NOW exit (LATE 31 min)"


def test_what_was_held_back_takes_no_page_back(journal: Journal) -> None:
    desk = Desk(journal, "phone")
    desk.commit("exit")
    held = a_page("warning", evaluated_at=AT + BAR, notice="WARNING", priority=0)
    decided = [a_decided(held, held_back=HeldBack.BUDGET)]
    assert journal.notifications.commit(decided, [], channels={"phone": 0}, due_at=AT)
    assert desk.run() == ["sent"]


# Channels that come and go


def test_channel_under_another_name_takes_what_was_due_under_the_old_one(journal: Journal) -> None:
    desk = Desk(journal, "phone")
    desk.commit()
    desk.channels = {"pushover": ScriptedChannel("pushover", desk.clock)}
    assert desk.run() == ["sent"]
    assert outcomes(journal) == ["refused", "escalated", "sent"]
    assert journal.outbox.waiting() == []


def test_last_channel_that_is_gone_leaves_its_pages_to_those_before_it(journal: Journal) -> None:
    desk = Desk(journal, "phone", "chat", secondary=("chat",))
    desk["phone"].errors = [REFUSED]
    desk["chat"].before = die
    desk.commit()
    with pytest.raises(Died):
        desk.run()
    desk.channels = {"phone": desk["phone"], "mail": ScriptedChannel("mail", desk.clock)}
    desk.clock.pass_(2 * MINUTE)  # the lease of the one that died
    desk.run()
    assert "EXIT NOW p1" in titles(desk["mail"])  # the phone has refused it
    assert len(desk["phone"].asked) == 2
    assert titles(desk["phone"]) in (["CHANNEL phone refuses pages"], [])


def test_channel_that_comes_back_sends_nothing_that_was_handed_over(journal: Journal) -> None:
    desk = Desk(journal, "phone")
    desk.commit()
    phone = desk["phone"]
    desk.channels = {"chat": ScriptedChannel("chat", desk.clock)}
    desk.run()
    desk.channels["phone"] = phone
    desk.clock.pass_(30 * 24 * 60 * MINUTE)
    assert desk.run() == []
    assert phone.asked == []


def test_page_due_on_a_channel_that_is_gone_waits_while_there_is_no_other(journal: Journal) -> None:
    desk = Desk(journal, "phone")
    desk.commit()
    phone = desk["phone"]
    desk.channels = {}
    desk.clock.pass_(SECOND)
    desk.run()
    desk.channels = {"phone": phone}
    assert desk.run() == ["sent"]


# Alarms and what silences the heartbeat


@pytest.mark.parametrize(("share", "is_raised"), [(0.1, True), (0.05, False)])
def test_min_quota_share_raises_an_alarm_once_a_day(journal: Journal, share: float, is_raised: bool) -> None:
    desk = Desk(journal, "phone", delivery={"min_quota_share": share})
    desk["phone"].quota = (99, 1000)
    for number in range(3):
        desk.commit(f"p{number}", grids=(f"g{number}",))
        desk.run()
        desk.clock.pass_(11 * 60 * MINUTE)
    alarm = "CHANNEL phone runs out of messages"
    assert desk.alarms() == ([alarm] if is_raised else [])
    desk.clock.pass_(3 * 60 * MINUTE)
    desk.commit("later", grids=("z",))
    desk.run()
    assert desk.alarms() == ([alarm] * 2 if is_raised else [])


def test_alarm_is_raised_once_in_its_stretch_of_time_and_for_each_subject(journal: Journal) -> None:
    desk = Desk(journal, "phone")
    hours = 60 * MINUTE

    def raise_about(subject: str) -> bool:
        return desk.delivery().alarms.raise_about(subject, "BLIND", "look yourself", every=4 * hours)

    assert [raise_about("run"), raise_about("run"), raise_about("disk")] == [True, False, True]
    desk.clock.pass_(3 * hours)
    assert not raise_about("run")
    desk.clock.pass_(1 * hours + SECOND)
    assert raise_about("run")
    assert len(desk.alarms()) == 3
    desk.run()
    assert [message.priority for message in desk["phone"].sent] == [1, 1, 1]


def test_page_that_everything_refused_is_overdue_until_it_is_no_news(journal: Journal) -> None:
    desk = Desk(journal, "phone", "chat")
    desk["phone"].errors, desk["chat"].errors = [REFUSED] * 3, [REFUSED] * 3  # the page, and both alarms
    desk.commit()

    def overdue() -> list[str]:
        return [page.page for page in journal.outbox.unsent(decided_before=desk.clock.now()) if page.notice != ALARM]

    for _ in range(4):
        desk.clock.pass_(SECOND)
        desk.run()
    assert outcomes(journal) == ["refused", "refused", "undeliverable"]
    assert (len(desk["phone"].asked), len(desk["chat"].asked)) == (3, 3)
    assert overdue() == ["p1"]
    desk.commit("p2", grids=("btc",), evaluated_at=AT + BAR)
    desk.clock.pass_(BAR)
    assert overdue() == ["p1", "p2"]  # not yet taken
    desk.run()
    assert overdue() == ["p1"]  # of another grid
    desk.commit("p3", evaluated_at=AT + 2 * BAR)
    desk.clock.pass_(BAR)
    desk.run()
    assert overdue() == []


@pytest.mark.parametrize(("again_after", "is_asked"), [("30min", True), ("2h", False)])
def test_refused_again_after_says_when_a_page_is_offered_to_who_refused_it(
    journal: Journal, again_after: str, is_asked: bool
) -> None:
    desk = Desk(journal, "phone", delivery={"refused_again_after": again_after})
    desk["phone"].errors = [REFUSED] * 2  # the page, and the alarm about the channel
    desk.commit()
    for _ in range(3):
        desk.clock.pass_(SECOND)
        desk.run()
    desk.clock.pass_(4 * BAR)
    desk.run()
    desk.run()
    assert ("sent" in outcomes(journal)) is is_asked


@pytest.mark.parametrize("kind", [ResponseKind.ACKNOWLEDGED, ResponseKind.FLAT])
def test_page_answered_before_a_channel_took_it_goes_there_no_more(journal: Journal, kind: ResponseKind) -> None:
    desk = Desk(journal, "phone", "chat")
    desk["chat"].errors = [FAILED]
    desk.commit()
    desk.clock.pass_(SECOND)
    assert sorted(desk.run()) == ["failed", "sent"]
    answers = desk.delivery().answers
    told = journal.notifications.pages()[0]
    answers.record(told, kind, at=desk.clock.now(), source="mm")
    desk.clock.pass_(BAR)
    assert desk.run() == ["answered"]
    assert outcomes(journal, channel="chat") == ["failed", "answered"]
    assert journal.outbox.waiting() == []


def test_page_of_two_grids_answered_for_one_goes_on(journal: Journal) -> None:
    desk = Desk(journal, "phone")
    desk.commit(grids=("a", "b"), notice="UNKNOWN", priority=1)
    told = journal.notifications.pages()[0]
    desk.delivery().answers.record(told, ResponseKind.ACKNOWLEDGED, at=AT, source="mm", grids=["a"])
    desk.clock.pass_(SECOND)
    assert desk.run() == ["sent"]


def test_acknowledged_page_that_nobody_took_is_known(journal: Journal) -> None:
    desk = Desk(journal)
    desk.commit()
    desk.clock.pass_(SECOND)
    desk.run()
    now = desk.clock.now()
    page, *_ = journal.outbox.unsent(decided_before=now)
    desk.delivery().answers.record(page, ResponseKind.ACKNOWLEDGED, at=now, source="mm ack")
    assert journal.outbox.unsent(decided_before=now) == []


def test_page_that_nobody_took_is_no_news_once_its_position_is_closed(journal: Journal) -> None:
    desk = Desk(journal)
    desk.commit()
    desk.clock.pass_(SECOND)
    desk.run()
    now = desk.clock.now()
    (page,) = journal.outbox.unsent(decided_before=now)
    desk.delivery().answers.record(page, ResponseKind.FLAT, at=now, source="mm")
    assert journal.outbox.unsent(decided_before=now) == []


def test_page_that_nobody_took_is_no_news_a_day_after_channels_work_again(journal: Journal) -> None:
    desk = Desk(journal, "phone")
    desk["phone"].errors = [REFUSED] * 2  # the page, and the alarm
    desk.commit()
    for _ in range(3):
        desk.clock.pass_(SECOND)
        desk.run()
    desk.clock.pass_(BAR)
    desk.commit("p2", grids=("btc",), evaluated_at=AT + BAR)
    desk.run()
    taken = desk.clock.now()
    day = 96 * BAR
    assert [page.page for page in journal.outbox.unsent(decided_before=taken) if page.notice != ALARM] == ["p1"]
    assert journal.outbox.unsent(decided_before=taken + day) == []


def test_alarm_that_nobody_took_is_news_for_a_day(journal: Journal) -> None:
    desk = Desk(journal)
    desk.delivery().alarms.raise_about("run", "BLIND", "look yourself")
    found = []
    for hours in (1, 22, 2):
        desk.clock.pass_(hours * 60 * MINUTE)
        desk.run()
        found.append(len(journal.outbox.unsent(decided_before=desk.clock.now())))
    assert found == [1, 1, 0]


def test_channel_without_its_key_takes_its_pages_once_the_key_is_set(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = TestClock()
    phone = AppriseConfig(kind="apprise", name="phone", url_env="MM_TEST_URL")
    log = FileConfig(kind="file", name="log", path="pages.jsonl", is_secondary=True)
    settings = settings_with().model_copy(update={"channels": (phone, log)})

    def run() -> list[str]:
        channels = ConfiguredChannels(tmp_path).open(settings)
        delivery = delivery_of(journal, channels, settings=settings, clock=clock, written_by=WRITTEN_BY)
        if not journal.notifications.pages():
            commit(journal, delivery)
        return [f"{sent.channel} {sent.outcome}" for sent in delivery.relay.run()]

    monkeypatch.delenv("MM_TEST_URL", raising=False)
    for _ in range(3):  # escalate_after_attempts
        assert run()[0] == "phone failed"
        clock.pass_(MINUTE)
    assert outcomes(journal, channel="log") == ["escalated", "sent"]
    monkeypatch.setenv("MM_TEST_URL", "json://127.0.0.1:9/")
    monkeypatch.setattr("mm_pipeline.adapters.channels.apprise_channel.AppriseChannel.send", lambda *_: Accepted())
    assert run() == ["phone sent"]


def test_run_says_what_it_did_and_the_journal_keeps_it(journal: Journal) -> None:
    desk = Desk(journal, "phone")
    desk["phone"].errors = [FAILED]
    desk.commit()
    (failed,) = desk.delivery().relay.run()
    assert (failed.page, failed.channel, failed.attempt, failed.outcome) == ("p1", "phone", 1, DeliveryOutcome.FAILED)
    assert failed.detail == "it did not answer."
    events = [(event.attempt, event.event.value) for event in journal.outbox.events(page="p1")]
    assert events == [(1, "started"), (1, "failed")]
