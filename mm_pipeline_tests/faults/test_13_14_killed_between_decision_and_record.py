"""Rows 13 and 14: a process is killed at every step between deciding a page and the record of its delivery."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from mm_pipeline.adapters.clock import FixedClock
from mm_pipeline.adapters.journal import Journal, sqlite_url
from mm_pipeline.application.opening.channels import ConfiguredChannels, Delivery, delivery_of
from mm_pipeline.domain.notifications import ResponseKind
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.pushover import AcceptedMessage, PaperPushover
from mm_pipeline_tests.delivery_process import AT, ENVIRONMENT, KILLED_AT, TOKEN, USER, Processes, phone_settings
from mm_pipeline_tests.notification_samples import WRITTEN_BY
from mm_pipeline_tests.postgres_server import session_server

pytestmark = pytest.mark.fault

MINUTE = timedelta(minutes=1)
LATER = 3 * MINUTE
"""Past the lease of the process that died, within ``max_lateness`` of the evaluation."""
TWICE = {"inside the provider", "after answer"}


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    with Processes(tmp_path_factory.mktemp("workers") / "errors.txt") as started:
        yield started


@pytest.fixture(params=["sqlite", "postgresql"])
def journal_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return sqlite_url(tmp_path / "journal.db") if request.param == "sqlite" else session_server().new_database()


@dataclass
class Scene:
    """A provider, a journal, and processes that come and go."""

    server: PaperPushover
    journal_url: str
    processes: Processes

    def kill(self, at: str) -> None:
        """Let a process decide and deliver a minute after the evaluation, until it is killed there."""
        started: list[int] = []

        def kill_sender(_message: AcceptedMessage) -> None:
            os.kill(started[0], signal.SIGKILL)

        self.server.on_accepted = kill_sender if at == "inside the provider" else None
        started.append(self.processes.start(self.journal_url, self.server.url, AT + MINUTE, killed_at=at))
        assert self.processes.wait(started[0]) == -signal.SIGKILL, self.processes.errors()
        self.server.on_accepted = None

    def restart(self, after: timedelta) -> None:
        """A new process does the same, this long after the evaluation."""
        self.server.clock.stand_at(AT + after)
        assert self.processes.run(self.journal_url, self.server.url, AT + after) == 0, self.processes.errors()

    def delivery(self, journal: Journal, after: timedelta) -> Delivery:
        settings = phone_settings(self.server.url)
        channels = ConfiguredChannels(Path("/nonexistent")).open(settings)
        return delivery_of(journal, channels, settings=settings, clock=FixedClock(AT + after), written_by=WRITTEN_BY)

    def titles(self) -> list[str]:
        return [message.title.partition(" (")[2].rstrip(")") for message in self.server.messages]


@pytest.fixture
def scene(journal_url: str, processes: Processes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    for name, key in ENVIRONMENT.items():
        monkeypatch.setenv(name, key)
    with PaperPushover(clock=PaperClock.standing(AT + MINUTE), token=TOKEN, user=USER) as server:
        yield Scene(server, journal_url, processes)


@pytest.mark.parametrize("killed_at", KILLED_AT)
def test_14_killed_page_arrives_after_a_restart_at_most_twice_and_then_marked(scene: Scene, killed_at: str) -> None:
    scene.kill(killed_at)
    assert len(scene.server.messages) == (1 if killed_at in TWICE else 0)
    scene.restart(LATER)
    scene.restart(LATER + MINUTE)

    unclear = killed_at in TWICE or killed_at == "after claim"
    last = "POSSIBLE DUPLICATE" if unclear else ""
    assert scene.titles() == (["", last] if killed_at in TWICE else [last])
    page = {message.tags for message in scene.server.messages}
    assert len(page) == 1  # every attempt carries the page's one name
    assert all(message.image == b"\x89PNG of a chart" for message in scene.server.messages)

    with Journal(scene.journal_url) as journal:
        (decided,) = journal.notifications.decisions()
        (told,) = journal.notifications.pages()
        assert (decided.decision.page, told.decided_at) == (
            told.page,
            AT + (LATER if killed_at == "before commit" else MINUTE),
        )
        assert [event.event.value for event in journal.outbox.events(page=told.page)] == (
            ["started", "started", "sent"] if unclear else ["started", "sent"]
        )
        assert journal.outbox.waiting() == []

        answers = scene.delivery(journal, LATER + 2 * MINUTE).answers
        assert answers.follow().answers == ()
        receipt = scene.server.messages[-1].receipt
        assert receipt is not None
        scene.server.acknowledge(receipt, by="ann", device="ann-phone")
        (heard,) = answers.follow().answers
        assert (heard.response.kind, heard.by_whom, heard.response.page) == (
            ResponseKind.ACKNOWLEDGED,
            "ann-phone",
            told.page,
        )
        assert answers.follow().answers == ()
    for message in scene.server.messages[:-1]:  # the doubled one rings no more either
        assert message.receipt is not None
        shown = scene.server.account.receipt(message.receipt, TOKEN)
        assert shown is not None
        assert shown["expired"] == 1


@pytest.mark.parametrize("killed_at", ["after commit", "after answer"])
def test_13_page_of_a_process_that_died_is_sent_hours_later_and_marked_late(scene: Scene, killed_at: str) -> None:
    scene.kill(killed_at)
    scene.restart(timedelta(hours=2, minutes=5))
    mark = "LATE 2 h 5 min"
    assert scene.titles()[-1] == (f"{mark}, POSSIBLE DUPLICATE" if killed_at in TWICE else mark)
    assert scene.server.messages[-1].text.startswith(mark)
    with Journal(scene.journal_url) as journal:
        assert journal.outbox.unsent(decided_before=AT + timedelta(hours=3)) == []


def test_13_nobody_decides_about_what_was_not_committed_once_it_is_history(scene: Scene) -> None:
    scene.kill("before commit")
    scene.restart(timedelta(hours=2))
    with Journal(scene.journal_url) as journal:
        assert (journal.notifications.decisions(), journal.notifications.pages()) == ([], [])
    assert scene.server.messages == ()


def test_13_second_process_leaves_a_page_alone_that_another_holds(scene: Scene) -> None:
    scene.kill("after claim")
    scene.restart(MINUTE + timedelta(seconds=59))
    assert scene.server.messages == ()
    scene.restart(2 * MINUTE)
    assert scene.titles() == ["POSSIBLE DUPLICATE"]
