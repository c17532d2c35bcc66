"""Rows 10, 11, 12 and 26: what is paged while the watch is blind, and after it sees again.

Real runs of the job ask the paper exchange over HTTP: it goes stale, is stopped, or tells another time than ours.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from mm_pipeline.domain.notifications import EMERGENCY, Cause
from mm_pipeline.paper.http.faults import EditedBars
from mm_pipeline.paper.http.wire import Bar
from mm_pipeline_tests.clock_samples import AT, BAR, MINUTE, ClockedInstallation, calm_market, clocked, crashing
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS
from mm_pipeline_tests.delivery_process import ENVIRONMENT, TOKEN
from mm_pipeline_tests.paging_samples import with_price

pytestmark = [pytest.mark.fault, *DAGSTER_WARNINGS]

BELOW_GRID = 2870.0
MANDATORY, UNKNOWN = "MANDATORY_EXIT", "UNKNOWN"
BEGIN = AT + 20 * BAR
"""The market stays calm from here on for hours: not even a WARNING."""
UNREACHABLE = "could not be reached"


@pytest.fixture(scope="module")
def calm() -> pl.DataFrame:
    return calm_market()


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, key in ENVIRONMENT.items():
        monkeypatch.setenv(name, key)


def tick(watch: ClockedInstallation, *bars: int) -> None:
    """Real ticks so many bars after ``AT``."""
    for bar in bars:
        watch.tick_shown(AT + bar * BAR)


def go_stale(watch: ClockedInstallation, since: datetime) -> None:
    """From now on the exchange answers well, and has no bar that opens at or after a moment."""
    assert watch.paper is not None
    since_ms = int(since.timestamp() * 1000)

    def edit(bars: list[Bar]) -> list[Bar]:
        return [bar for bar in bars if bar.open_time_ms < since_ms]

    watch.paper.faults.add(EditedBars(edit=edit), path_contains="market/candles")


def reasons(watch: ClockedInstallation, at: datetime, *, is_first: bool = False) -> str:
    """Why an evaluation says what it says: as it was recorded first, or last."""
    with watch.journal() as journal:
        rows = [row for row in journal.evaluations("eth", since=at) if row.evaluated_at == at]
    return " ".join(rows[0 if is_first else -1].reasons)


def test_10_stale_market_pages_unknown_once_and_a_standing_mandatory_goes_on_being_issued(
    tmp_path: Path, calm: pl.DataFrame
) -> None:
    # Below the grid and above its stop: a position is held, and nobody answers.
    with clocked(tmp_path, with_price(calm, 2850.0, AT - 12 * BAR)) as watch:
        tick(watch, 0)
        go_stale(watch, AT)
        tick(watch, 3, 4, 12)

        assert set(watch.states(since=AT + 3 * BAR).values()) == {UNKNOWN}
        assert "newest bar closed 60 min ago, more than 35 min" in reasons(watch, AT + 4 * BAR)
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


def test_10_acknowledged_mandatory_is_not_issued_again_while_blind(tmp_path: Path, calm: pl.DataFrame) -> None:
    with clocked(tmp_path, crashing(calm, AT - BAR)) as watch:
        tick(watch, 0)
        assert watch.pushover is not None
        (page,) = watch.messages()
        assert watch.pushover.acknowledge(page.receipt or "")
        go_stale(watch, AT)
        tick(watch, 12)
        assert [notice for notice, _, _ in watch.told()] == [MANDATORY, UNKNOWN]


@pytest.mark.parametrize("ends_calmly", [True, False])
def test_11_server_away_for_two_hours_pages_unknown_once_and_then_what_is_true_now(
    tmp_path: Path, calm: pl.DataFrame, *, ends_calmly: bool
) -> None:
    with clocked(tmp_path, calm if ends_calmly else crashing(calm, BEGIN + 5 * BAR)) as watch:
        assert watch.paper is not None
        tick(watch, 20)
        watch.paper.stop()
        tick(watch, 21, 22, 28)
        assert list(watch.states(since=BEGIN).values()) == ["NORMAL", "NORMAL", *[UNKNOWN] * 7]
        assert UNREACHABLE in reasons(watch, BEGIN + BAR)  # said at the first, and UNKNOWN at the second
        assert "at 2 evaluations in a row (data.max_failed_fetches)" in reasons(watch, BEGIN + 2 * BAR)
        assert watch.told(since=BEGIN) == [(UNKNOWN, BEGIN + 2 * BAR, 1)]
        watch.paper.start()
        tick(watch, 29)

        states, told = watch.states(since=BEGIN), watch.told(since=BEGIN)
        assert UNKNOWN not in states.values()  # the gap was evaluated again, as history
        assert told[0] == (UNKNOWN, BEGIN + 2 * BAR, 1)
        if ends_calmly:
            assert told[1:] == []  # one evaluation in a row that its own tick judged NORMAL
            tick(watch, 30)
            told = watch.told(since=BEGIN)
            assert told[1:] == [("NORMAL", BEGIN + 10 * BAR, 1)]
        else:
            assert states[BEGIN + 6 * BAR] == MANDATORY  # it began while nobody could see it
            assert told[1:] == [(MANDATORY, BEGIN + 8 * BAR, 1)]  # the first evaluation that is live after recovery
        assert len(watch.messages()) == len(told)
        with watch.journal() as journal:
            again = [row for row in journal.evaluations("eth", since=BEGIN + BAR) if row.recorded_at > BEGIN + 9 * BAR]
        again = [row for row in again if row.evaluated_at <= BEGIN + 9 * BAR]
        assert {row.evaluated_at for row in again} == {BEGIN + n * BAR for n in range(1, 10)}
        assert {row.evaluated_at for row in again if not row.is_live} == {BEGIN + n * BAR for n in range(1, 8)}


def test_12_clock_that_is_ten_seconds_off_is_good_enough(tmp_path: Path, calm: pl.DataFrame) -> None:
    off = timedelta(seconds=10)
    with clocked(tmp_path, crashing(calm, AT + BAR)) as watch:
        watch.tick_shown(AT, ahead=off)
        watch.tick_shown(AT + BAR, ahead=-off)
        watch.tick_shown(AT + 2 * BAR, ahead=off)
        assert list(watch.states().values()) == ["NORMAL", "NORMAL", MANDATORY]
        assert watch.told() == [(MANDATORY, AT + 2 * BAR, 1)]


@pytest.mark.parametrize(("ahead", "offset"), [(5 * MINUTE, "-300.0 s"), (-5 * MINUTE, "+300.0 s")])
def test_12_clock_that_is_five_minutes_off_is_unknown_until_it_is_right(
    tmp_path: Path, calm: pl.DataFrame, ahead: timedelta, offset: str
) -> None:
    with clocked(tmp_path, crashing(calm, AT + BAR)) as watch:
        assert watch.paper is not None
        tick(watch, 0)
        for n in (2, 3):
            watch.paper.calls.clear()
            watch.tick_shown(AT + n * BAR, ahead=ahead)
            assert watch.paper.calls.count("market/candles") == 0
        *_, newest = [at for at, state in watch.states().items() if state == UNKNOWN]
        assert newest == max(watch.states())
        assert f"the clock of kucoin is {offset} off ours" in reasons(watch, newest)
        assert [notice for notice, _, _ in watch.told()] == [UNKNOWN]
        (page,) = watch.messages()
        assert f"{offset} off ours" in page.text

        tick(watch, 4)
        assert watch.states(since=AT + 4 * BAR) == {AT + 4 * BAR: MANDATORY}
        assert [told[0] for told in watch.told()] == [UNKNOWN, MANDATORY]


def test_26_two_hours_without_ticks_page_what_is_true_at_the_first_live_evaluation(
    tmp_path: Path, calm: pl.DataFrame
) -> None:
    with clocked(tmp_path, crashing(calm, AT + 5 * BAR)) as watch:
        tick(watch, 0, 9)
        with watch.journal() as journal:
            rows = journal.evaluations("eth", since=AT)
        assert [row.evaluated_at for row in rows] == [AT + n * BAR for n in range(10)]
        assert [row.evaluated_at for row in rows if row.is_live] == [AT + n * BAR for n in (0, 8, 9)]
        began = next(row.evaluated_at for row in rows if row.state == MANDATORY)
        assert began == AT + 6 * BAR  # as history: three bars before anybody looked
        assert watch.told() == [(MANDATORY, AT + 8 * BAR, 1)]
        (page,) = watch.messages()
        assert (page.priority, page.at) == (EMERGENCY, AT + 9 * BAR + MINUTE)


def test_26_what_began_and_ended_while_nobody_looked_is_not_paged(tmp_path: Path, calm: pl.DataFrame) -> None:
    with clocked(tmp_path, with_price(calm, BELOW_GRID, AT + 9 * BAR, AT + 17 * BAR)) as watch:
        tick(watch, 0, 28)
        assert MANDATORY in watch.states().values()
        told = watch.told()
        assert all(at >= AT + 27 * BAR for _, at, _ in told)
        assert MANDATORY not in {notice for notice, _, _ in told}
        assert len(watch.messages()) == len(told)


def test_26_nothing_that_was_decided_for_a_backfill_is_ever_sent(tmp_path: Path, calm: pl.DataFrame) -> None:
    with clocked(tmp_path, crashing(calm, AT - 8 * BAR)) as watch:
        assert watch.paper is not None
        watch.paper.clock.stand_at(AT + MINUTE)
        watch.run(AT + MINUTE, watch.instance, months=("2024-03", "2024-03"))
        assert watch.told(since=AT - timedelta(days=3)) == []
        with watch.journal() as journal:
            assert journal.notifications.pages() == []
        frame = watch.store.read(
            "replayed_notifications", "eth", start=AT - timedelta(days=2), end=AT + timedelta(days=1)
        )
        assert MANDATORY in frame["notice"].to_list()
        assert not frame["is_live"].any()
        assert watch.messages() == []


def test_keys_of_the_phone_are_in_no_journal(tmp_path: Path, calm: pl.DataFrame) -> None:
    with clocked(tmp_path, crashing(calm, AT - BAR)) as watch:
        assert watch.pushover is not None
        watch.pushover.fail_next(status=400, body={"status": 0, "errors": [f"token {TOKEN} is invalid"]})
        tick(watch, 0)
        assert watch.messages() != []  # the alarm
    stored = b"".join(file.read_bytes() for file in watch.home.rglob("*") if file.is_file())
    assert b"EXIT" in stored
    assert TOKEN.encode() not in stored
