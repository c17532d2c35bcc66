"""Which word on a position is in force: deciding and the account's check go by one rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from mm_pipeline.adapters.journal import DecisionRecord, Journal, ResponseRecord, sqlite_url
from mm_pipeline.application.operator.last_pages import PageBook
from mm_pipeline.application.plan import Plan
from mm_pipeline.application.verify_flat import is_exit_open, needs_check
from mm_pipeline.application.watch import Watch
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.notifications import Notice, Response, ResponseKind, decide_all, replay
from mm_pipeline_tests.account_samples import account_policy
from mm_pipeline_tests.grid_samples import hundreds_grid
from mm_pipeline_tests.journal_samples import evaluation
from mm_pipeline_tests.notification_samples import WRITTEN_BY
from mm_pipeline_tests.notification_stories import BAR, NOON, POLICY, judged

MINUTE = timedelta(minutes=1)
GRID = hundreds_grid(id="eth", started_at=NOON)
FLAT, REOPENED, CONTRADICTED = ResponseKind.FLAT, ResponseKind.REOPENED, ResponseKind.CONTRADICTED

Word = tuple[ResponseKind, int, int]
"""What was said, when it happened, and when it was known, in minutes after the range began."""
VOID: dict[str, list[Word]] = {
    "an exit before the range began": [(FLAT, -60, 65)],
    "an exit before the operator reopened": [(FLAT, 20, 21), (REOPENED, 60, 60), (FLAT, 30, 80)],
    "an exit before the account contradicted": [
        (FLAT, 20, 21),
        (REOPENED, 60, 61),
        (CONTRADICTED, 60, 61),
        (FLAT, 30, 80),
    ],
    "reopened after all": [(FLAT, 20, 21), (REOPENED, 60, 60)],
    "reopened, known late": [(FLAT, 30, 31), (REOPENED, 20, 60)],
}
IN_FORCE: dict[str, list[Word]] = {
    "an exit before the page": [(FLAT, 5, 65)],
    "the moment the range began": [(FLAT, 0, 65)],
    "an exit after it was reopened": [(REOPENED, 60, 60), (FLAT, 60, 80)],
    "an exit between the trade that the account saw and its word": [(REOPENED, 20, 60), (FLAT, 30, 80)],
    "the old exit told after the present one": [(FLAT, 50, 51), (FLAT, -60, 65)],
}


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(sqlite_url(tmp_path / "journal.db")) as opened:
        yield opened


def say(journal: Journal, words: list[Word]) -> None:
    for kind, at, known_at in words:
        response = Response(grid="eth", at=NOON + at * MINUTE, kind=kind)
        answer = ResponseRecord(
            response=response, source="test", by_whom="ann", recorded_at=NOON + known_at * MINUTE, **WRITTEN_BY
        )
        assert journal.responses.record([answer]) == 1


def live(journal: Journal, letters: str, grid: Grid = GRID) -> list[datetime]:
    """Evaluations from the first bar of the range on, each decided a minute later; when an emergency was paged."""
    paged = []
    for bar, letter in enumerate(letters, start=1):
        one = judged(letter, bar, started_at=grid.started_at)
        now = one.evaluated_at + MINUTE
        before = journal.histories.before(one, now=now, started_at={"a1b2": grid.started_at}, policy=POLICY)
        for made in decide_all([one], {"eth": before}, POLICY):
            decided = DecisionRecord(decision=made, grid_version="a1b2", decided_at=now, **WRITTEN_BY)
            assert journal.notifications.commit([decided], [], channels={}, due_at=now)
            paged += [one.evaluated_at] if made.is_told and made.notice is Notice.MANDATORY_EXIT else []
        assert journal.record_evaluations([evaluation(bar, grid="eth", state=one.state)]) == 1
    return paged


def watch_at(journal: Journal, at: datetime) -> Watch:
    settings = SimpleNamespace(account=account_policy())
    made = SimpleNamespace(decisions=lambda: journal, now=lambda: at, settings=settings, written_by=WRITTEN_BY)
    return cast("Watch", made)


@pytest.mark.parametrize("words", [pytest.param(words, id=name) for name, words in VOID.items()])
def test_breached_stop_is_paged_though_a_void_word_says_flat(journal: Journal, words: list[Word]) -> None:
    say(journal, words)
    assert live(journal, "NNNNN" + "H" * 3)[-1:] == [NOON + 6 * BAR]
    watch = watch_at(journal, NOON + 9 * BAR)
    assert is_exit_open(watch, GRID)
    assert not needs_check(watch, cast("Plan", SimpleNamespace()), GRID)


@pytest.mark.parametrize("words", [pytest.param(words, id=name) for name, words in IN_FORCE.items()])
def test_word_in_force_mutes_exits_and_its_account_is_asked(journal: Journal, words: list[Word]) -> None:
    say(journal, words)
    assert live(journal, "NNNNN" + "H" * 3) == []
    plan = cast("Plan", SimpleNamespace(last_ms=0))
    assert needs_check(watch_at(journal, NOON + 9 * BAR), plan, GRID)


def test_word_from_before_the_range_stays_void_while_the_grid_file_is_unreadable() -> None:
    told = Response(grid="eth", at=NOON - 60 * MINUTE, kind=FLAT, known_at=NOON + 65 * MINUTE)
    story = [judged("N", 4), judged("H", 5, started_at=None), judged("H", 6, started_at=None)]
    made = [one for one in replay(story, [told], POLICY) if one.is_told]
    assert [(one.notice, one.evaluated_at) for one in made] == [(Notice.MANDATORY_EXIT, NOON + 5 * BAR)]


def shown_flat(journal: Journal) -> bool:
    """Whether the operator's status shows the position closed."""
    book = PageBook.open(journal, now=NOON + 9 * BAR, overdue_after=BAR)
    return book.flat("eth", started_at=NOON) is not None


@pytest.mark.parametrize("words", [*VOID.values(), *IN_FORCE.values()])
def test_status_shows_a_position_closed_where_decisions_take_it_for_closed(journal: Journal, words: list[Word]) -> None:
    say(journal, words)
    assert shown_flat(journal) == (words in IN_FORCE.values())


def test_status_shows_no_word_of_a_clock_that_was_ahead(journal: Journal) -> None:
    say(journal, [(FLAT, 5, 9 * 15 + 1)])
    assert not shown_flat(journal)


@pytest.mark.parametrize("words", [*VOID.values(), *IN_FORCE.values()])
def test_replay_takes_the_words_that_a_live_watch_takes(journal: Journal, words: list[Word]) -> None:
    say(journal, words)
    letters = "NNNNN" + "H" * 3
    answers = journal.responses.select("eth")
    responses = [replace(one.response, known_at=one.recorded_at) for one in answers]
    made = replay([judged(letter, bar, started_at=NOON) for bar, letter in enumerate(letters, 1)], responses, POLICY)
    told = [one.evaluated_at for one in made if one.is_told and one.notice is Notice.MANDATORY_EXIT]
    assert told == live(journal, letters)


def test_late_word_on_the_range_before_does_not_follow_into_the_new_one(journal: Journal) -> None:
    """It is known while the first evaluation of the new range is decided."""
    say(journal, [(FLAT, -60, 15)])
    assert live(journal, "H") == [NOON + BAR]
    assert is_exit_open(watch_at(journal, NOON + 2 * BAR), GRID)


def test_word_that_the_position_is_open_counts_though_it_was_known_before_the_first_evaluation(
    journal: Journal,
) -> None:
    say(journal, [(REOPENED, 5, 5), (FLAT, 2, 20)])
    assert live(journal, "NH") == [NOON + 2 * BAR]
