"""Row 30: a price that crosses the upper bound at every bar is one emergency once it is acknowledged, not 48 a day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mm_pipeline.adapters.journal import Journal, sqlite_url
from mm_pipeline.application.opening.channels import ConfiguredChannels
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.pushover import PaperPushover
from mm_pipeline_tests.delivery_process import ENVIRONMENT, TOKEN, USER, phone_settings
from mm_pipeline_tests.journal_samples import grid
from mm_pipeline_tests.notification_stories import DAY, NOON
from mm_pipeline_tests.notification_watch import MovingClock, ScriptedRow, ScriptedWatch, at_bar

pytestmark = pytest.mark.fault
MINUTE = timedelta(minutes=1)


class Watched:
    """One grid whose ticks decide, deliver to a paper Pushover, and hear; a letter of a story is a tick."""

    def __init__(self, journal: Journal, server: PaperPushover) -> None:
        self.server, self.clock = server, MovingClock()
        settings = phone_settings(server.url)
        channels = ConfiguredChannels(Path("/nonexistent")).open(settings)
        self.watch = ScriptedWatch(journal, channels, settings, self.clock)
        self.grid = grid("eth")
        self.rows: list[ScriptedRow] = []
        journal.observe_grids([self.grid], NOON)

    def tick(self, letter: str) -> None:
        at = at_bar(len(self.rows))
        self.rows.append(ScriptedRow(at, letter, self.grid))
        self.pass_to(at + MINUTE)
        known = {self.grid.id: self.rows[-4:]}
        self.watch.record(at, known)
        self.watch.tell(at, known)
        self.deliver()

    def deliver(self) -> None:
        delivery = self.watch.delivery()
        delivery.relay.run()
        assert delivery.answers.follow().problems == ()

    def pass_to(self, moment: object) -> None:
        self.clock.at = moment  # type: ignore[assignment]
        self.server.clock.stand_at(self.clock.at)

    def acknowledge(self) -> None:
        """Ten minutes after the tick the operator answers what rings."""
        self.pass_to(self.clock.at + 10 * MINUTE)
        ringing = [one.receipt for one in self.server.messages if one.receipt is not None and self.rings(one.receipt)]
        for receipt in ringing:
            assert self.server.acknowledge(receipt)
        if ringing:
            self.deliver()

    def rings(self, receipt: str) -> bool:
        shown = self.server.account.receipt(receipt, TOKEN)
        assert shown is not None
        return shown["acknowledged"] == 0 and shown["expired"] == 0

    def priorities(self) -> list[int]:
        return [message.priority for message in self.server.messages]


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    for name, key in ENVIRONMENT.items():
        monkeypatch.setenv(name, key)
    server = PaperPushover(clock=PaperClock.standing(NOON), token=TOKEN, user=USER)
    with server, Journal(sqlite_url(tmp_path / "journal.db")) as journal:
        yield Watched(journal, server)


@pytest.mark.parametrize("story", ["MSSS", "MWUU"])
def test_30_acknowledged_emergency_is_one_page_whatever_comes_between(watched: Watched, story: str) -> None:
    for letter in (story * DAY)[: DAY // 4]:
        watched.tick(letter)
        watched.acknowledge()
    assert watched.priorities().count(2) == 1


def test_30_price_that_crosses_the_bound_for_a_day_is_an_emergency_a_note_and_a_reminder(watched: Watched) -> None:
    for letter in "MS" * (DAY // 2):
        watched.tick(letter)
        watched.acknowledge()
    assert watched.priorities() == [2, 0, 0]


def test_30_unanswered_emergency_rings_on_through_one_sold_out_and_ends_with_the_second(watched: Watched) -> None:
    watched.tick("M")
    receipt = str(watched.server.messages[0].receipt)
    for letter in "SMWLU":
        watched.tick(letter)
        assert watched.rings(receipt), letter
    watched.tick("S")
    assert watched.rings(receipt)
    watched.tick("S")
    assert not watched.rings(receipt)
