"""Row 27 and the missing half of row 12: a clock that was wrong for one tick leaves nothing behind.

Real ticks through the job against the paper exchange over HTTP; the machine's clock is set, the exchange's is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from mm_pipeline.adapters.journal import ResponseRecord
from mm_pipeline.domain.errors import ClockSkewed
from mm_pipeline.domain.notifications import Response, ResponseKind
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.http.faults import kucoin_internal_error
from mm_pipeline.paper.pushover import PaperPushover
from mm_pipeline_tests.clock_samples import (
    AT,
    BAR,
    MINUTE,
    ClockedInstallation,
    Heart,
    calm_market,
    clocked,
    crashing,
)
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, ETH, FixedSources
from mm_pipeline_tests.delivery_process import ENVIRONMENT

pytestmark = [pytest.mark.fault, *DAGSTER_WARNINGS]

MANDATORY = "MANDATORY_EXIT"
HOUR, DAY, YEAR = timedelta(hours=1), timedelta(days=1), timedelta(days=365)


@pytest.fixture(scope="module")
def calm() -> pl.DataFrame:
    return calm_market()


@pytest.fixture
def heart(monkeypatch: pytest.MonkeyPatch) -> Iterator[Heart]:
    for name, key in ENVIRONMENT.items():
        monkeypatch.setenv(name, key)
    made = Heart()
    monkeypatch.setenv("MM_HEARTBEAT_URL", made.url)
    yield made
    made.stop()


def paged(watch: ClockedInstallation, since: datetime) -> list[tuple[str, datetime, int]]:
    return [one for one in watch.told(since=since) if one[0] == MANDATORY]


@pytest.mark.parametrize("ahead", [5 * MINUTE, 6 * HOUR, YEAR, -5 * MINUTE, -6 * HOUR])
def test_27_clock_off_for_one_tick_then_right_pages_what_is_true(
    tmp_path: Path, calm: pl.DataFrame, heart: Heart, ahead: timedelta
) -> None:
    with clocked(tmp_path, crashing(calm, AT + BAR)) as watch:
        assert watch.tick_shown(AT)["heartbeat"] == "sent"
        heartbeat = str(watch.tick_shown(AT + BAR, ahead=ahead)["heartbeat"])
        assert heart.beats == 1, heartbeat
        assert max(watch.times()) <= AT + BAR + MINUTE
        assert watch.tick_shown(AT + 2 * BAR)["heartbeat"] == "sent"
        assert paged(watch, AT) == [(MANDATORY, AT + 2 * BAR, 1)]
        assert [message.priority for message in watch.messages()].count(2) == 1
        assert watch.states(since=AT + 2 * BAR) == {AT + 2 * BAR: MANDATORY}


def test_27_clock_ahead_into_a_month_that_has_not_come_evaluates_nothing_and_says_so(
    tmp_path: Path, calm: pl.DataFrame, heart: Heart
) -> None:
    month_end = datetime(2024, 2, 29, 20, tzinfo=UTC)
    with clocked(tmp_path, crashing(calm, month_end + BAR)) as watch:
        watch.grid("eth", started_at="2024-02-20T00:00:00Z")
        assert watch.tick_shown(month_end)["heartbeat"] == "sent"
        watch.tick_shown(month_end + BAR, ahead=6 * HOUR)
        assert heart.beats == 1
        assert max(watch.times()) <= month_end + BAR + MINUTE
        assert watch.tick_shown(month_end + 2 * BAR)["heartbeat"] == "sent"
        assert paged(watch, month_end) == [(MANDATORY, month_end + 2 * BAR, 1)]
        # The months that it named come in time, and are watched like any other.
        assert watch.tick_shown(datetime(2024, 3, 1, 2, tzinfo=UTC))["heartbeat"] == "sent"
        assert watch.states(since=datetime(2024, 3, 1, 2, tzinfo=UTC)) == {
            datetime(2024, 3, 1, 2, tzinfo=UTC): MANDATORY
        }


def test_27_exchange_away_while_the_clock_is_ahead_and_both_right_again(
    tmp_path: Path, calm: pl.DataFrame, heart: Heart
) -> None:
    with clocked(tmp_path, crashing(calm, AT + BAR)) as watch:
        assert watch.paper is not None
        watch.tick_shown(AT)
        watch.paper.faults.add(kucoin_internal_error())
        watch.tick_shown(AT + BAR, ahead=6 * HOUR)  # nobody can say that the clock is wrong
        assert max(watch.times()) > AT + 2 * HOUR
        watch.paper.faults.clear()
        assert watch.tick_shown(AT + 2 * BAR)["heartbeat"] == "sent"
        assert max(watch.times()) <= AT + 2 * BAR + MINUTE
        assert paged(watch, AT) == [(MANDATORY, AT + 2 * BAR, 1)]
        assert any("ahead" in message.title for message in watch.messages())
        # What that tick had journalled stands in no way when its time really comes.
        watch.tick_shown(AT + 25 * BAR)
        states = watch.states(since=AT + 3 * BAR)
        assert set(states.values()) == {MANDATORY}
        assert len(states) == 23


def test_27_clock_ahead_that_nothing_contradicts_pages_and_withholds_the_heartbeat(
    tmp_path: Path, calm: pl.DataFrame, heart: Heart
) -> None:
    """The market tells no time: what lies in the future is not believed, and the outside hears that it is there."""
    with PaperPushover(clock=PaperClock.standing(AT)) as pushover:
        watch = ClockedInstallation(tmp_path, FixedSources({ETH: crashing(calm, AT + 2 * BAR)}), pushover=pushover)
        assert watch.tick_shown(AT)["heartbeat"] == "sent"
        watch.sources.problems = {ETH: ClockSkewed("the clock is 21600 s off.", "Set it.")}
        watch.tick_shown(AT + BAR, ahead=6 * HOUR)
        watch.sources.problems = {}
        for bars in (2, 3):
            assert "withheld" in str(watch.tick_shown(AT + bars * BAR)["heartbeat"])
        assert paged(watch, AT)[0] == (MANDATORY, AT + 3 * BAR, 1)
        states = watch.states(since=AT + 2 * BAR)
        assert (states[AT + 2 * BAR], states[AT + 3 * BAR]) == ("NORMAL", MANDATORY)
        for bars in (25, 27):  # the ticks of the future come
            watch.tick_shown(AT + bars * BAR)
        assert watch.states(since=AT + 3 * BAR) == dict.fromkeys((AT + n * BAR for n in range(3, 28)), MANDATORY)
        assert watch.tick_shown(AT + 28 * BAR)["heartbeat"] == "sent"


def test_27_alarm_of_a_clock_48_hours_ahead_is_raised_again_at_once(
    tmp_path: Path, calm: pl.DataFrame, heart: Heart
) -> None:
    with clocked(tmp_path, calm) as watch:
        watch.tick_shown(AT)
        assert watch.pushover is not None
        watch.pushover.fail_next(1, status=500)
        said = ("the disk", "DISK is full", "Make room.")
        with watch.watch(AT + 48 * HOUR) as ahead:
            assert ahead.delivery().alarms.raise_about(*said)
            ahead.delivery().relay.run()
        assert watch.messages() == []
        for hours in (0, 1, 12, 24, 47):
            with watch.watch(AT + 2 * MINUTE + hours * HOUR) as right:
                right.delivery().alarms.raise_about(*said)
                right.delivery().relay.run()
        assert [message.title for message in watch.messages()] == ["DISK is full"] * 2  # once a day


def test_27_page_put_off_by_a_clock_that_was_ahead_is_due_at_once(
    tmp_path: Path, calm: pl.DataFrame, heart: Heart
) -> None:
    with clocked(tmp_path, crashing(calm, AT - BAR)) as watch:
        assert watch.pushover is not None
        watch.pushover.fail_next(1, status=500)
        watch.tick_shown(AT)
        assert watch.messages() == []
        watch.pushover.fail_next(1, status=500)
        with watch.watch(AT + 48 * HOUR) as ahead:
            assert [sent.outcome.value for sent in ahead.delivery().relay.run()] == ["failed"]
        with watch.watch(AT + 5 * MINUTE) as right:
            assert [sent.outcome.value for sent in right.delivery().relay.run()] == ["sent"]


def test_27_word_of_a_clock_that_was_ahead_silences_nothing_later(
    tmp_path: Path, calm: pl.DataFrame, heart: Heart
) -> None:
    with clocked(tmp_path, crashing(calm, AT + 20 * BAR)) as watch:
        watch.tick_shown(AT)
        later = AT + 6 * HOUR
        flat = Response(grid="eth", at=later, kind=ResponseKind.FLAT, page="")
        by = {"source": "command", "by_whom": "me", "settings_hash": "", "code_version": ""}
        with watch.journal() as journal:
            assert journal.responses.record([ResponseRecord(response=flat, recorded_at=later, **by)]) == 1
        watch.tick_shown(AT + BAR)
        for bars in (21, 22):
            watch.tick_shown(AT + bars * BAR)
        assert paged(watch, AT) == [(MANDATORY, AT + 21 * BAR, 1)]
        for bars in (24, 25, 34):  # the word's own time comes, and it counts no more than before
            watch.tick_shown(AT + bars * BAR)
        assert paged(watch, AT)[-1][1] >= AT + 33 * BAR  # unanswered, it is issued again after three hours


@pytest.mark.parametrize("problem", ["clock", "network"])
def test_12_error_that_ended_is_not_repeated_at_the_same_evaluation(
    tmp_path: Path, calm: pl.DataFrame, heart: Heart, problem: str
) -> None:
    with clocked(tmp_path, calm) as watch:
        assert watch.paper is not None
        watch.tick_shown(AT)
        if problem == "network":
            watch.paper.faults.add(kucoin_internal_error())
        watch.tick_shown(AT + BAR, ahead=5 * MINUTE if problem == "clock" else timedelta(0))
        with watch.journal() as journal:
            bad = journal.last_evaluation("eth")
        assert bad is not None
        assert bad.evaluated_at == AT + BAR
        assert bad.reasons
        assert bad.state == "UNKNOWN" if problem == "clock" else True
        watch.paper.faults.clear()
        watch.tick_shown(AT + BAR)
        with watch.journal() as journal:
            good = journal.last_evaluation("eth")
            assert good is not None
            assert (good.evaluated_at, good.state, good.reasons) == (AT + BAR, "NORMAL", ())
            assert journal.notices(str(ETH), since=AT + BAR) == []
        if problem == "clock":  # and when it comes back within the same quarter, it is said again
            watch.tick_shown(AT + BAR, ahead=5 * MINUTE)
            with watch.journal() as journal:
                again = journal.last_evaluation("eth")
            assert again is not None
            assert again.state == "UNKNOWN"
