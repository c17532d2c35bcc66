"""SPEC 8, rules across states: the page budget, shared causes, what begins anew, gaps. See ``notification_stories``."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from mm_pipeline.domain.notifications import (
    EarlierPosition,
    History,
    Judgement,
    Response,
    ResponseKind,
    decide_all,
    judged_in,
    page_id,
    replay,
)
from mm_pipeline_tests.grid_samples import hundreds_grid
from mm_pipeline_tests.notification_stories import (
    BAR,
    DAY,
    HOUR,
    NOON,
    POLICY,
    decisions,
    evaluations,
    held_back,
    judged,
    told,
)

# The page budget


EXPIRE = 3 * HOUR
"""Bars after which an emergency ends unanswered."""
SPENT = "L" * 45
"""Twelve pages: the budget of a day."""


@pytest.mark.parametrize(
    ("story", "notice"),
    [(SPENT + "W" * DAY, "WARNING"), (SPENT + "N" * DAY, "NORMAL"), (SPENT + "S" * DAY, "SOLD_OUT")],
)
def test_budget_holds_a_mild_notice_back_until_a_day_has_passed(story: str, notice: str) -> None:
    assert len(told(SPENT)) == POLICY.budget.pages
    assert told(story)[POLICY.budget.pages] == f"{DAY} {notice}"
    assert len(held_back(story)) == 1
    assert held_back(story)[0].endswith(f"{notice} budget")


def test_budget_holds_enter_back() -> None:
    policy = POLICY.model_copy(update={"budget": POLICY.budget.model_copy(update={"pages": 1})})
    story = "EA" + "E" * DAY
    assert told(story, policy=policy) == ["0 ENTER", f"{DAY} ENTER"]
    assert told(story) == ["0 ENTER", f"{4 * HOUR} ENTER"]


@pytest.mark.parametrize("state", ["L", "M", "UU"])
def test_budget_never_holds_an_exit_or_an_outage_back(state: str) -> None:
    spent = SPENT + "LLL"
    assert told(spent + state)[-1].startswith(f"{len(spent + state) - 1} ")
    assert held_back(spent + state) == []


@pytest.mark.parametrize("state", ["M", "L"])
def test_exit_seen_again_after_an_all_clear_that_the_budget_held_back_is_told_at_once(state: str) -> None:
    story = SPENT + state + "NN" + state
    answered_at = len(SPENT) + 0.5
    assert told(story, {answered_at: "ack"})[-1].split(" ")[0] == str(len(story) - 1)


@pytest.mark.parametrize("state", ["M", "L"])
def test_exit_seen_again_after_a_warning_that_its_interval_held_back_is_no_news(state: str) -> None:
    notice = told(state)[0].split()[1]
    assert told(f"W{state}W{state}", {1.5: "ack"}) == ["0 WARNING", f"1 {notice}"]


def test_exit_seen_again_after_a_sold_out_that_the_budget_held_back_is_no_news() -> None:
    story = SPENT + "MSM"
    assert told(story, {len(SPENT) + 0.5: "ack"})[-1] == f"{len(SPENT)} MANDATORY_EXIT"
    assert held_back(story, {len(SPENT) + 0.5: "ack"}) == [f"{len(SPENT) + 1} SOLD_OUT budget"]


def test_exit_that_flickers_without_anything_decided_between_is_no_news() -> None:
    assert told("MNMNMN" * 2, {0.5: "ack"}) == ["0 MANDATORY_EXIT"]


def test_what_is_held_back_is_noted_once_a_run_at_its_first_live_evaluation() -> None:
    warnings = [line for line in held_back("WNNWW" + "N" + "WW") if "WARNING" in line]
    assert warnings == ["3 WARNING min_interval", "6 WARNING min_interval"]
    assert held_back("WNNwwWWW")[-1] == "5 WARNING min_interval"


# Grids that share a cause


def blind(grid: str, cause: str, bar: int = 1) -> tuple[str, History]:
    return grid, History().at(judged("U", bar - 1, grid=grid, cause=cause))


def test_grids_blind_for_one_cause_share_a_page_and_others_do_not() -> None:
    causes = {"a": "kucoin: stale", "b": "kucoin: stale", "c": "binance: stale"}
    histories = dict(blind(grid, cause) for grid, cause in causes.items())
    made = decide_all([judged("U", 1, grid=grid, cause=cause) for grid, cause in causes.items()], histories, POLICY)
    pages = {decision.grid: decision.page for decision in made}
    assert pages["a"] == pages["b"] != pages["c"]
    assert pages["a"] == page_id(made[0].notice, judged("U", 1), ["b", "a"])


def test_grid_that_is_blind_only_now_is_not_on_the_page_of_others() -> None:
    histories = dict([blind("a", "kucoin: stale"), blind("b", "kucoin: stale")])
    made = decide_all([judged("U", 1, grid=grid) for grid in "abc"], histories, POLICY)
    assert [decision.grid for decision in made] == ["a", "b"]
    assert len({decision.page for decision in made}) == 1


def test_grids_that_must_be_left_at_once_have_a_page_each() -> None:
    made = decide_all([judged("M", grid=grid) for grid in "ab"], {}, POLICY)
    assert len({decision.page for decision in made}) == 2


# What begins anew


@pytest.mark.parametrize("state", ["W", "L", "M", "S"])
def test_grid_that_is_ranged_anew_is_told_of_anew(state: str) -> None:
    notice = told(state)[0].split()[1]
    assert told(f"{state}{state}|{state}", {1: "ack"}) == [f"0 {notice}", f"2 {notice}"]


def test_position_that_was_flat_in_the_range_before_is_not_flat_in_the_new_one() -> None:
    assert told("MM|M", {1.5: "flat"}) == ["0 MANDATORY_EXIT", "2 MANDATORY_EXIT"]


def test_position_reported_flat_since_the_new_range_began_is_closed_in_it() -> None:
    assert len(told("MM|" + "M" * (EXPIRE + 1), {1.9: "flat"})) == 3
    assert told("MM|" + "M" * (EXPIRE + 1), {2: "flat"}) == ["0 MANDATORY_EXIT"]


def test_position_reported_to_have_been_closed_before_the_page_is_closed() -> None:
    states = [judged("M", bar, started_at=NOON - BAR) for bar in range(EXPIRE + 1)]
    word = Response(grid="eth", at=NOON - BAR, kind=ResponseKind.FLAT, known_at=NOON + timedelta(minutes=6))
    assert len(replay(states, [word], POLICY)) == 1


def test_normal_of_a_new_range_is_no_news() -> None:
    assert told("M|NNN") == ["0 MANDATORY_EXIT"]


def test_outage_of_a_new_range_has_to_last_anew() -> None:
    assert told("NU|UU") == ["3 UNKNOWN"]


def test_grid_switched_off_and_on_is_told_of_anew() -> None:
    assert told("MMIM", {1: "ack"}) == ["0 MANDATORY_EXIT", "3 MANDATORY_EXIT"]
    assert told("ENE") == ["0 ENTER", "2 ENTER"]


def test_grid_that_is_blind_through_a_file_not_yet_read_goes_on_once_it_is() -> None:
    known = [one for _, _, one in evaluations("UUU")]
    unread = [replace(one, started_at=None) for one in known[:2]]
    made = replay([*unread, known[2]], [], POLICY)
    assert [(decision.evaluated_at, decision.notice) for decision in made] == [(NOON + BAR, "UNKNOWN")]


# Gaps


@pytest.mark.parametrize(("story", "page"), [("NmmM", "3 MANDATORY_EXIT"), ("NwwwW", "4 WARNING"), ("AeE", "2 ENTER")])
def test_first_live_evaluation_after_a_gap_tells_what_is_true_now(story: str, page: str) -> None:
    assert told(story) == [page]


def test_what_was_over_before_the_gap_ended_is_not_told() -> None:
    assert told("NmmmnN") == []


def test_state_that_was_told_before_the_gap_is_no_news_after_it() -> None:
    assert told("WnnW") == ["0 WARNING"]


def test_evaluations_of_a_gap_count_towards_what_has_to_last() -> None:
    assert told("LnN") == ["0 LATEST_ACCEPTABLE_EXIT", "2 NORMAL"]
    assert told("NuU") == ["2 UNKNOWN"]
    assert told("NuuuU") == ["4 UNKNOWN"]


def test_expired_emergency_is_reissued_at_the_first_live_evaluation() -> None:
    assert told("M" + "m" * 20 + "M") == ["0 MANDATORY_EXIT", "21 MANDATORY_EXIT reissue"]


def test_evaluations_that_are_not_live_are_never_told() -> None:
    assert decisions("nwlmxsu" * 20) == []


# What a decision says


def test_episode_counts_its_pages_and_gathers_its_triggers() -> None:
    made = [decision for _, decision in decisions("MX" + "X" * EXPIRE)]
    assert [decision.number for decision in made] == [1, 2, 3]
    assert {decision.episode_at for decision in made} == {NOON}
    assert made[0].triggers == ("closes_outside",)
    assert made[1].triggers == made[2].triggers == ("closes_outside", "regime_trend")


def test_sold_out_decision_keeps_the_state_that_it_stands_for() -> None:
    (made,) = decisions("S")
    assert (made[1].notice, made[1].state) == ("SOLD_OUT", "MANDATORY_EXIT")


def test_replay_takes_responses_in_any_order_and_of_any_grid() -> None:
    states = [judged("M", bar, grid=grid) for bar in range(EXPIRE + 1) for grid in ("a", "b")]
    page = replay(states[:2], [], POLICY)[1].page
    acknowledged = Response(grid="b", at=NOON + BAR, kind=ResponseKind.ACKNOWLEDGED, page=page)
    other = Response(grid="c", at=NOON, kind=ResponseKind.FLAT)
    made = replay(states, [acknowledged, other], POLICY)
    assert [decision.grid for decision in made] == ["a", "b", "a"]
    assert made[2].evaluated_at - NOON == timedelta(hours=3)


def test_replay_counts_a_response_until_the_evaluation_is_decided() -> None:
    states = [judged("M", bar) for bar in range(EXPIRE + 1)]
    flat = Response(grid="eth", at=states[-1].evaluated_at, kind=ResponseKind.FLAT)
    assert len(replay(states, [flat], POLICY)) == 1
    just_before_deciding = replace(flat, at=flat.at + POLICY.decided_after)
    assert len(replay(states, [just_before_deciding], POLICY)) == 1
    assert len(replay(states, [replace(flat, at=just_before_deciding.at + timedelta(seconds=1))], POLICY)) == 2


def test_replay_counts_a_response_from_when_it_was_known() -> None:
    states = [judged("M", bar) for bar in range(2 * EXPIRE + 1)]
    flat = Response(grid="eth", at=NOON + BAR, kind=ResponseKind.FLAT)
    late = replace(flat, known_at=NOON + (EXPIRE + 1) * BAR)
    assert [len(replay(states, [one], POLICY)) for one in (flat, late)] == [1, 2]


@pytest.mark.parametrize("kind", [ResponseKind.MISSED, ResponseKind.EXPIRED, ResponseKind.CANCELLED])
def test_response_that_is_no_answer_ends_nothing(kind: ResponseKind) -> None:
    states = [judged("M", bar) for bar in range(EXPIRE + 1)]
    page = replay(states[:1], [], POLICY)[0].page
    made = replay(states, [Response(grid="eth", at=NOON + BAR, kind=kind, page=page)], POLICY)
    assert [decision.cause for decision in made] == ["change", "reissue"]


@pytest.mark.parametrize(("state", "failed", "told_at"), [("UNKNOWN", 2, 0), ("UNKNOWN", 0, 1), ("NORMAL", 2, None)])
def test_failed_fetches_of_a_row_count_towards_what_has_to_last(state: str, failed: int, told_at: int | None) -> None:
    declared = hundreds_grid()
    rows = [
        {
            "grid": declared.id,
            "evaluated_at": NOON + bar * BAR,
            "state": state,
            "grid_version": declared.version_hash,
            "reasons": ["the exchange did not answer"],
            "failed_fetches": failed,
        }
        for bar in range(2)
    ]
    judged_rows = judged_in(pl.DataFrame(rows), {declared.version_hash: declared}, POLICY, kind="exit")
    made = replay(judged_rows, [], POLICY)
    assert [(one.evaluated_at - NOON) // BAR for one in made] == ([] if told_at is None else [told_at])


# A bar that is revised


def test_breach_of_the_same_stop_after_an_all_clear_is_a_new_emergency() -> None:
    assert told("T" + "NN" + "T") == ["0 MANDATORY_EXIT", "2 NORMAL", "3 MANDATORY_EXIT"]
    assert told("T" + "NN" + "T", {0.5: "ack"}) == ["0 MANDATORY_EXIT", "2 NORMAL", "3 MANDATORY_EXIT"]


def test_one_answer_that_revises_the_bars_before_ends_no_emergency() -> None:
    """The run of NORMAL reaches back before the page, as the bars of it were judged anew."""
    page = replay([judged("T", 3)], [], POLICY)[0]
    before = replace(History().at(judged("T", 3)).after(page, POLICY.budget), judged=judged("N", 3))
    revised = replace(before, run=4, run_began_at=NOON)
    assert replay([judged("N", 4)], [], POLICY, {"eth": revised}) == []
    calm = replay([judged("N", 4), judged("N", 5)], [], POLICY, {"eth": revised})
    assert [(one.notice.value, (one.evaluated_at - NOON) // BAR) for one in calm] == [("NORMAL", 5)]


# A stop that is edited


def stopped(stops: list[float], *, held: float) -> list[Judgement]:
    """A bar each, with the stop that was breached."""
    declared = hundreds_grid()
    rows = [
        {
            "grid": declared.id,
            "evaluated_at": NOON + bar * BAR,
            "state": "MANDATORY_EXIT",
            "grid_version": declared.version_hash,
            "reasons": [],
            "stop_loss_breached": {"fired": True, "threshold": stop},
            "position_health": "BELOW_GRID",
            "risk": {"inventory_base": held, "source": "exchange"},
        }
        for bar, stop in enumerate(stops)
    ]
    return judged_in(pl.DataFrame(rows), {declared.version_hash: declared}, POLICY, kind="exit")


@pytest.mark.parametrize("held", [0.0, 5.0])
def test_breach_of_an_edited_stop_pages_though_the_old_one_is_acknowledged(held: float) -> None:
    answers = [
        Response(grid=hundreds_grid().id, at=NOON + (bar + 0.5) * BAR, kind=ResponseKind.ACKNOWLEDGED) for bar in (0, 3)
    ]
    made = replay(stopped([90.0] * 3 + [85.0] * 3 + [90.0] * 2, held=held), answers, POLICY)
    assert [((one.evaluated_at - NOON) // BAR, one.cause.value) for one in made] == [(0, "change"), (3, "new_trigger")]
    assert made[-1].triggers == ("stop_loss_breached@85", "stop_loss_breached@90")


def test_page_from_before_stops_were_named_with_their_price_answers_for_none() -> None:
    rows = stopped([90.0] * 3, held=5.0)
    (page,) = replay([replace(rows[0], mandatory=("stop_loss_breached",))], [], POLICY)
    before = History().at(rows[0]).after(page, POLICY.budget)
    assert [one.cause.value for one in replay(rows[1:], [], POLICY, {rows[0].grid: before})] == ["new_trigger"]


# An account that cannot be read any more


def rows_of(story: str) -> pl.DataFrame:
    """A letter per bar.

    ``N`` is calm and held by account. Stopped: ``H`` held by account, ``Z`` nothing by account, ``m`` the model's
    nothing. Above the grid: ``h`` held by account, ``z`` the account's nothing, ``s`` the model's,
    and ``a`` calm and held.
    """
    declared = hundreds_grid()
    return pl.DataFrame(
        [
            {
                "grid": declared.id,
                "evaluated_at": NOON + bar * BAR,
                "state": "NORMAL" if letter in "Na" else "MANDATORY_EXIT",
                "grid_version": declared.version_hash,
                "reasons": ["stop_loss_breached"],
                "stop_loss_breached": {"fired": letter in "HZm"},
                "closes_outside": {"fired": letter not in "Na"},
                "position_health": "ABOVE_GRID" if letter in "szha" else "BELOW_GRID",
                "risk": {
                    "inventory_base": 5.0 if letter in "HhNa" else 0.0,
                    "source": "modelled" if letter in "ms" else "exchange",
                },
            }
            for bar, letter in enumerate(story)
        ]
    )


def told_of_rows(story: str, earlier: str = "") -> list[str]:
    """Pages of a story; ``earlier`` is what was said before its frame begins."""
    declared = hundreds_grid()
    before = [
        EarlierPosition(
            state=row["state"],
            grid_version=row["grid_version"],
            inventory_base=row["risk"]["inventory_base"],
            source=row["risk"]["source"],
        )
        for row in (rows_of(earlier).to_dicts() if earlier else [])
    ]
    judged = judged_in(rows_of(story), {declared.version_hash: declared}, POLICY, kind="exit", earlier=before)
    made = replay(judged, [], POLICY)
    return [f"{(one.evaluated_at - NOON) // BAR} {one.notice}" for one in made if one.is_told]


def test_emergency_whose_inventory_was_seen_rings_on_while_its_account_cannot_be_read() -> None:
    rung = ["1 MANDATORY_EXIT", "13 MANDATORY_EXIT", "25 MANDATORY_EXIT"]
    assert told_of_rows("N" + "H" * 30) == rung
    assert told_of_rows("N" + "HH" + "m" * 28) == rung


def test_account_that_shows_nothing_ends_what_it_had_shown() -> None:
    assert told_of_rows("NHH" + "Z" + "m" * 28) == ["1 MANDATORY_EXIT"]
    assert told_of_rows("Z" + "m" * 30) == ["0 MANDATORY_EXIT"]


def test_reading_before_the_frame_begins_counts_until_the_next() -> None:
    """A frame begins with its month: the month's edge ends no emergency."""
    rung = ["0 MANDATORY_EXIT", "12 MANDATORY_EXIT", "24 MANDATORY_EXIT"]
    assert told_of_rows("m" * 30, earlier="HH") == rung
    assert told_of_rows("m" * 30, earlier="N") == rung
    assert told_of_rows("m" * 30, earlier="HZ") == rung[:1]


def test_what_the_account_held_above_the_grid_is_not_sold_out_by_the_model() -> None:
    assert told_of_rows("Naa" + "s" * 12) == ["3 MANDATORY_EXIT"]
    assert told_of_rows("N" + "s" * 12) == ["1 SOLD_OUT"]


def test_stop_that_is_touched_when_the_account_falls_silent_rings_on() -> None:
    """What the account held a bar before is gone in the model alone."""
    assert told_of_rows("N" + "m" * 30) == ["1 MANDATORY_EXIT", "13 MANDATORY_EXIT", "25 MANDATORY_EXIT"]


def test_emergency_above_the_grid_is_not_sold_out_by_the_model_while_the_account_holds_it() -> None:
    assert told_of_rows("Nhh" + "s" * 12) == ["1 MANDATORY_EXIT", "13 MANDATORY_EXIT"]
    assert told_of_rows("Nhh" + "z" * 12) == ["1 MANDATORY_EXIT", "4 SOLD_OUT"]
    assert told_of_rows("N" + "s" * 12) == ["1 SOLD_OUT"]
