"""Row 19 by two real daemons, each with its own code server and home, whose journal is one Postgres."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from mm_pipeline.adapters.journal import Journal
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.pushover import PaperPushover
from mm_pipeline_tests.clock_samples import PATIENCE, crashing, quarter, served
from mm_pipeline_tests.daemon_process import Daemons, daemons
from mm_pipeline_tests.dagster_samples import ETH, FixedSources, ranging_candles
from mm_pipeline_tests.delivery_process import ENVIRONMENT, TOKEN, USER
from mm_pipeline_tests.paging_samples import BAR, MINUTE, PagingInstallation
from mm_pipeline_tests.postgres_server import session_server
from mm_pipeline_tests.steered_definitions import TOGETHER
from mm_pipeline_tests.up_process import wait_for

pytestmark = [
    pytest.mark.fault,
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked for in /proc"),
]

TICKS = 2
HOMES = ("first", "second")


def ended(one: Daemons) -> list[dg.DagsterRunStatus]:
    """How the ticks that the test has asked for ended."""
    runs = [record.dagster_run for record in one.records(tags={"dagster/sensor_name": "steered_ticks"})]
    return [run.status for run in runs if run.is_finished]


def test_19_two_daemons_tick_at_once_and_evaluate_and_page_once(tmp_path: Path) -> None:
    journal_url, steer = session_server().new_database(), tmp_path / "steer"
    steer.mkdir()
    # Their clock is behind Dagster's own: one ahead of it would take a fresh run for one whose process is gone.
    begin = quarter(datetime.now(UTC)) - TICKS * BAR
    candles = ranging_candles(begin.replace(hour=0, minute=0) - timedelta(days=80), 84)
    environment = {**ENVIRONMENT, "MM_JOURNAL_URL": journal_url, TOGETHER: str(len(HOMES))}
    with ExitStack() as stack:
        paper = stack.enter_context(served(tmp_path, {ETH: crashing(candles, begin)}))
        phone = stack.enter_context(PaperPushover(clock=PaperClock.standing(begin), token=TOKEN, user=USER))
        access = {"exchange": "paper", "paper_url": paper.url, "exchange_access": PATIENCE}
        both = []
        for name in HOMES:
            made = PagingInstallation(tmp_path / name, FixedSources({}), settings=access, pushover=phone)
            made.grid("eth", started_at=f"{begin - timedelta(days=3):%Y-%m-%dT00:00:00Z}")
            both.append(made)
        running: list[Daemons] = []
        for number in range(TICKS):
            at = begin + number * BAR + MINUTE
            for clock in (paper.clock, phone.clock):
                clock.run_from(at, speed=1.0)
            (steer / "ahead_ms").write_text(str((at - datetime.now(UTC)) // timedelta(milliseconds=1)))
            (steer / "asked").write_text(str(number))
            for made in both[len(running) :]:
                running.append(
                    stack.enter_context(daemons(made.folder, made.settings_file, steer=steer, environment=environment))
                )
            wait_for(lambda: all(len(ended(one)) > number for one in running), "both ticks")  # noqa: B023
        assert [set(ended(one)) for one in running] == [{dg.DagsterRunStatus.SUCCESS}] * len(HOMES)
        messages = list(phone.messages)
    with Journal(journal_url) as journal:
        evaluated = Counter((row.grid, row.evaluated_at) for row in journal.evaluations(since=begin))
        decided = Counter(
            (one.decision.grid, one.decision.evaluated_at) for one in journal.notifications.decisions(since=begin)
        )
        told = [one.decision for one in journal.notifications.decisions(since=begin) if one.decision.is_told]
        pages = {page.page for page in journal.notifications.pages()}
    ticks = {("eth", begin + number * BAR): 1 for number in range(TICKS)}
    assert (evaluated, set(decided.values())) == (ticks, {1})
    # At a full hour a close outside is a trigger of its own, and pages too.
    assert {one.notice.value for one in told} == {"MANDATORY_EXIT"}
    assert told[0].evaluated_at == begin + BAR
    assert pages == {one.page for one in told}
    assert Counter(tag for message in messages for tag in message.tags) == {f"mm-{page}": 1 for page in pages}
    assert not [message.title for message in messages if "DUPLICATE" in message.title]
