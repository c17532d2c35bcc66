"""From states to an answered page: whatever fails in whatever order, no decided page is lost, and none comes twice.

A process may die between any two steps, the database may fail, providers answer as they like, ticks come late, and
operators answer at any time. In the end everything heals: then every page has to have come to its end.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mm_pipeline.adapters.journal import DeliveryOutcome, Journal, Page, ResponseRecord, sqlite_url
from mm_pipeline.contracts import states as contracts
from mm_pipeline.domain.errors import StorageError
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.notifications import FLATS, Cause, Notice, Response, ResponseKind
from mm_pipeline.settings import Settings, load_settings
from mm_pipeline_tests.effort import tries
from mm_pipeline_tests.journal_samples import grid
from mm_pipeline_tests.notification_stories import BAR, LETTERS, NOON
from mm_pipeline_tests.notification_watch import (
    WRITTEN_BY,
    Killed,
    MovingClock,
    ScriptedProvider,
    ScriptedRow,
    ScriptedWatch,
    at_bar,
    frame_of,
)

GRIDS = ("eth", "sol", "dot")
ASKS_FOR_EXIT = (Notice.MANDATORY_EXIT, Notice.LATEST_ACCEPTABLE_EXIT)
EXIT_LETTERS = "".join(letter for letter in LETTERS if "kind" not in LETTERS[letter])
ENTRY_LETTERS = "".join(letter for letter in LETTERS if "kind" in LETTERS[letter])
REASONS = ("newest bar closed 47 min ago, more than 35 min (data.max_age)", "a quarantined candle at 12:00")
letters = st.tuples(
    st.sampled_from(EXIT_LETTERS + "MLUNN======"),
    st.sampled_from(ENTRY_LETTERS + "=="),
    st.sampled_from(range(len(REASONS))),
)
"""Of a grid while it is enabled and while it is not, ``=`` as before; and why it is blind, if it is."""
delays = st.sampled_from([timedelta(seconds=s) for s in (5, 40, 40, 600, 1199)] + [timedelta(minutes=27)])
misbehaviours = st.lists(
    st.sampled_from(["ok", "busy", "busy", "lost", "refused", "broken", "killed", "killed_after"]),
    min_size=1,
    max_size=5,
)


READS = frozenset(
    {"before", "channels", "decisions", "evaluations", "events", "first_sent", "grid_versions", "is_superseded"}
    | {"last_evaluation", "load", "newest_evaluations", "open_receipts", "pages", "select", "sign", "unsent", "waiting"}
    | {"unclear_emergencies"}
)
"""Calls of the journal at which nothing is gained by dying: those around them are as good."""


class Fuse:
    """Ends the process, or fails the database, at the n-th writing call of the journal: before it is made, or after."""

    def __init__(self) -> None:
        self.calls: int | None = None
        self.is_after = False
        self.error: BaseException = Killed()

    def arm(self, calls: int, error: BaseException, *, is_after: bool) -> None:
        self.calls, self.error, self.is_after = calls, error, is_after

    def call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        if self.calls is None or function.__name__ in READS:
            return function(*arguments, **named)
        self.calls -= 1
        if self.calls > 0:
            return function(*arguments, **named)
        self.calls = None
        if self.is_after:
            function(*arguments, **named)
        raise self.error


class FragileJournal:
    """A journal, or a part of it, whose every call goes over a fuse."""

    def __init__(self, part: Any, fuse: Fuse) -> None:
        self._part, self._fuse = part, fuse

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        if not callable(found):
            return FragileJournal(found, self._fuse)
        return lambda *arguments, **named: self._fuse.call(found, *arguments, **named)


class OperatorLoop(RuleBasedStateMachine):
    """Three grids, a phone that rings until it is answered, and a second channel that takes what the first did not."""

    empty_journal: Path
    settings: Settings

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        file = Path(shutil.copy(self.empty_journal, self.folder.name))
        self.journal = Journal(sqlite_url(file))
        self.fuse, self.clock = Fuse(), MovingClock()
        self.phone = ScriptedProvider("phone", self.clock)
        self.chat = ScriptedProvider("chat", self.clock)
        self.grids: dict[str, Grid] = {}
        self.wanted: dict[str, Grid] = {}
        self.rows: dict[str, list[ScriptedRow]] = {name: [] for name in GRIDS}
        self.watch = ScriptedWatch(
            FragileJournal(self.journal, self.fuse),  # type: ignore[arg-type]
            {"phone": self.phone, "chat": self.chat},
            self.settings,
            self.clock,
        )

    @initialize(enabled=st.tuples(st.just(True), st.booleans(), st.just(False)))
    def declare(self, enabled: tuple[bool, ...]) -> None:
        self.wanted = {name: grid(name, enabled=on) for name, on in zip(GRIDS, enabled, strict=True)}

    # What the watch does

    @rule(
        said=st.lists(st.tuples(letters, letters, letters), min_size=2, max_size=2),
        delay=delays,
        missed=st.integers(0, 1),
    )
    def tick_quickly(self, said: list[Any], delay: timedelta, missed: int) -> None:
        """The usual: the next bar, or the one after it."""
        self.tick(said, delay, missed)

    @rule(
        said=st.lists(st.tuples(letters, letters, letters), min_size=2, max_size=2),
        delay=delays,
        missed=st.sampled_from([0, 0, 0, 2, 12]),
    )
    def tick(self, said: list[Any], delay: timedelta, missed: int) -> None:
        """An evaluation after some that were missed, with all that follows from it in one process."""
        bar = max((self.clock.at - NOON) // BAR + 1 + missed, 0)
        self.clock.at = at_bar(bar) + delay
        self.survive(lambda: self.evaluate(at_bar(bar), said))

    def evaluate(self, at: datetime, said: list[Any]) -> None:
        changed = [one for name, one in self.wanted.items() if one != self.grids.get(name)]
        if changed:
            self.watch.decisions().observe_grids(list(self.wanted.values()), at)
        for number, name in enumerate(GRIDS):
            known = self.rows[name]
            first = known[-1].at + BAR if known else at
            for moment in (first + n * BAR for n in range((at - first) // BAR + 1)):
                is_now = moment == at
                declared = self.wanted[name] if is_now else self.grids.get(name, self.wanted[name])
                self.say(name, moment, declared, said[is_now][number])
        self.grids = dict(self.wanted)
        self.run_on(at)

    def say(
        self, name: str, at: datetime, declared: Grid, letters: tuple[str, str, int], input_hash: str = "1"
    ) -> None:
        letter = letters[0] if declared.enabled else letters[1]
        if letter == "=":
            same = [row.letter for row in self.rows[name] if row.at < at and row.grid.enabled == declared.enabled]
            letter = same[-1] if same else "N" if declared.enabled else "A"
        before = [row for row in self.rows[name] if row.at < at and row.grid.started_at == declared.started_at]
        known = [str(LETTERS[row.letter]["state"]) for row in before if row.kind.value == "exit" and row.letter != "U"]
        row = ScriptedRow(at, letter, declared, input_hash, known[-1] if known else None, REASONS[letters[2]])
        self.rows[name] = [*(one for one in self.rows[name] if one.at != at), row]

    def run_on(self, at: datetime) -> None:
        """As a live run goes on once states are known."""
        self.watch.record(at, self.rows)
        for decided in self.watch.tell(at, self.rows):
            if decided.decision.is_told:
                self.check_reissue(decided.decision.grid, decided.decision.evaluated_at)
        delivery = self.watch.delivery()
        delivery.relay.run()
        delivery.answers.follow()

    @precondition(lambda self: any(self.rows.values()))
    @rule(revised=st.none() | letters, name=st.sampled_from(GRIDS))
    def tick_again(self, revised: tuple[str, str, int] | None, name: str) -> None:
        """Another run at the same bar; a candle may have been revised since."""
        newest = self.rows[name][-1] if self.rows[name] else None
        if newest is not None and revised is not None:
            self.say(name, newest.at, newest.grid, revised, f"{newest.input_hash}1")
        at = max(row.at for rows in self.rows.values() for row in rows)
        self.survive(lambda: self.run_on(at))

    @rule()
    def relay(self) -> None:
        self.survive(self._relay)

    @rule()
    def poll(self) -> None:
        self.survive(self._follow)

    @rule(by=st.sampled_from([timedelta(seconds=s) for s in (5, 21, 61, 301, 900, 4000)]))
    def wait(self, by: timedelta) -> None:
        self.clock.at += by

    # What goes wrong

    @rule(calls=st.integers(1, 16), is_after=st.booleans(), is_kill=st.booleans())
    def fail_soon(self, calls: int, is_after: bool, is_kill: bool) -> None:
        error = Killed() if is_kill else StorageError("the journal is gone.")
        self.fuse.arm(calls, error, is_after=is_after)

    @rule(answers=misbehaviours, is_phone=st.booleans())
    def misbehave(self, answers: list[str], is_phone: bool) -> None:
        (self.phone if is_phone else self.chat).answers += answers

    @rule()
    def spend_or_refill_quota(self) -> None:
        self.phone.is_spent = not self.phone.is_spent

    @rule()
    def mute_or_unmute_receipts(self) -> None:
        self.phone.is_mute = not self.phone.is_mute

    def _relay(self) -> None:
        self.watch.delivery().relay.run()

    def _follow(self) -> None:
        self.watch.delivery().answers.follow()

    def survive(self, action: Callable[[], object]) -> None:
        """A run may fail, or its process end; the next one is another."""
        with suppress(Killed, StorageError):
            action()

    # What operators do

    @rule(name=st.sampled_from(GRIDS), is_enabled=st.booleans())
    def switch(self, name: str, is_enabled: bool) -> None:
        self.wanted[name] = self.wanted[name].model_copy(update={"enabled": is_enabled})

    @rule(name=st.sampled_from(GRIDS))
    def set_range_anew(self, name: str) -> None:
        self.wanted[name] = self.wanted[name].model_copy(update={"started_at": self.clock.at})

    @precondition(lambda self: self.phone.ringing() or self.chat.ringing())
    @rule(data=st.data())
    def acknowledge_at_the_provider(self, data: st.DataObject) -> None:
        ringing = self.phone.ringing() | self.chat.ringing()
        receipt = data.draw(st.sampled_from(sorted(ringing)))
        ringing[receipt].acknowledged_at = self.clock.at

    @rule(name=st.sampled_from(GRIDS))
    def acknowledge_by_command(self, name: str) -> None:
        told = self.journal.notifications.newest_told(name)
        if told is not None:
            self.answer(name, ResponseKind.ACKNOWLEDGED, told.decision.page)

    @rule(name=st.sampled_from(GRIDS), kind=st.sampled_from(sorted(FLATS)))
    def report_flat(self, name: str, kind: ResponseKind) -> None:
        """By command, or by the account."""
        self.answer(name, kind)

    @rule(name=st.sampled_from(GRIDS))
    def trade_again(self, name: str) -> None:
        """The account shows it."""
        self.answer(name, ResponseKind.REOPENED)

    def answer(self, name: str, kind: ResponseKind, page: str = "") -> None:
        response = Response(grid=name, at=self.clock.at, kind=kind, page=page)
        made = ResponseRecord(
            response=response, source="command", by_whom="op", recorded_at=self.clock.at, **WRITTEN_BY
        )
        self.journal.responses.record([made])
        self.survive(self._follow)

    # What must hold at any time

    @invariant()
    def none_is_taken_twice_unmarked(self) -> None:
        for channel in (self.phone, self.chat):
            seen: set[str] = set()
            for message in channel.accepted:
                assert message.page_id not in seen or "POSSIBLE DUPLICATE" in message.title, message
                seen.add(message.page_id)

    def check_reissue(self, name: str, at: datetime) -> None:
        """An emergency that is acknowledged or whose position is flat is not issued anew."""
        made = [one.decision for one in self.journal.notifications.decisions(name) if one.decision.is_told]
        newest = next(one for one in made if one.evaluated_at == at)
        if newest.cause not in (Cause.REISSUE, Cause.REPEAT) or newest.notice not in ASKS_FOR_EXIT:
            return
        before = [one for one in made if one.evaluated_at < at and one.notice is newest.notice][-1]
        known = self.journal.responses.select(name, until=self.clock.at + timedelta(milliseconds=1))
        reopened = max((one.response.at for one in known if one.response.kind is ResponseKind.REOPENED), default=NOON)
        for answer in known:
            response = answer.response
            if response.kind in FLATS and response.at <= reopened:
                continue
            assert response.kind is not ResponseKind.ACKNOWLEDGED or response.page != before.page
            assert response.kind not in FLATS or response.at < before.episode_at

    # What must hold once everything has healed

    def teardown(self) -> None:
        try:
            if any(self.rows.values()):
                self.heal()
                self.check_decisions()
                pages = self.journal.notifications.pages()
                for page in pages:
                    self.check_end(page)
                    self.check_words(page)
                self.check_answers()
        finally:
            self.journal.close()
            self.folder.cleanup()

    def heal(self) -> None:
        """Everybody is well again; half a day passes."""
        self.fuse.calls = None
        for channel in (self.phone, self.chat):
            channel.answers.clear()
            channel.is_spent = channel.is_mute = False
        for pause in (*(timedelta(seconds=61) for _ in range(3)), *(timedelta(minutes=6) for _ in range(4))):
            self.clock.at += pause
            self.deliver()
        self.check_silence()
        for _ in range(3):
            self.clock.at += timedelta(hours=4)
            self.deliver()
            self.deliver()
        assert self.journal.outbox.waiting() == []

    def deliver(self) -> None:
        delivery = self.watch.delivery()
        delivery.relay.run()
        assert delivery.answers.follow().problems == ()

    def check_silence(self) -> None:
        """No alarm rings for a page that somebody has acknowledged, whether the watch has its receipt or not."""
        answers = [answer.response for answer in self.journal.responses.select()]
        acknowledged = {response.page for response in answers if response.kind is ResponseKind.ACKNOWLEDGED}
        for channel in (self.phone, self.chat):
            for emergency in channel.ringing().values():
                assert emergency.message.page_id not in acknowledged, emergency

    def check_decisions(self) -> None:
        """What is told was live when it was decided, of the right kind, and has its page."""
        pages = {page.page: page for page in self.journal.notifications.pages()}
        live = {(one.grid, one.evaluated_at, one.kind.value) for one in self.journal.evaluations() if one.is_live}
        told = [one for one in self.journal.notifications.decisions() if one.decision.is_told]
        for one in told:
            decision = one.decision
            assert one.decided_at - decision.evaluated_at <= self.settings.notify.max_lateness
            assert (decision.grid, decision.evaluated_at, decision.kind) in live
            assert (decision.kind == "entry") == (decision.notice is Notice.ENTER)
            assert decision.grid in pages[decision.page].grids
        grids = Counter((one.decision.page, one.decision.grid) for one in told)
        assert grids == Counter((page.page, name) for page in pages.values() for name in page.grids)

    def check_end(self, page: Page) -> None:
        """Taken by a channel, replaced by something newer about all of its grids, or told of as undeliverable."""
        events = [event.event for event in self.journal.outbox.events(page=page.page)]
        is_taken = any(m.page_id == page.page for channel in (self.phone, self.chat) for m in channel.accepted)
        if DeliveryOutcome.SENT in events:
            assert is_taken
        elif DeliveryOutcome.ANSWERED in events:
            assert all(self.is_answered(page, name) for name in page.grids)
        elif DeliveryOutcome.SUPERSEDED in events:
            assert all(self.is_replaced(page, name) for name in page.grids)
        else:
            assert DeliveryOutcome.UNDELIVERABLE in events, (page, events)
            assert events.count(DeliveryOutcome.UNDELIVERABLE) == 1
            assert not page.grids or any(not other.grids for other in self.journal.notifications.pages())

    def is_answered(self, page: Page, name: str) -> bool:
        """Somebody knew of it, of something newer, or had closed the position since it was told for the first time."""
        made = [one.decision for one in self.journal.notifications.decisions(name) if one.decision.is_told]
        began = next(one.episode_at for one in made if one.page == page.page)
        newer = {one.page for one in made if one.evaluated_at >= page.evaluated_at}
        given = self.journal.responses.select(name, since=began)
        return any(
            (one.response.kind in FLATS and one.recorded_at > page.decided_at)
            or (one.response.kind is ResponseKind.ACKNOWLEDGED and one.response.page in newer)
            for one in given
        )

    def is_replaced(self, page: Page, name: str) -> bool:
        made = [one.decision for one in self.journal.notifications.decisions(name) if one.decision.is_told]
        kind = next(one.kind for one in made if one.page == page.page)
        return any(
            one.evaluated_at > page.evaluated_at
            and one.kind == kind
            and (one.notice is not Notice.UNKNOWN or page.notice == Notice.UNKNOWN)
            for one in made
        )

    def check_words(self, page: Page) -> None:
        """An enabled grid hears nothing of entering, a disabled one nothing of leaving or risk."""
        words = f"{page.title}\n{page.text}".lower()
        if page.notice == Notice.ENTER:
            assert not any(word in words for word in ("exit", "mm flat", "risk", "give-back")), words
        elif page.grids:
            assert not any(word in words for word in ("to start", "proposed", "good moment")), words

    def check_answers(self) -> None:
        """Each acknowledgement is stored once; a page that asked for an exit and that nobody answered was passed on."""
        answers = [answer.response for answer in self.journal.responses.select()]
        counts = Counter((one.grid, one.page, one.kind) for one in answers if one.page)
        assert set(counts.values()) <= {1}
        stored = {one.page: one.at for one in answers if one.kind is ResponseKind.ACKNOWLEDGED}
        known = {event.receipt for event in self.journal.outbox.events() if event.receipt is not None}
        for channel in (self.phone, self.chat):
            for receipt, one in channel.emergencies.items():
                if receipt in known and one.acknowledged_at is not None:
                    assert one.message.page_id in stored, receipt
        for one in answers:
            if one.kind is ResponseKind.MISSED:
                self.check_passed_on(one)

    def check_passed_on(self, missed: Response) -> None:
        """Also where it was answered late, unless that was before anybody looked."""
        page = next(one for one in self.journal.notifications.pages() if one.page == missed.page)
        channels = {event.channel for event in self.journal.outbox.events(page=page.page)}
        is_passed_on = channels >= {"phone", "chat"} or self.is_answered(page, missed.grid)
        assert page.notice not in ASKS_FOR_EXIT or is_passed_on, channels


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> type[OperatorLoop]:
    """The machine with what is the same for all its examples: settings, and a migrated journal to copy."""
    file = tmp_path_factory.mktemp("journal") / "journal.db"
    Journal(sqlite_url(file)).close()
    content = load_settings().model_dump(mode="json")
    content["channels"] = [
        {"name": "phone", "kind": "console"},
        {"name": "chat", "kind": "console", "is_secondary": True},
    ]
    return type("Loop", (OperatorLoop,), {"empty_journal": file, "settings": Settings.model_validate(content)})


def test_whatever_fails_no_page_is_lost_or_told_twice(loop: type[OperatorLoop]) -> None:
    logging.disable(logging.CRITICAL)  # the faults are meant
    try:
        run_state_machine_as_test(
            loop,
            settings=settings(
                max_examples=tries(20),
                stateful_step_count=25,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            ),
        )
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("kind", list(EvaluationKind))
def test_scripted_states_keep_the_contract_of_real_ones(kind: EvaluationKind) -> None:
    wanted = [letter for letter in LETTERS if LETTERS[letter].get("kind", "exit") == kind]
    rows = [ScriptedRow(at_bar(bar), letter, grid(enabled=kind == "exit")) for bar, letter in enumerate(wanted)]
    (contracts.EXIT if kind is EvaluationKind.EXIT else contracts.ENTRY).check(frame_of(rows, kind))
