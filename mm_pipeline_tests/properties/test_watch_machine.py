"""Whatever happens to clocks, files, the exchange, operators and channels: the watch is never mute, and never a storm.

Mute: the stop is breached on bars that the watch could have, for two evaluations of a working clock, and neither is a
page told or answered, nor is the heartbeat silent. A storm: an emergency that names no trigger that is new in its
episode, and is no reissue. A breach that was seen stands until the range begins anew. Most steps are ticks: whatever
happens between two of them is one thing. ``MM_TEST_EFFORT`` asks for a long search.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from mm_pipeline.adapters.clock import FixedClock
from mm_pipeline.adapters.journal import DecisionRecord, DeliveryOutcome, ResponseRecord
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.notifications import FLATS, Cause, Notice, ResponseKind
from mm_pipeline.domain.notifications import Response as Word
from mm_pipeline.settings import Settings, load_settings
from mm_pipeline_tests.effort import tries
from mm_pipeline_tests.machine_watch import BAR, BEGIN, GRID, MINUTE, MachineWatch, World, without_pictures
from mm_pipeline_tests.notification_watch import WRITTEN_BY, ScriptedProvider

HOUR, YEAR = timedelta(hours=1), timedelta(days=365)
CALM, BELOW, ABOVE = 3000.0, 2700.0, 3150.0
BREACHED = "stop_loss_breached"
STEPS = 14

prices = st.sampled_from([CALM, BELOW, BELOW, ABOVE])
skews = st.sampled_from([5 * MINUTE, 6 * HOUR, YEAR, -5 * MINUTE, -6 * HOUR])
between_ticks = precondition(lambda self: self.is_ticked)
misbehaviours = st.lists(st.sampled_from(["ok", "busy", "lost", "refused", "broken"]), min_size=1, max_size=4)


class TrueClock:
    """The providers' clocks are right."""

    def __init__(self, world: World) -> None:
        self.world = world

    def now(self) -> datetime:
        return self.world.now

    def now_ms(self) -> int:
        return FixedClock(self.world.now).now_ms()


class WatchMachine(RuleBasedStateMachine):
    """One grid, its market, an exchange, this machine's clock, an operator, a phone and a chat."""

    settings: Settings
    counts: dict[str, int]

    def __init__(self) -> None:
        super().__init__()
        self.counts["examples"] += 1
        shared_memory = Path("/dev/shm")  # noqa: S108 - faster than a disk where it is there
        self.folder = Path(tempfile.mkdtemp(dir=shared_memory if shared_memory.is_dir() else None))
        self.world = World()
        clock = TrueClock(self.world)
        self.phone = ScriptedProvider("phone", clock)  # type: ignore[arg-type]
        self.chat = ScriptedProvider("chat", clock)  # type: ignore[arg-type]
        self.watch = MachineWatch(self.folder, self.world, self.settings, {"phone": self.phone, "chat": self.chat})
        self.declared: dict[str, Any] = dict(GRID)
        self.breaches = 0
        self.is_latched = False
        self.is_ticked = False
        self.heartbeat = "sent"
        self.resets: list[datetime] = []
        self.tick(CALM)

    # What the watch does

    @rule(price=prices)
    def tick(self, price: float) -> None:
        """The next bar, and the run after it; once more with a right clock where the machine's was wrong."""
        self._run(price)

    @rule(price=prices)
    def tick_after_tick(self, price: float) -> None:
        """The same, so that it comes up as often as all else together."""
        self._run(price)

    @rule(skew=st.sampled_from([-6 * HOUR, -2 * HOUR, 6 * HOUR]))
    def tick_with_a_wrong_clock_in_a_calm_market(self, skew: timedelta) -> None:
        self.tick_with_a_wrong_clock(CALM, skew, is_away=True)

    @rule(price=prices, skew=skews, is_away=st.booleans())
    def tick_with_a_wrong_clock(self, price: float, skew: timedelta, is_away: bool) -> None:
        before = self.world.is_away
        self.world.skew, self.world.is_away = skew, is_away or before
        self._run(price)
        self.world.skew, self.world.is_away = timedelta(0), before

    @between_ticks
    @rule(price=prices, bars=st.sampled_from([1, 2, 8]))
    def miss_ticks(self, price: float, bars: int) -> None:
        """Nothing runs; the market goes on."""
        self.is_ticked = False
        for _ in range(bars):
            self._next_bar(price)

    @between_ticks
    @rule()
    def tick_again(self) -> None:
        """Another run at the same evaluation, a minute later."""
        self.is_ticked = False
        self.world.now += MINUTE
        self.heartbeat = self.watch.tick()
        self.world.now -= MINUTE

    @between_ticks
    @rule()
    def sensors(self) -> None:
        self.is_ticked = False
        self.watch.run_sensors()

    @between_ticks
    @rule(skew=skews)
    def sensors_with_a_wrong_clock(self, skew: timedelta) -> None:
        self.is_ticked = False
        self.world.skew = skew
        self.watch.run_sensors()
        self.world.skew = timedelta(0)

    def _next_bar(self, price: float) -> None:
        self.world.prices[self.world.now - MINUTE] = price
        self.world.now += BAR

    def _run(self, price: float) -> None:
        self.counts["ticks"] += 1
        self.is_ticked = True
        self._next_bar(price)
        self.heartbeat = self.watch.tick()
        is_good = not self.world.skew and not self.world.is_away
        if is_good:
            self.breaches = self.breaches + 1 if self._is_breached() else 0
            if self.breaches >= 2:
                self._check_not_mute()
            self._check_no_storm()
            self._check_latch()

    # What goes wrong

    @between_ticks
    @rule()
    def exchange_goes_or_comes(self) -> None:
        self.is_ticked = False
        self.world.is_away = not self.world.is_away

    @between_ticks
    @rule(is_there=st.booleans())
    def leave_out_the_next_bar(self, is_there: bool) -> None:
        """Or give what was left out."""
        self.is_ticked = False
        if is_there:
            self.world.missing.clear()
        else:
            self.world.missing.add(self.world.now - MINUTE)

    @between_ticks
    @rule(back=st.sampled_from([1, 1, 2, 5]), price=prices)
    def revise_a_bar(self, back: int, price: float) -> None:
        """The exchange tells a closed bar anew, as all of its servers do from now on."""
        self.is_ticked = False
        opened = self.world.now - MINUTE - back * BAR
        if opened in self.world.prices:
            self.breaches, self.is_latched = 0, False
            self.world.prices[opened] = price

    @between_ticks
    @rule(answers=misbehaviours, is_phone=st.booleans())
    def misbehave(self, answers: list[str], is_phone: bool) -> None:
        self.is_ticked = False
        (self.phone if is_phone else self.chat).answers += answers

    @between_ticks
    @rule()
    def phone_refuses_or_takes(self) -> None:
        self.is_ticked = False
        self.phone.is_spent = not self.phone.is_spent

    # What operators do to the file

    @between_ticks
    @rule(stop=st.sampled_from([2650.0, 2750.0, 2800.0, 2860.0]))
    def move_stop(self, stop: float) -> None:
        self._declare(stop_loss=stop)

    @between_ticks
    @rule(upper=st.sampled_from([3050.0, 3200.0]))
    def move_bounds(self, upper: float) -> None:
        self._declare(upper=upper)

    @between_ticks
    @rule(ahead=st.sampled_from([timedelta(0), timedelta(0), 8 * HOUR, YEAR]))
    def begin_anew(self, ahead: timedelta) -> None:
        self.is_latched = False
        self.resets.append(self.world.now)
        self._declare(started_at=self.world.now.replace(second=0) + ahead)

    @between_ticks
    @rule(is_enabled=st.booleans())
    def switch(self, is_enabled: bool) -> None:
        if is_enabled != self.declared["enabled"]:
            self.resets.append(self.world.now)
            self.is_latched = False
        self._declare(enabled=is_enabled)

    @between_ticks
    @rule()
    def remove(self) -> None:
        self.is_ticked = False
        self.breaches = 0
        self.watch.grid_file.unlink(missing_ok=True)

    @between_ticks
    @rule()
    def garble(self) -> None:
        self.is_ticked = False
        self.watch.grid_file.write_text("id: eth\nlower: [\n")

    @between_ticks
    @rule()
    def put_back(self) -> None:
        self._declare()

    def _declare(self, **changes: Any) -> None:
        self.is_ticked = False
        self.breaches = 0
        self.declared |= changes
        self.watch.declare(self.declared)

    # What operators answer

    @precondition(lambda self: self.phone.ringing() or self.chat.ringing())
    @between_ticks
    @rule()
    def acknowledge_at_the_provider(self) -> None:
        self.is_ticked = False
        for one in (self.phone.ringing() | self.chat.ringing()).values():
            one.acknowledged_at = self.world.now

    @between_ticks
    @rule()
    def acknowledge_by_command(self) -> None:
        self.is_ticked = False
        for standing in self.watch.journal.notifications.standing("eth"):
            self._answer(ResponseKind.ACKNOWLEDGED, standing.decision.page)

    @between_ticks
    @rule(kind=st.sampled_from([*sorted(FLATS), ResponseKind.REOPENED]))
    def report(self, kind: ResponseKind) -> None:
        """A word about the position, true or not; by command or by the account."""
        self.is_ticked = False
        self.resets.append(self.world.now)
        self._answer(kind)

    def _answer(self, kind: ResponseKind, page: str = "") -> None:
        word = Word(grid="eth", at=self.world.now, kind=kind, page=page)
        made = ResponseRecord(response=word, source="command", by_whom="op", recorded_at=self.world.now, **WRITTEN_BY)
        self.watch.journal.responses.record([made])

    # What must hold

    def _is_breached(self) -> bool:
        """Whether the newest bar is known, lies in the grid's range, and its low is at the stop or below."""
        opened = self.world.now - MINUTE - BAR
        is_known = opened in self.world.prices and opened not in self.world.missing
        is_watched = self.declared["enabled"] and opened >= self.declared["started_at"]
        return is_known and is_watched and self.world.prices[opened] - 1.0 <= self.declared["stop_loss"]

    def _check_not_mute(self) -> None:
        if not self.heartbeat.startswith("sent"):
            return
        told = self._told_since(self.declared["started_at"])
        breach = f"{BREACHED}@{self.declared['stop_loss']:g}"
        named = [
            one for one in told if one.decision.notice is Notice.MANDATORY_EXIT and breach in one.decision.triggers
        ]
        words = [
            answer.response
            for answer in self.watch.journal.responses.select("eth", since=self.declared["started_at"])
            if answer.response.kind in {*FLATS, ResponseKind.REOPENED}
        ]
        is_reported_flat = bool(words) and words[-1].kind in FLATS
        assert named or is_reported_flat, (self.world.now, told)
        if named and not is_reported_flat:
            self._check_on_its_way(named[-1].decision.page)

    def _check_latch(self) -> None:
        """A breach that was seen heals by no edit, no wrong clock and no outage; one that is unknown may come back."""
        made = self.watch.journal.last_evaluation("eth")
        if made is None or made.kind is not EvaluationKind.EXIT:
            return
        if self.is_latched:
            assert BREACHED in made.fired or made.state == Notice.UNKNOWN, (self.world.now, made)
        self.is_latched = self.is_latched or BREACHED in made.fired

    def _check_on_its_way(self, page: str) -> None:
        journal = self.watch.journal
        events = {event.event for event in journal.outbox.events(page=page)}
        ended = {DeliveryOutcome.SENT, DeliveryOutcome.ANSWERED, DeliveryOutcome.SUPERSEDED}
        assert events & ended or page in {one.page for one in journal.outbox.waiting()}, (page, events)

    def _told_since(self, since: datetime) -> list[DecisionRecord]:
        self.watch.journal.keep_time(FixedClock(self.world.now), tolerance=MINUTE)
        return [one for one in self.watch.journal.notifications.decisions("eth", since=since) if one.decision.is_told]

    def _check_no_storm(self) -> None:
        """Within an episode each emergency but a reissue names a trigger that none before it named."""
        self.watch.journal.keep_time(FixedClock(self.world.now), tolerance=MINUTE)
        named: set[str] = set()
        before = BEGIN
        for one in self.watch.journal.notifications.decisions("eth"):
            decision = one.decision
            if decision.notice is Notice.NORMAL or any(before <= at < one.decided_at for at in self.resets):
                named = set()
            before = one.decided_at
            if decision.notice is not Notice.MANDATORY_EXIT or not decision.is_told:
                continue
            is_again = decision.cause in (Cause.REISSUE, Cause.REPEAT)
            assert is_again or not named or set(decision.triggers) - named, decision
            named |= set(decision.triggers)

    @invariant()
    def none_is_taken_twice_unmarked(self) -> None:
        for channel in (self.phone, self.chat):
            seen: set[str] = set()
            for message in channel.accepted:
                assert message.page_id not in seen or "POSSIBLE DUPLICATE" in message.title, message
                seen.add(message.page_id)

    def teardown(self) -> None:
        """Everybody is well again, and the price stays below the stop."""
        try:
            self.world.is_away = self.phone.is_spent = False
            self.world.missing.clear()
            self.phone.answers.clear()
            self.chat.answers.clear()
            self._declare(enabled=True)
            for _ in range(3):
                self._run(BELOW)
        finally:
            self.watch.close()
            shutil.rmtree(self.folder)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[WatchMachine]]:
    monkeypatch.setenv("MM_HEARTBEAT_URL", "http://127.0.0.1:9/beat")
    content: Mapping[str, Any] = load_settings().model_dump(mode="json") | {
        "channels": [
            {"name": "phone", "kind": "console"},
            {"name": "chat", "kind": "console", "is_secondary": True},
        ]
    }
    logging.disable(logging.CRITICAL)  # the faults are meant
    made = type("Machine", (WatchMachine,), {"settings": Settings.model_validate(content), "counts": _counts()})
    with without_pictures(lambda _url: True):
        yield made
    logging.disable(logging.NOTSET)


def _counts() -> dict[str, int]:
    return {"examples": 0, "ticks": 0}


def test_watch_is_never_mute_and_never_a_storm(machine: type[WatchMachine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=tries(3),
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(f"{machine.counts['examples']} examples, {machine.counts['ticks']} ticks")
