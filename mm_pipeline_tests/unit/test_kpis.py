"""KPIs against a day done by hand, a plain reference, and what must hold of any facts; from values and the journal."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mm_pipeline.adapters.journal import Journal, sqlite_url
from mm_pipeline.adapters.journal.operator_queries import OperatorQueries
from mm_pipeline.contracts.operator import KPIS
from mm_pipeline.domain.errors import ContractError
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.kpis import EVALUATED_SCHEMA, KPI_SCHEMA, Notified, OperatorFacts, PageDelivery, kpis
from mm_pipeline.domain.notifications import Cause, HeldBack, Notice, Response, ResponseKind
from mm_pipeline_tests.journal_samples import evaluation
from mm_pipeline_tests.journal_samples import grid as declared_grid
from mm_pipeline_tests.operator_samples import answer, commit, decision, send, window_end
from mm_pipeline_tests.reference.kpis import BAR, DAY, LATE, LATEST, MANDATORY, WARNING, random_facts, row_reference


def at(text: str) -> datetime:
    hours, minutes, *seconds = (int(part) for part in text.split(":"))
    return DAY + timedelta(hours=hours, minutes=minutes, seconds=sum(seconds))


AS_OF = at("36:00")
FIRST = decision(MANDATORY, at("13:00"), page="m1")
REISSUED = decision(MANDATORY, at("16:00"), page="m2", cause=Cause.REISSUE, episode_at=at("13:00"), number=2)
TOLD = (
    (decision(WARNING, at("12:00"), page="w1"), "12:01"),
    (FIRST, "13:01"),
    (REISSUED, "16:01"),
    (decision(Notice.NORMAL, at("18:00"), page="n1"), "18:01"),
    (decision(LATEST, at("20:00"), page="l1"), "20:01"),
    (decision(LATEST, at("22:00"), page="l2"), "22:01"),
    (decision(WARNING, at("23:30"), page="w2", held_back=HeldBack.BUDGET), "23:31"),
)
SENT = {"w1": "12:01:10", "m1": "13:01:30", "m2": "16:01:20", "n1": "18:01:05", "l2": "22:21"}
ANSWERS = (
    Response(grid="eth", at=at("16:05:20"), kind=ResponseKind.ACKNOWLEDGED, page="m2"),
    Response(grid="eth", at=at("16:31:20"), kind=ResponseKind.FLAT),
)


def state_at(moment: datetime) -> str:
    """States of the day: the second LATEST is held through a blind quarter of an hour, the first is taken back."""
    for begins, state in (
        ("23:15", "NORMAL"),
        ("22:45", "LATEST_ACCEPTABLE_EXIT"),
        ("22:30", "UNKNOWN"),
        ("22:00", "LATEST_ACCEPTABLE_EXIT"),
        ("20:30", "NORMAL"),
        ("20:00", "LATEST_ACCEPTABLE_EXIT"),
        ("17:00", "NORMAL"),
        ("13:00", "MANDATORY_EXIT"),
    ):
        if moment >= at(begins):
            return state
    return "WARNING"


def evaluated(rows: list[tuple[str, datetime, str, str, bool]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=EVALUATED_SCHEMA, orient="row")


def the_day() -> OperatorFacts:
    bars = [at("12:00") + number * BAR for number in range(48)]
    return OperatorFacts(
        notified=[
            Notified(decision=one, decided_at=at(decided), respond_by=window_end(one), started_at=DAY)
            for one, decided in TOLD
        ],
        deliveries={
            **{page: PageDelivery(sent_at=at(sent)) for page, sent in SENT.items()},
            "l1": PageDelivery(escalated_at=at("20:02")),
        },
        responses=list(ANSWERS),
        evaluations=evaluated([("eth", bar, "exit", state_at(bar), True) for bar in bars]),
    )


def measured(facts: OperatorFacts, *, as_of: datetime = AS_OF, since: datetime = DAY) -> pl.DataFrame:
    return kpis(facts, since=since, until=at("24:00"), as_of=as_of, max_lateness=LATE)


def row(frame: pl.DataFrame, notice: Notice) -> dict[str, Any]:
    (found,) = frame.filter(pl.col("notice") == notice.value).iter_rows(named=True)
    return found


BY_HAND = {
    # Acknowledged after 11,030 s (the first page, by its repetition's acknowledgement) and 240 s; flat after 12,590 s
    # and 1,800 s; half a day was watched.
    MANDATORY: {
        **{"pages": 2, "pages_per_30d": 120.0, "unsent": 0, "late": 0, "escalated": 0, "held_back": 0},
        **{"acknowledged": 2, "acknowledge_p50_s": 5635.0, "acknowledge_p90_s": 9951.0},
        **{"flat": 2, "flat_p50_s": 7195.0, "flat_p90_s": 11511.0},
        **{"windows": 2, "answered_in_window_share": 0.5, "missed": 1, "exits_judged": 2, "actionable_share": 1.0},
    },
    # One was never sent and taken back within its hour, one was sent after 21 min, held, and nobody answered.
    LATEST: {
        **{"pages": 2, "pages_per_30d": 120.0, "unsent": 1, "late": 1, "escalated": 1, "held_back": 0},
        **{"acknowledged": 0, "acknowledge_p50_s": None, "flat": 0, "flat_p90_s": None},
        **{"windows": 1, "answered_in_window_share": 0.0, "missed": 1, "exits_judged": 2, "actionable_share": 0.5},
    },
    # Overtaken by the emergency, so its window is nobody's; the position was flat 16,210 s after it was sent.
    WARNING: {
        **{"pages": 1, "pages_per_30d": 60.0, "unsent": 0, "held_back": 1},
        **{"acknowledged": 0, "flat": 1, "flat_p50_s": 16210.0, "flat_p90_s": 16210.0},
        **{"windows": 0, "answered_in_window_share": None, "missed": 0, "exits_judged": 0, "actionable_share": None},
    },
    Notice.NORMAL: {"pages": 1, "unsent": 0, "acknowledged": 0, "flat": 0, "windows": 0, "actionable_share": None},
}


@pytest.mark.parametrize("notice", BY_HAND)
def test_a_day_done_by_hand(notice: Notice) -> None:
    found = row(measured(the_day()), notice)
    assert found["watched_days"] == pytest.approx(0.5)
    assert {name: found[name] for name in BY_HAND[notice]} == pytest.approx(BY_HAND[notice])


def test_rows_are_by_grid_and_from_the_gravest_notice_on_and_keep_the_contract() -> None:
    frame = measured(the_day())
    assert frame["notice"].to_list() == [notice.value for notice in (MANDATORY, LATEST, WARNING, Notice.NORMAL)]
    KPIS.check(frame.select(pl.lit(at("24:00")).dt.cast_time_unit("ms").alias("evaluated_at"), pl.all()))


def test_frame_with_more_missed_than_windows_breaks_the_contract() -> None:
    frame = measured(the_day()).with_columns(missed=pl.col("windows") + 1)
    with pytest.raises(ContractError, match="parts are no more than the whole"):
        KPIS.check(frame.select(pl.lit(at("24:00")).dt.cast_time_unit("ms").alias("evaluated_at"), pl.all()))


def test_nothing_decided_is_an_empty_frame() -> None:
    nothing = OperatorFacts(notified=[], deliveries={}, responses=[], evaluations=evaluated([]))
    assert_frame_equal(measured(nothing), pl.DataFrame(schema=KPI_SCHEMA))


def alone(notice: Notice = MANDATORY, **changes: Any) -> OperatorFacts:
    """One page at noon, sent a minute after it was decided; the notice's state stands all day."""
    one = decision(notice, at("12:00"), page="p")
    notified = Notified(decision=one, decided_at=at("12:01"), respond_by=window_end(one), started_at=DAY)
    states = evaluated([("eth", at("12:00") + number * BAR, "exit", notice.value, True) for number in range(48)])
    facts = OperatorFacts(
        notified=[notified], deliveries={"p": PageDelivery(sent_at=at("12:02"))}, responses=[], evaluations=states
    )
    return replace(facts, **changes)


def acknowledged(moment: str, page: str = "p") -> Response:
    return Response(grid="eth", at=at(moment), kind=ResponseKind.ACKNOWLEDGED, page=page)


def flat(moment: str) -> Response:
    return Response(grid="eth", at=at(moment), kind=ResponseKind.VERIFIED_FLAT)


def then(notice: Notice, moment: str, *, started_at: datetime = DAY, **changes: Any) -> Notified:
    one = decision(notice, at(moment), page=f"then-{moment}", **changes)
    decided_at = at(moment) + timedelta(minutes=1)
    return Notified(decision=one, decided_at=decided_at, respond_by=window_end(one), started_at=started_at)


@pytest.mark.parametrize(
    ("responses", "answered", "missed"),
    [
        ([acknowledged("12:15")], 1.0, 0),
        ([acknowledged("12:15:01")], 0.0, 1),
        ([flat("12:14")], 1.0, 0),
        ([acknowledged("12:10", page="another")], 0.0, 1),
        ([acknowledged("12:10", page="")], 1.0, 0),
        ([Response(grid="btc", at=at("12:10"), kind=ResponseKind.FLAT)], 0.0, 1),
        ([Response(grid="eth", at=at("12:10"), kind=ResponseKind.MISSED, page="p")], 0.0, 1),
        ([flat("11:59")], 0.0, 1),
    ],
)
def test_window_is_answered_until_its_end_else_missed(responses: list[Response], answered: float, missed: int) -> None:
    found = row(measured(alone(responses=responses)), MANDATORY)
    assert (found["answered_in_window_share"], found["missed"], found["windows"]) == (answered, missed, 1)


def test_window_that_has_not_ended_is_neither_answered_nor_missed_and_its_advice_not_yet_judged() -> None:
    found = row(measured(alone(), as_of=at("12:14")), MANDATORY)
    assert (found["windows"], found["missed"], found["exits_judged"]) == (0, 0, 0)
    found = row(measured(alone(), as_of=at("12:15")), MANDATORY)
    assert (found["windows"], found["missed"], found["exits_judged"]) == (1, 1, 1)


def test_newer_page_takes_the_window_over_unless_it_was_answered_before() -> None:
    facts = alone(LATEST)
    newer = [*facts.notified, then(MANDATORY, "12:30")]
    overtaken = row(measured(replace(facts, notified=newer)), LATEST)
    assert (overtaken["windows"], overtaken["missed"]) == (0, 0)
    before = row(measured(replace(facts, notified=newer, responses=[acknowledged("12:29")])), LATEST)
    assert (before["windows"], before["answered_in_window_share"]) == (1, 1.0)
    held_back = then(WARNING, "12:30", held_back=HeldBack.BUDGET)
    not_told = row(measured(replace(facts, notified=[*facts.notified, held_back])), LATEST)
    assert (not_told["windows"], not_told["missed"]) == (1, 1)


@pytest.mark.parametrize(
    ("closing", "is_counted"),
    [
        (then(Notice.NORMAL, "14:00"), False),
        (then(Notice.SOLD_OUT, "14:00"), False),
        (then(Notice.ENTER, "14:00"), False),
        (then(WARNING, "14:00", started_at=DAY + timedelta(hours=13)), False),
        (then(Notice.NORMAL, "14:00", held_back=HeldBack.BUDGET), True),
        (then(WARNING, "14:00"), True),
        (then(Notice.UNKNOWN, "14:00"), True),
    ],
)
def test_flat_position_answers_a_page_only_while_it_stands(closing: Notified, *, is_counted: bool) -> None:
    facts = alone()
    found = row(measured(replace(facts, notified=[*facts.notified, closing], responses=[flat("15:00")])), MANDATORY)
    assert found["flat"] == int(is_counted)


REOPENED, CONTRADICTED = ResponseKind.REOPENED, ResponseKind.CONTRADICTED


def word(kind: ResponseKind, moment: str, known: str | None = None) -> Response:
    return Response(grid="eth", at=at(moment), kind=kind, known_at=None if known is None else at(known))


@pytest.mark.parametrize(
    ("words", "flat_s"),
    [
        ([word(ResponseKind.FLAT, "12:10"), word(REOPENED, "12:45"), word(CONTRADICTED, "12:45")], None),
        ([word(ResponseKind.FLAT, "12:10"), word(CONTRADICTED, "12:45"), word(REOPENED, "12:45", "12:46")], None),
        ([word(REOPENED, "12:30"), word(ResponseKind.FLAT, "12:10", "12:40")], None),
        ([word(ResponseKind.FLAT, "12:10", "12:45"), word(REOPENED, "13:00")], 8 * 60.0),
        ([word(ResponseKind.FLAT, "11:50", "12:10")], 0.0),
        (
            [word(ResponseKind.FLAT, "12:10"), word(REOPENED, "12:45"), word(CONTRADICTED, "12:45"), flat("13:02")],
            3600.0,
        ),
    ],
    ids=["contradicted", "contradicted first", "seen open after it", "reopened later", "before the page", "said again"],
)
def test_report_of_flat_counts_unless_it_was_refuted(words: list[Response], flat_s: float | None) -> None:
    found = row(measured(replace(alone(), responses=words)), MANDATORY)
    assert (found["flat"], found["flat_p50_s"]) == (int(flat_s is not None), flat_s)


@pytest.mark.parametrize(
    ("state", "moment", "responses", "share"),
    [
        ("NORMAL", "12:15", [], 0.0),
        ("LATEST_ACCEPTABLE_EXIT", "12:15", [], 0.0),
        ("UNKNOWN", "12:15", [], 1.0),
        ("NORMAL", "12:30", [], 1.0),
        ("NORMAL", "12:15", [flat("12:14")], 1.0),
        ("NORMAL", "12:15", [flat("12:16")], 0.0),
        ("NORMAL", "12:15", [acknowledged("12:05")], 0.0),
    ],
)
def test_advice_is_actionable_when_it_held_to_the_end_of_the_window_or_was_followed_before(
    state: str, moment: str, responses: list[Response], share: float
) -> None:
    facts = alone(responses=responses)
    is_it = pl.col("evaluated_at") == at(moment)
    changed = facts.evaluations.with_columns(state=pl.when(is_it).then(pl.lit(state)).otherwise("state"))
    assert row(measured(replace(facts, evaluations=changed)), MANDATORY)["actionable_share"] == share


def test_graver_state_does_not_withdraw_milder_advice() -> None:
    facts = alone(LATEST)
    graver = facts.evaluations.with_columns(state=pl.lit("MANDATORY_EXIT"))
    assert row(measured(replace(facts, evaluations=graver)), LATEST)["actionable_share"] == 1.0


def test_time_runs_from_the_decision_where_no_delivery_is_known_and_is_not_below_zero() -> None:
    unsent = alone(deliveries={}, responses=[acknowledged("12:05")])
    assert row(measured(unsent), MANDATORY)["acknowledge_p50_s"] == 240.0
    early = alone(responses=[acknowledged("12:01:30")])
    assert row(measured(early), MANDATORY)["acknowledge_p50_s"] == 0.0


def test_only_live_evaluations_of_the_notice_s_kind_are_time_watched() -> None:
    rows = [("eth", at("12:00") + number * BAR, "exit", "MANDATORY_EXIT", number % 2 == 0) for number in range(48)]
    rows += [("eth", at("06:00") + number * BAR, "entry", "ENTER", True) for number in range(8)]
    facts = alone(evaluations=evaluated(rows))
    facts = replace(facts, notified=[*facts.notified, then(Notice.ENTER, "06:00")])
    frame = measured(facts)
    assert row(frame, MANDATORY)["watched_days"] == pytest.approx(24 / 96)
    assert row(frame, Notice.ENTER)["watched_days"] == pytest.approx(8 / 96)
    nobody = measured(alone(evaluations=evaluated([])))
    assert (row(nobody, MANDATORY)["watched_days"], row(nobody, MANDATORY)["pages_per_30d"]) == (0.0, None)


@given(seed=st.integers(0, 2**32), minutes=st.integers(30, 1000))
@settings(max_examples=40, deadline=None)
def test_kpis_are_those_of_a_plain_reference(seed: int, minutes: int) -> None:
    facts, as_of = random_facts(seed), DAY + timedelta(minutes=minutes)
    frame = measured(facts, as_of=as_of)
    told = [one for one in facts.notified if one.decision.is_told and one.decided_at <= as_of]
    held = [one for one in facts.notified if not one.decision.is_told and one.decided_at <= as_of]
    assert set(frame.select("grid", "notice").rows()) == {
        (one.decision.grid, one.decision.notice.value) for one in (*told, *held)
    }
    for found in frame.iter_rows(named=True):
        key = (found["grid"], found["notice"])
        expected = row_reference(facts, *key, as_of)
        assert {name: found[name] for name in expected} == pytest.approx(expected), key


@given(seed=st.integers(0, 2**32), minutes=st.integers(30, 800))
@settings(max_examples=25, deadline=None)
def test_what_happens_later_changes_nothing_and_order_does_not_matter(seed: int, minutes: int) -> None:
    facts, as_of = random_facts(seed), DAY + timedelta(minutes=minutes)
    known = OperatorFacts(
        notified=[one for one in reversed(facts.notified) if one.decided_at <= as_of],
        deliveries={
            page: PageDelivery(
                sent_at=one.sent_at if one.sent_at and one.sent_at <= as_of else None,
                escalated_at=one.escalated_at if one.escalated_at and one.escalated_at <= as_of else None,
            )
            for page, one in facts.deliveries.items()
        },
        responses=[response for response in reversed(facts.responses) if response.counts_from <= as_of],
        evaluations=facts.evaluations.filter(pl.col("evaluated_at") <= as_of).reverse(),
    )
    assert_frame_equal(measured(facts, as_of=as_of), measured(known, as_of=as_of))


@pytest.fixture
def journal(tmp_path: Path) -> Any:
    with Journal(sqlite_url(tmp_path / "journal.db")) as opened:
        yield opened


def journal_the_day(journal: Journal) -> None:
    grid = declared_grid("eth", started_at=DAY)
    journal.observe_grids([grid], at("12:00"))
    bars = [at("12:00") + number * BAR for number in range(48)]
    journal.record_evaluations(
        evaluation(grid="eth", input_hash="before", state="NORMAL", is_live=True) for _ in range(1)
    )
    journal.record_evaluations(
        replace(evaluation(), grid="eth", evaluated_at=bar, state=state_at(bar), grid_version=grid.version_hash)
        for bar in bars
    )
    for one, decided in TOLD:
        channels = {"phone": 0} if one.page in SENT else {"broken": 0}
        commit(journal, one, decided_at=at(decided), channels=channels, grid_version=grid.version_hash)
        if one.page in SENT:
            send(journal, one.page, at(SENT[one.page]))
    journal.outbox.escalate("l1", "mail", 1, at=at("20:02"), detail="broken failed")
    for response in ANSWERS:
        answer(journal, response.kind, response.at, page=response.page)


def test_journal_gives_the_facts_that_were_put_into_it(journal: Journal) -> None:
    journal_the_day(journal)
    facts = OperatorQueries(journal).facts(since=DAY, until=at("24:00"), as_of=AS_OF, grid="eth")
    expected = the_day()
    assert facts.notified == expected.notified
    assert {page: one for page, one in facts.deliveries.items() if one != PageDelivery()} == expected.deliveries
    assert facts.responses == expected.responses
    assert_frame_equal(facts.evaluations, expected.evaluations)
    assert_frame_equal(measured(facts), measured(expected))
    assert OperatorQueries(journal).facts(since=DAY, until=AS_OF, as_of=AS_OF, grid="btc").notified == []


def test_page_s_window_beyond_the_stretch_is_judged_by_what_came_after_it(journal: Journal) -> None:
    journal_the_day(journal)
    until = at("22:15")
    facts = OperatorQueries(journal).facts(since=DAY, until=until, as_of=AS_OF)
    frame = kpis(facts, since=DAY, until=until, as_of=AS_OF, max_lateness=LATE)
    assert {name: row(frame, LATEST)[name] for name in ("pages", "missed", "actionable_share")} == {
        "pages": 2,
        "missed": 1,
        "actionable_share": 0.5,
    }


def test_newest_told_and_beginning_of_a_state_are_found(journal: Journal) -> None:
    journal_the_day(journal)
    queries = OperatorQueries(journal)
    newest = journal.last_evaluation("eth")
    assert newest is not None
    assert queries.state_began(newest) == at("23:15")
    told = queries.newest_told("eth", EvaluationKind.EXIT)
    assert told is not None
    assert told.decision.page == "l2", "what was held back was not told"
    other = queries.newest_told("eth", EvaluationKind.EXIT, without=[LATEST])
    assert other is not None
    assert other.decision.page == "n1"
    assert queries.newest_told("eth", EvaluationKind.ENTRY) is None
