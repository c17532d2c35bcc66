"""Row 25: the heartbeat falls silent when the watch or its pages do, and no stopped relay blocks another for long."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from mm_pipeline.adapters.clock import SystemClock
from mm_pipeline.adapters.journal import Journal, sqlite_url
from mm_pipeline.application.opening.channels import ConfiguredChannels, Delivery, delivery_of
from mm_pipeline.orchestration.assets import states as states_module
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.http.http_server import HttpServer
from mm_pipeline.paper.http.wire import Answer
from mm_pipeline.paper.pushover import AcceptedMessage, PaperPushover
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, ETH, FixedSources, metadata_of
from mm_pipeline_tests.delivery_process import AT as DECIDED_AT
from mm_pipeline_tests.delivery_process import ENVIRONMENT, TOKEN, USER, Processes, phone_settings
from mm_pipeline_tests.notification_samples import WRITTEN_BY, a_decided, a_page
from mm_pipeline_tests.paging_samples import AT, BAR, DOWN, MINUTE, PagingInstallation, calm_market, with_price

pytestmark = [pytest.mark.fault, *DAGSTER_WARNINGS]


class Heart:
    """A monitor that counts the beats it gets."""

    def __init__(self) -> None:
        self.beats = 0
        self.status = 200
        self._server = HttpServer("127.0.0.1", 0, self._answer)
        self._server.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/beat/s3cret"

    def stop(self) -> None:
        self._server.stop()

    def _answer(self, _method: str, target: str, _headers: dict[str, str], _body: bytes) -> Answer:
        assert target == "/beat/s3cret"
        self.beats += 1
        return Answer(status=self.status, payload={})


@pytest.fixture
def heart(monkeypatch: pytest.MonkeyPatch) -> Iterator[Heart]:
    made = Heart()
    monkeypatch.setenv("MM_HEARTBEAT_URL", made.url)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def calm() -> pl.DataFrame:
    return calm_market()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def phone(monkeypatch: pytest.MonkeyPatch) -> Iterator[PaperPushover]:
    for name, key in ENVIRONMENT.items():
        monkeypatch.setenv(name, key)
    with PaperPushover(clock=PaperClock.standing(AT), token=TOKEN, user=USER) as pushover:
        yield pushover


@pytest.fixture
def watch(tmp_path: Path, calm: pl.DataFrame, phone: PaperPushover) -> PagingInstallation:
    made = PagingInstallation(tmp_path, FixedSources({ETH: calm}), pushover=phone)
    made.grid("eth")
    return made


def heartbeat(result: dg.ExecuteInProcessResult) -> str:
    return str(metadata_of(result, "deliveries")["heartbeat"])


def test_25_good_tick_beats_and_one_whose_market_fails_does_too(
    watch: PagingInstallation, heart: Heart, instance: dg.DagsterInstance
) -> None:
    assert heartbeat(watch.tick(AT, instance)) == "sent"
    watch.sources.problems = {ETH: DOWN}  # UNKNOWN is an evaluation too, and is paged
    assert heartbeat(watch.tick(AT + BAR, instance)) == "sent"
    assert heart.beats == 2
    heart.status = 500
    assert heartbeat(watch.tick(AT + 2 * BAR, instance)).startswith("failed")
    assert heart.beats == 3


def test_25_paper_markets_do_not_beat_for_a_watch_of_real_ones(
    watch: PagingInstallation, heart: Heart, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.configure(exchange="paper")
    assert heartbeat(watch.tick(AT, instance)) == "sent"
    monkeypatch.setenv("MM_HEARTBEAT_URL", "https://heart.example/s3cret")
    assert heartbeat(watch.tick(AT + BAR, instance)).startswith("withheld: paper markets")
    assert heart.beats == 1


def test_25_grid_that_was_not_evaluated_silences_the_heartbeat(
    watch: PagingInstallation, heart: Heart, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.tick(AT, instance)
    monkeypatch.setattr(states_module, "journal_decisions", lambda *_: [])
    assert heartbeat(watch.tick(AT + BAR, instance)) == "withheld: eth was not evaluated"
    assert heart.beats == 1


@pytest.mark.parametrize(("overdue_after", "beats"), [("14min", 1), ("16min", 2)])
def test_25_page_that_is_overdue_silences_the_heartbeat_until_it_is_sent(
    watch: PagingInstallation,
    heart: Heart,
    instance: dg.DagsterInstance,
    calm: pl.DataFrame,
    *,
    phone: PaperPushover,
    overdue_after: str,
    beats: int,
) -> None:
    watch.configure(delivery={"overdue_after": overdue_after})
    watch.sources.candles[ETH] = with_price(calm, 2750.0, AT - BAR)
    phone.fail_next(100, status=500)
    assert heartbeat(watch.tick(AT, instance)) == "sent"  # decided just now
    found = heartbeat(watch.tick(AT + BAR, instance))
    assert ("is overdue" in found) is (beats == 1)
    assert heart.beats == beats
    if beats == 2:
        return
    phone.faults.clear()
    assert heartbeat(watch.tick(AT + 2 * BAR, instance)) == "sent"


def test_25_page_that_everything_refused_silences_the_heartbeat(
    watch: PagingInstallation,
    heart: Heart,
    instance: dg.DagsterInstance,
    calm: pl.DataFrame,
    phone: PaperPushover,
) -> None:
    watch.sources.candles[ETH] = with_price(calm, 2750.0, AT - BAR)
    phone.fail_next(100, status=400)
    watch.tick(AT, instance)
    found = heartbeat(watch.tick(AT + 2 * BAR, instance))
    assert found.startswith("withheld")
    assert "is overdue" in found
    assert heart.beats == 0  # at the first tick no channel that reaches a person worked


# Leases


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    with Processes(tmp_path_factory.mktemp("workers") / "errors.txt") as started:
        yield started


def test_25_relay_that_stands_still_blocks_no_other_once_its_lease_has_ended(
    tmp_path: Path, phone: PaperPushover, processes: Processes
) -> None:
    url, asked, released = sqlite_url(tmp_path / "journal.db"), threading.Event(), threading.Event()

    def hold(_message: AcceptedMessage) -> None:
        phone.on_accepted = None
        asked.set()
        released.wait(30)

    phone.on_accepted = hold
    still = processes.start(url, phone.url, DECIDED_AT + MINUTE)
    assert asked.wait(30), processes.errors()
    os.kill(still, signal.SIGSTOP)
    try:
        assert processes.run(url, phone.url, DECIDED_AT + 1.9 * MINUTE) == 0
        assert len(phone.messages) == 1  # within the lease nobody repeats it
        assert processes.run(url, phone.url, DECIDED_AT + 2 * MINUTE) == 0
        assert ["POSSIBLE DUPLICATE" in message.title for message in phone.messages] == [False, True]
    finally:
        released.set()
        os.kill(still, signal.SIGCONT)
    assert processes.wait(still) == 0, processes.errors()
    assert processes.run(url, phone.url, DECIDED_AT + 10 * MINUTE) == 0
    assert len(phone.messages) == 2
    with Journal(url) as journal:
        assert journal.outbox.waiting() == []
        (page,) = journal.notifications.pages()
        assert [event.event.value for event in journal.outbox.events(page=page.page)].count("sent") == 2


def test_25_claim_is_renewed_while_a_slow_send_lasts(tmp_path: Path, phone: PaperPushover) -> None:
    settings = phone_settings(phone.url, lease="3s")
    clock = SystemClock()

    def delivery(journal: Journal) -> Delivery:
        channels = ConfiguredChannels(tmp_path).open(settings)
        return delivery_of(journal, channels, settings=settings, clock=clock, written_by=WRITTEN_BY)

    with Journal(sqlite_url(tmp_path / "journal.db")) as journal, ThreadPoolExecutor(1) as pool:
        page = a_page(evaluated_at=clock.now(), decided_at=clock.now())
        journal.notifications.commit([a_decided(page)], [page], channels={"phone": 0}, due_at=clock.now())
        asked = threading.Event()
        phone.on_accepted = lambda _message: asked.set()
        phone.hang_next(for_s=4.2)  # short of the read timeout, longer than the lease
        slow = pool.submit(delivery(journal).relay.run)
        assert asked.wait(10)
        made = []
        while not slow.done():
            made += delivery(journal).relay.run()
            time.sleep(0.2)
        assert [sent.outcome.value for sent in slow.result()] == ["sent"]
        assert made == []
        assert delivery(journal).relay.run() == []
    assert len(phone.messages) == 1
