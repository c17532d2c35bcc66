"""Rows of a time that has not come count as never made, in SQLite and Postgres alike."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mm_pipeline.adapters.clock import FixedClock
from mm_pipeline.adapters.journal import DeliveryOutcome, Incident, Journal, ResponseRecord, sqlite_url
from mm_pipeline.adapters.journal.operator_queries import OperatorQueries
from mm_pipeline.domain.errors import StorageError
from mm_pipeline.domain.notifications import Response, ResponseKind
from mm_pipeline_tests.journal_samples import BAR, NOON, evaluation, grid
from mm_pipeline_tests.notification_samples import a_decided, a_page

AHEAD = timedelta(hours=6)
MINUTE = timedelta(minutes=1)
NOW = NOON + MINUTE
DUE_AHEAD: dict[str, Any] = {"channels": {"phone": 0}, "due_at": NOW + AHEAD}
DUE_ON_TWO: dict[str, Any] = {"channels": {"phone": 0, "chat": 1}, "due_at": NOW}


@pytest.fixture(params=["sqlite", "postgresql"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    is_lite = request.param == "sqlite"
    url = sqlite_url(tmp_path / "journal.db") if is_lite else str(request.getfixturevalue("postgres_url"))
    with Journal(url) as opened:
        yield opened


def written_ahead(journal: Journal) -> None:
    """What a clock six hours ahead leaves: a row in every table."""
    at = NOW + AHEAD
    journal.observe_grids([grid(stop_loss=2900.0)], at)
    journal.record_evaluations([evaluation(24, state="UNKNOWN", recorded_at=at)])
    journal.record_notices([Incident(market="kucoin:ETH/USDT", tick_at=at, code="clock_skewed", message="off")])
    page = a_page(page="ahead", grids=("eth-v3",), evaluated_at=NOON + AHEAD, decided_at=at)
    assert journal.notifications.commit([a_decided(page, page.grids[0])], [page], channels={"phone": 0}, due_at=at)
    response = Response(grid="eth-v3", at=at, kind=ResponseKind.FLAT, page="")
    by = {"source": "command", "by_whom": "me", "settings_hash": "", "code_version": ""}
    journal.responses.record([ResponseRecord(response=response, recorded_at=at, **by)])


def everything(journal: Journal) -> list[int]:
    """How many rows each reader finds."""
    queries = OperatorQueries(journal)
    facts = queries.facts(since=NOON - BAR, until=NOON + 2 * AHEAD, as_of=NOON + 2 * AHEAD)
    return [
        len(journal.grid_history("eth-v3")),
        len(journal.evaluations()),
        len(journal.newest_evaluations("eth-v3", 9)),
        len(journal.notices()),
        len(journal.notifications.decisions()),
        len(journal.notifications.standing("eth-v3")),
        len(journal.notifications.pages()),
        len(journal.responses.select()),
        len(queries.changes()),
        len(facts.notified),
        facts.evaluations.height,
        len(journal.outbox.unsent(decided_before=NOON + 2 * AHEAD)),
    ]


def test_future_rows_are_seen_by_no_reader(journal: Journal) -> None:
    written_ahead(journal)
    assert everything(journal) == [1] * 12
    journal.keep_time(FixedClock(NOW), tolerance=timedelta(0))
    assert everything(journal) == [0] * 12
    assert journal.last_evaluation("eth-v3") is None
    assert journal.known_grids() == []
    assert journal.outbox.claim(owner="a", now=NOW, lease=MINUTE, channels=["phone"]) is None
    future = journal.future_rows()
    assert (future.count, future.latest) == (6, NOW + AHEAD)
    journal.keep_time(FixedClock(NOW), tolerance=AHEAD)
    assert everything(journal) == [1] * 12
    assert journal.future_rows().problem is None


def test_same_row_made_again_takes_the_place_of_one_of_the_future(journal: Journal) -> None:
    written_ahead(journal)
    # The clock was ahead while the evaluation of noon was made: its key is that of the true one.
    journal.record_evaluations([evaluation(recorded_at=NOW + AHEAD, is_live=False)])
    page = a_page(page="noon", grids=("other",), evaluated_at=NOON, decided_at=NOW + AHEAD)
    assert journal.notifications.commit(
        [a_decided(page, page.grids[0])], [page], channels={"phone": 0}, due_at=NOW + AHEAD
    )

    journal.keep_time(FixedClock(NOW), tolerance=timedelta(0))
    assert journal.record_evaluations([evaluation(recorded_at=NOW)]) == 1
    assert journal.record_evaluations([evaluation(recorded_at=NOW)]) == 0
    found = journal.last_evaluation("eth-v3")
    assert found is not None
    assert (found.recorded_at, found.is_live) == (NOW, True)
    page = a_page(page="noon", grids=("other",), evaluated_at=NOON, decided_at=NOW)
    assert journal.notifications.commit([a_decided(page, page.grids[0])], [page], channels={"phone": 0}, due_at=NOW)
    claim = journal.outbox.claim(owner="a", now=NOW, lease=MINUTE, channels=["phone"])
    assert claim is not None
    assert (claim.page.page, claim.attempt, claim.may_be_duplicate) == ("noon", 1, False)


def test_grid_version_seen_ahead_is_seen_again_once_the_clock_is_confirmed(journal: Journal) -> None:
    journal.observe_grids([grid()], NOON - BAR)
    journal.observe_grids([grid(stop_loss=2900.0)], NOW + AHEAD)
    journal.keep_time(FixedClock(NOW), tolerance=timedelta(0))
    assert journal.observe_grids([grid(stop_loss=2900.0)], NOON) == []  # it may as well be true, and ours behind
    journal.set_aside_future(NOW)
    assert journal.observe_grids([grid(stop_loss=2900.0)], NOON) == ["eth-v3"]
    in_force = journal.grid_in_force("eth-v3", NOON)
    assert in_force is not None
    assert in_force.grid.stop_loss == 2900.0


@pytest.mark.parametrize("told", ["version", "evaluation"])
def test_clock_that_is_behind_dates_no_change_of_a_grid(journal: Journal, told: str) -> None:
    """What was told of the grid is later than its now: whatever time it would give to the change is wrong."""
    journal.observe_grids([grid()], NOON)
    if told == "version":
        journal.observe_grids([grid(stop_loss=2900.0)], NOON + BAR)
    else:
        journal.record_evaluations([evaluation(1)])
    before = journal.grid_history("eth-v3")
    journal.keep_time(FixedClock(NOON + MINUTE), tolerance=timedelta(0))
    for wanted in ([grid()], [grid(stop_loss=2900.0)], [grid(stop_loss=2950.0)], []):
        assert journal.observe_grids(wanted, NOON + MINUTE) == []
    with pytest.raises(StorageError, match="later than now"):
        journal.retire_grid("eth-v3", NOON + MINUTE, by="me")
    journal.keep_time(FixedClock(NOON + 2 * BAR), tolerance=timedelta(0))
    assert journal.grid_history("eth-v3") == before
    assert journal.observe_grids([grid(stop_loss=2950.0)], NOON + 2 * BAR) == ["eth-v3"]


def test_change_within_the_tolerance_counts_after_what_was_decided(journal: Journal) -> None:
    """Another writer's clock is seconds ahead: its evaluation was made without the change, and stays so."""
    journal.observe_grids([grid()], NOON - BAR)
    journal.record_evaluations([evaluation()])
    journal.keep_time(FixedClock(NOON - timedelta(seconds=9)), tolerance=timedelta(seconds=10))
    journal.observe_grids([grid(stop_loss=2900.0)], NOON - timedelta(seconds=9))
    stops = [version.grid.stop_loss for at in (NOON, NOON + BAR) if (version := journal.grid_in_force("eth-v3", at))]
    assert stops == [grid().stop_loss, 2900.0]


def test_set_aside_rows_are_gone_for_good_and_kept_beside(journal: Journal) -> None:
    written_ahead(journal)
    journal.record_evaluations([evaluation(recorded_at=NOW)])
    journal.keep_time(FixedClock(NOW), tolerance=timedelta(0))
    assert journal.set_aside_future(NOW) == 6
    assert journal.set_aside_future(NOW) == 0
    journal.keep_time(FixedClock(NOW + 2 * AHEAD), tolerance=timedelta(0))
    assert [row.evaluated_at for row in journal.evaluations()] == [NOON]
    assert journal.responses.select() == []
    assert journal.outbox.waiting() == []
    with journal._database.reading() as connection:
        kept = connection.execute(sa.text("SELECT of_table, reason, at FROM set_aside")).all()
    assert sorted(row.of_table for row in kept) == sorted(
        ["decisions", "evaluations", "grid_versions", "market_notices", "pages", "responses"]
    )
    assert all("ahead" in row.reason for row in kept)
    for statement in ("DELETE FROM evaluations", "DELETE FROM set_aside", "UPDATE set_aside SET reason = ''"):
        with pytest.raises(StorageError), journal._database.writing() as connection:
            connection.execute(sa.text(statement))


@pytest.mark.parametrize("kind", [ResponseKind.REOPENED, ResponseKind.FLAT])
def test_word_of_the_future_that_opens_counts_from_now_and_no_other(journal: Journal, kind: ResponseKind) -> None:
    by = {"source": "command", "by_whom": "me", "settings_hash": "", "code_version": ""}
    said = Response(grid="eth-v3", at=NOW + AHEAD, kind=kind)
    journal.responses.record([ResponseRecord(response=said, recorded_at=NOW + AHEAD, **by)])
    journal.keep_time(FixedClock(NOW), tolerance=timedelta(0))
    assert [one.response for one in journal.future_words()] == [said]
    assert journal.set_aside_future(NOW) == 1
    found = [(one.response.kind, one.response.at, one.recorded_at) for one in journal.responses.select("eth-v3")]
    assert found == ([(kind, NOW, NOW)] if kind is ResponseKind.REOPENED else [])
    assert journal.future_words() == []


def test_delivery_dated_ahead_stays_a_delivery(journal: Journal) -> None:
    page = a_page(page="noon", grids=("eth-v3",), evaluated_at=NOON, decided_at=NOW)
    assert journal.notifications.commit(
        [a_decided(page, page.grids[0])], [page], channels={"phone": 0, "chat": 1}, due_at=NOW
    )
    journal.keep_time(FixedClock(NOW), tolerance=timedelta(0))
    later = NOW + AHEAD
    sent = journal.outbox.claim(owner="a", now=later, lease=MINUTE, channels=["phone"])
    failed = journal.outbox.claim(owner="a", now=later, lease=MINUTE, channels=["chat"])
    assert sent is not None
    assert failed is not None
    journal.outbox.end(sent, DeliveryOutcome.SENT, at=later, receipt="r1")
    journal.outbox.put_off(failed, DeliveryOutcome.FAILED, at=later, due_at=later + MINUTE, detail="503")

    for is_set_aside in (False, True):
        if is_set_aside:
            journal.set_aside_future(NOW)
            assert {event.at for event in journal.outbox.events()} == {NOW}
        assert journal.outbox.unsent(decided_before=later) == []
        assert [one.receipt for one in journal.outbox.open_receipts(now=NOW)] == ["r1"]
        again = journal.outbox.claim(owner="b", now=NOW, lease=MINUTE, channels=["phone", "chat"])
        assert again is not None
        assert (again.channel, again.attempt) == ("chat", 3 if is_set_aside else 2)
        journal.outbox.put_off(again, DeliveryOutcome.FAILED, at=later, due_at=later + MINUTE, detail="503")


def test_emergency_of_the_future_is_followed_until_it_has_ended(journal: Journal) -> None:
    written_ahead(journal)
    later = NOW + AHEAD
    claim = journal.outbox.claim(owner="a", now=later, lease=MINUTE, channels=["phone"])
    assert claim is not None
    journal.outbox.end(claim, DeliveryOutcome.SENT, at=later, receipt="r1")
    journal.keep_time(FixedClock(NOW), tolerance=timedelta(0))
    journal.set_aside_future(NOW)
    (receipt,) = journal.outbox.open_receipts(now=NOW)
    assert journal.future_rows().problem is None
    assert journal.notifications.pages() == []
    journal.outbox.close_receipt(receipt, at=NOW, detail="acknowledged")
    journal.set_aside_future(NOW)
    journal.keep_time(FixedClock(later + AHEAD), tolerance=timedelta(0))
    assert journal.notifications.pages() == []
    assert journal.outbox.events() == []


def test_evaluation_made_again_replaces_what_is_no_longer_true(journal: Journal) -> None:
    off, good = evaluation(state="UNKNOWN", input_hash="off", reasons=("clock",)), evaluation(input_hash="good")
    for made in (off, good, off, good):
        assert journal.record_evaluations([made], again_at=NOON) == 1
        assert journal.record_evaluations([made], again_at=NOON) == 0  # another daemon's
        assert journal.last_evaluation("eth-v3") == made
    worded = evaluation(input_hash="good", reasons=("the exchange is away",))
    assert journal.record_evaluations([worded]) == 0
    assert journal.record_evaluations([worded], again_at=NOON) == 1
    assert journal.last_evaluation("eth-v3") == worded


def test_notice_that_ended_is_taken_back_and_may_come_again(journal: Journal) -> None:
    skewed = Incident(market="kucoin:ETH/USDT", tick_at=NOON, code="clock_skewed", message="off")
    others = [Incident(market=skewed.market, tick_at=NOON + BAR, code="clock_skewed", message="off")]
    others += [Incident(market="kucoin:BTC/USDT", tick_at=NOON, code="clock_skewed", message="off")]
    journal.record_notices([skewed, *others])
    assert journal.end_notices([skewed.market], tick_at=NOON, codes=["another"]) == 0
    assert journal.end_notices([skewed.market], tick_at=NOON) == 1
    assert skewed not in journal.notices()
    assert len(journal.notices()) == 2
    assert journal.record_notices([skewed]) == 1
