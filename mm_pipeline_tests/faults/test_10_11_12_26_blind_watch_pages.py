"""Rows 10, 11, 12 and 26: what is paged while the watch is blind, and after it sees again; through the real job."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from mm_pipeline.domain.errors import ClockSkewed
from mm_pipeline.domain.notifications import EMERGENCY, Cause
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.pushover import PaperPushover
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, ETH, FixedSources
from mm_pipeline_tests.delivery_process import ENVIRONMENT, TOKEN
from mm_pipeline_tests.paging_samples import AT, BAR, DOWN, MINUTE, PagingInstallation, calm_market, with_price

pytestmark = [pytest.mark.fault, *DAGSTER_WARNINGS]

BELOW_STOP, BELOW_GRID = 2750.0, 2870.0
MANDATORY, UNKNOWN = "MANDATORY_EXIT", "UNKNOWN"


@pytest.fixture(scope="module")
def calm() -> pl.DataFrame:
    return calm_market()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def watch(tmp_path: Path, calm: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> Iterator[PagingInstallation]:
    for name, key in ENVIRONMENT.items():
        monkeypatch.setenv(name, key)
    with PaperPushover(clock=PaperClock.standing(AT)) as pushover:
        made = PagingInstallation(tmp_path, FixedSources({ETH: calm}), pushover=pushover)
        made.grid("eth")
        yield made


def tick(watch: PagingInstallation, instance: dg.DagsterInstance, *bars: int, down: bool = False) -> None:
    """Live runs so many bars after ``AT``, with the exchange away or not."""
    watch.sources.problems = {ETH: DOWN} if down else {}
    for bar in bars:
        watch.tick(AT + bar * BAR, instance)


def test_10_stale_market_pages_unknown_once_and_a_standing_mandatory_goes_on_being_issued(
    watch: PagingInstallation, instance: dg.DagsterInstance, calm: pl.DataFrame
) -> None:
    # Below the grid and above its stop: a position is held, and nobody answers.
    watch.sources.candles[ETH] = with_price(calm, 2850.0, AT - 12 * BAR)
    tick(watch, instance, 0)
    tick(watch, instance, 3, 4, 12, down=True)

    assert set(watch.states(since=AT + 3 * BAR).values()) == {UNKNOWN}
    assert watch.told() == [(MANDATORY, AT, 1), (UNKNOWN, AT + 4 * BAR, 1), (MANDATORY, AT + 12 * BAR, 2)]
    first, blind, again = watch.messages()
    assert [message.priority for message in (first, blind, again)] == [EMERGENCY, 1, EMERGENCY]
    assert "MANDATORY EXIT stays in force" in blind.title
    assert first.tags != again.tags
    with watch.journal() as journal:
        reissued = journal.notifications.decisions(since=AT + 12 * BAR)[0].decision
        assert (reissued.cause, reissued.state, reissued.episode_at) == (Cause.REISSUE, UNKNOWN, AT)
        kinds = [(one.response.kind.value, f"mm-{one.response.page}") for one in journal.responses.select()]
    # Nobody answered: the window passed, and the alarms ended at the provider after three hours.
    assert kinds == [("missed", first.tags[0]), ("expired", first.tags[0])]


def test_10_acknowledged_mandatory_is_not_issued_again_while_blind(
    watch: PagingInstallation, instance: dg.DagsterInstance, calm: pl.DataFrame
) -> None:
    watch.sources.candles[ETH] = with_price(calm, BELOW_STOP, AT - BAR)
    tick(watch, instance, 0)
    assert watch.pushover is not None
    (page,) = watch.messages()
    assert watch.pushover.acknowledge(page.receipt or "")
    tick(watch, instance, 12, down=True)
    assert [notice for notice, _, _ in watch.told()] == [MANDATORY, UNKNOWN]


@pytest.mark.parametrize("ends_calmly", [True, False])
def test_11_outage_of_two_hours_pages_unknown_once_and_then_what_is_true_now(
    watch: PagingInstallation, instance: dg.DagsterInstance, calm: pl.DataFrame, *, ends_calmly: bool
) -> None:
    if not ends_calmly:
        watch.sources.candles[ETH] = with_price(calm, BELOW_STOP, AT + 5 * BAR)
    tick(watch, instance, 0)
    tick(watch, instance, 3, 4, down=True)
    tick(watch, instance, 9)

    states = watch.states()
    assert UNKNOWN not in {states[AT + n * BAR] for n in range(3, 10)}  # the gap was evaluated again, as history
    told = watch.told()
    assert told[0] == (UNKNOWN, AT + 4 * BAR, 1)
    if ends_calmly:
        assert [notice for notice, _, _ in told[1:]] == ["NORMAL"]
    else:
        assert states[AT + 6 * BAR] == MANDATORY  # it began while nobody could see it
        assert told[1:] == [(MANDATORY, AT + 8 * BAR, 1)]  # the first evaluation that is live after recovery
    assert len(watch.messages()) == len(told)
    with watch.journal() as journal:
        again = [row for row in journal.evaluations("eth", since=AT + 3 * BAR) if row.state != UNKNOWN]
        assert {row.evaluated_at for row in again if not row.is_live} >= {AT + n * BAR for n in range(3, 8)}


def test_12_clock_that_is_off_is_unknown_and_paged_after_two_evaluations(
    watch: PagingInstallation, instance: dg.DagsterInstance
) -> None:
    watch.sources.problems = {ETH: ClockSkewed("this clock is 300 s ahead of the exchange.", "Set it.")}
    watch.tick(AT + BAR, instance)
    assert watch.states()[AT + BAR] == UNKNOWN
    assert watch.told() == []
    watch.tick(AT + 2 * BAR, instance)
    assert watch.told() == [(UNKNOWN, AT + 2 * BAR, 1)]
    (page,) = watch.messages()
    assert "300 s ahead" in page.text


def test_26_two_hours_without_ticks_page_what_is_true_at_the_first_live_evaluation(
    watch: PagingInstallation, instance: dg.DagsterInstance, calm: pl.DataFrame
) -> None:
    watch.sources.candles[ETH] = with_price(calm, BELOW_STOP, AT + 5 * BAR)
    tick(watch, instance, 0, 9)
    with watch.journal() as journal:
        rows = journal.evaluations("eth")
    assert [row.evaluated_at for row in rows] == [AT + n * BAR for n in range(10)]
    began = next(row.evaluated_at for row in rows if row.state == MANDATORY)
    assert began == AT + 6 * BAR  # as history: two and a half bars before anybody looked
    assert watch.told() == [(MANDATORY, AT + 8 * BAR, 1)]
    (page,) = watch.messages()
    assert (page.priority, page.at) == (EMERGENCY, AT + 9 * BAR + MINUTE)


def test_26_what_began_and_ended_while_nobody_looked_is_not_paged(
    watch: PagingInstallation, instance: dg.DagsterInstance, calm: pl.DataFrame
) -> None:
    dip = with_price(calm, BELOW_GRID, AT + 9 * BAR, AT + 17 * BAR)
    watch.sources.candles[ETH] = dip
    tick(watch, instance, 0, 28)
    states = watch.states()
    assert MANDATORY in states.values()
    told = watch.told()
    assert all(at >= AT + 27 * BAR for _, at, _ in told)
    assert MANDATORY not in {notice for notice, _, _ in told}
    assert len(watch.messages()) == len(told)


def test_26_nothing_that_was_decided_for_a_backfill_is_ever_sent(
    watch: PagingInstallation, instance: dg.DagsterInstance, calm: pl.DataFrame
) -> None:
    watch.sources.candles[ETH] = with_price(calm, BELOW_STOP, AT - timedelta(hours=2))
    watch.run(AT + MINUTE, instance, months=("2025-03", "2025-03"))
    assert watch.told(since=AT - timedelta(days=3)) == []
    with watch.journal() as journal:
        assert journal.notifications.pages() == []
    frame = watch.store.read("notifications", "eth", start=AT - timedelta(days=2), end=AT + timedelta(days=1))
    assert MANDATORY in frame["notice"].to_list()
    assert not frame["is_live"].any()
    assert watch.messages() == []


def test_keys_of_the_phone_are_in_no_journal(
    watch: PagingInstallation, instance: dg.DagsterInstance, calm: pl.DataFrame
) -> None:
    watch.sources.candles[ETH] = with_price(calm, BELOW_STOP, AT - BAR)
    assert watch.pushover is not None
    watch.pushover.fail_next(status=400, body={"status": 0, "errors": [f"token {TOKEN} is invalid"]})
    tick(watch, instance, 0)
    assert watch.messages() != []  # the alarm
    stored = b"".join(file.read_bytes() for file in watch.home.rglob("*") if file.is_file())
    assert b"EXIT" in stored
    assert TOKEN.encode() not in stored


def test_10_failed_fetch_is_said_at_once_and_is_unknown_at_the_second(
    watch: PagingInstallation, instance: dg.DagsterInstance
) -> None:
    watch.grid("idle", enabled=False)
    tick(watch, instance, 0)
    tick(watch, instance, 1, 2, down=True)

    assert list(watch.states().values()) == ["NORMAL", "NORMAL", UNKNOWN]
    with watch.journal() as journal:
        rows = {row.evaluated_at: row for row in journal.evaluations("eth", since=AT)}
        entries = {row.evaluated_at: row for row in journal.evaluations("idle", since=AT)}
    assert [row.as_of for row in rows.values()] == [AT] * 3
    assert str(DOWN) in rows[AT + BAR].reasons
    assert any("2 evaluations in a row (data.max_failed_fetches)" in why for why in rows[AT + 2 * BAR].reasons)
    assert [entries[AT + bar * BAR].state for bar in range(2)] == ["ENTER", "WAIT"]
    assert str(DOWN) in entries[AT + BAR].reasons
    assert watch.told() == [("ENTER", AT, 1), (UNKNOWN, AT + 2 * BAR, 1)]

    tick(watch, instance, 3)
    with watch.journal() as journal:
        newest = journal.evaluations("eth", since=AT + 3 * BAR)[-1]
    assert (newest.state, newest.as_of, newest.reasons) == ("NORMAL", AT + 3 * BAR, rows[AT].reasons)
