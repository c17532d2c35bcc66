"""Row 20 for pages: Postgres stops at once around a decision's commit; nothing is half kept, the next tick heals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from mm_pipeline.adapters.channels.pushover import PushoverChannel
from mm_pipeline.adapters.journal import decisions as notifications_module
from mm_pipeline.adapters.journal.outbox import JournalOutbox
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.pushover import PaperPushover
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, ETH, FixedSources
from mm_pipeline_tests.delivery_process import ENVIRONMENT
from mm_pipeline_tests.paging_samples import AT, BAR, PagingInstallation, calm_market, with_price
from mm_pipeline_tests.postgres_server import PostgresServer, session_server

pytestmark = [pytest.mark.fault, *DAGSTER_WARNINGS]

Interruption = tuple[object, str, bool]
"""Of which object which function; whether the server stops before it, else after it."""

INTERRUPTIONS: dict[str, Interruption] = {
    "inside the commit": (notifications_module, "add_page", False),
    "after the commit": (JournalOutbox, "claim", True),
    "after the answer": (PushoverChannel, "send", False),
}


@pytest.fixture(scope="module")
def falling() -> pl.DataFrame:
    return with_price(calm_market(), 2750.0, AT - BAR)


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    shared = session_server()
    yield shared
    shared.start()


@pytest.fixture
def watch(
    tmp_path: Path, falling: pl.DataFrame, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PagingInstallation]:
    for name, key in ENVIRONMENT.items():
        monkeypatch.setenv(name, key)
    with PaperPushover(clock=PaperClock.standing(AT)) as pushover:
        url = server.new_database()
        made = PagingInstallation(tmp_path, FixedSources({ETH: falling}), pushover=pushover, journal_url=url)
        made.configure(last_resort={"grace": "2s"})  # so long a failing run looks whether the database comes back
        made.grid("eth")
        yield made


def stopping(function: Callable[..., Any], server: PostgresServer, *, is_before: bool) -> Callable[..., Any]:
    def stopped(*arguments: Any, **options: Any) -> Any:
        if is_before:
            server.stop_at_once()
            return function(*arguments, **options)
        found = function(*arguments, **options)
        server.stop_at_once()
        return found

    return stopped


@pytest.mark.parametrize("interruption", INTERRUPTIONS.values(), ids=INTERRUPTIONS.keys())
def test_20_postgres_stopped_around_a_decision_keeps_all_of_it_or_nothing_and_the_next_tick_pages(
    watch: PagingInstallation,
    server: PostgresServer,
    interruption: Interruption,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owner, name, is_before = interruption
    with dg.DagsterInstance.ephemeral() as instance:
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, stopping(getattr(owner, name), server, is_before=is_before))
            assert not watch.tick(AT, instance, raises=False).success
        server.start()
        is_kept = name != "add_page"
        with watch.journal() as journal:
            assert len(journal.evaluations()) == 1
            kept = (journal.notifications.decisions(), journal.notifications.pages(), journal.outbox.waiting())
            assert [len(part) for part in kept] == ([1, 1, 1] if is_kept else [0, 0, 0])
        watch.tick(AT + BAR, instance)

    assert watch.told() == [("MANDATORY_EXIT", AT, 1)]
    # What tells of the outage itself, without the journal, comes beside the page.
    outage = {"THE WATCH CANNOT PAGE: its storage fails", "The watch works again"}
    pages = [message for message in watch.messages() if message.title not in outage]
    titles = [message.title for message in pages]
    assert len(titles) == (2 if name == "send" else 1)
    assert ["POSSIBLE DUPLICATE" in title for title in titles[1:]] == [True] * (len(titles) - 1)
    assert len({message.tags for message in pages}) == 1
    with watch.journal() as journal:
        assert journal.outbox.waiting() == []
