"""SPEC 8's table, row for row, as stories of states; every setting of it flips a decision, or a page, when changed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest

from mm_pipeline.adapters.journal import DecisionRecord, Journal, Page, ResponseRecord, sqlite_url
from mm_pipeline.domain.notifications import Response, ResponseKind, decide_all, judged_in, replay
from mm_pipeline.settings import Settings, describe, load_settings
from mm_pipeline_tests.grid_samples import hundreds_grid
from mm_pipeline_tests.journal_samples import grid
from mm_pipeline_tests.notification_stories import (
    BAR,
    DAY,
    HOUR,
    NOON,
    POLICY,
    decisions,
    held_back,
    judged,
    lived,
    told,
)
from mm_pipeline_tests.notification_watch import WRITTEN_BY, MovingClock, ScriptedRow, ScriptedWatch, at_bar

EXPIRE = 3 * HOUR
"""Bars after which an emergency ends unanswered."""


# MANDATORY_EXIT


@pytest.mark.parametrize("story", ["M", "NM", "WM", "LM", "NUUM", "N..M"])
def test_mandatory_exit_is_told_at_once(story: str) -> None:
    assert told(story)[-1] == f"{len(story) - 1} MANDATORY_EXIT"


def test_every_new_mandatory_exit_is_told_without_a_rate_limit() -> None:
    mandatory = [page for page in told("MNN" * 20) if "MANDATORY" in page]
    assert mandatory == [f"{3 * i} MANDATORY_EXIT" for i in range(20)]


def test_unanswered_mandatory_exit_is_reissued_whenever_it_has_expired() -> None:
    assert told("M" * (2 * EXPIRE + 2)) == [
        "0 MANDATORY_EXIT",
        f"{EXPIRE} MANDATORY_EXIT reissue",
        f"{2 * EXPIRE} MANDATORY_EXIT reissue",
    ]


@pytest.mark.parametrize("response", ["ack", "flat"])
def test_answered_mandatory_exit_is_not_reissued(response: str) -> None:
    assert [page for page in told("M" * DAY, {1: response}) if "REMINDER" not in page] == ["0 MANDATORY_EXIT"]


@pytest.mark.parametrize("response", ["ack", "flat"])
def test_reissued_mandatory_exit_ends_once_it_is_answered(response: str) -> None:
    story = told("M" * 2 * EXPIRE, {EXPIRE + 1.5: response})
    assert story == ["0 MANDATORY_EXIT", f"{EXPIRE} MANDATORY_EXIT reissue"]


def test_unanswered_mandatory_exit_is_reissued_more_seldom_after_the_fourth_time() -> None:
    bars = [*(n * EXPIRE for n in range(5)), *(4 * EXPIRE + n * 6 * HOUR for n in (1, 2))]
    assert [int(page.split()[0]) for page in told("M" * (bars[-1] + 1))] == bars


def test_unanswered_mandatory_exit_is_reissued_whatever_milder_state_comes() -> None:
    for milder in "LWU":
        assert f"{EXPIRE} MANDATORY_EXIT reissue" in told("M" + milder * (EXPIRE + 1))
    assert not any("reissue" in page for page in told("MNN" + "W" * EXPIRE))
    assert not any("reissue" in page for page in told("MSS" + "W" * EXPIRE))


@pytest.mark.parametrize("between", ["S", "L", "W", "UU", "SLWUU" * 3, "N", "NWN"])
def test_acknowledged_emergency_stays_answered_through_everything_but_all_clear(between: str) -> None:
    story = told("M" + between + "M", {0.5: "ack"})
    assert [page for page in story if "MANDATORY" in page] == ["0 MANDATORY_EXIT"]


def test_acknowledged_emergency_pages_again_after_all_clear_or_with_a_new_trigger() -> None:
    assert told("MNNM", {0.5: "ack"}) == ["0 MANDATORY_EXIT", "2 NORMAL", "3 MANDATORY_EXIT"]
    assert told("MSX", {0.5: "ack"}) == ["0 MANDATORY_EXIT", "1 SOLD_OUT", "2 MANDATORY_EXIT new_trigger"]


@pytest.mark.parametrize("story", ["MS" * 48, "SM" * 48])
def test_price_that_crosses_the_upper_bound_at_every_bar_pages_one_emergency(story: str) -> None:
    acknowledged: dict[float, str] = {1.5: "ack"}
    pages = told(story, acknowledged)
    assert len([page for page in pages if "MANDATORY" in page]) == 1
    assert len(pages) <= 5


def test_unanswered_emergency_ends_with_two_evaluations_that_say_normal_or_sold_out() -> None:
    assert told("MSM" + "S") == ["0 MANDATORY_EXIT"]
    assert held_back("MSM") == ["1 SOLD_OUT unconfirmed"]
    assert told("MSSM") == told("MNSM") == ["0 MANDATORY_EXIT", "2 SOLD_OUT"]
    assert told("MNM") == ["0 MANDATORY_EXIT"]


# An emergency that a sold-out had ended


def test_trigger_that_returns_after_sold_outs_is_issued_anew_as_seldom_as_any_emergency() -> None:
    pages = [page for page in told("N" + "SSM" * 4 * 24) if "MANDATORY" in page]
    assert pages[0] == "3 MANDATORY_EXIT"
    assert [int(page.split()[0]) for page in pages[:7]] == [3, 15, 27, 39, 51, 75, 99]
    assert all(page.endswith("reissue") for page in pages[1:])


def test_trigger_that_no_page_has_named_pages_at_once_after_a_sold_out() -> None:
    assert told("MSSX") == ["0 MANDATORY_EXIT", "2 SOLD_OUT", "3 MANDATORY_EXIT new_trigger"]


def test_all_clear_after_a_sold_out_makes_the_same_trigger_news() -> None:
    assert told("MSSNNM")[-1] == "5 MANDATORY_EXIT"


@pytest.mark.parametrize("milder", ["W", "U", "M"])
def test_emergency_that_is_back_after_a_sold_out_rings_whatever_milder_state_comes(milder: str) -> None:
    assert f"{EXPIRE} MANDATORY_EXIT reissue" in told("MSSM" + milder * EXPIRE)
    assert held_back("MSSM")[-1] == "3 MANDATORY_EXIT known"


def test_emergency_that_is_sold_out_once_more_is_over_and_says_so_to_nobody() -> None:
    assert told("MSSMSS" + "U" * EXPIRE) == ["0 MANDATORY_EXIT", "2 SOLD_OUT", "7 UNKNOWN"]
    assert held_back("MSSMSS")[-1] == "5 SOLD_OUT known"


def test_acknowledgement_answers_an_emergency_that_is_back_after_a_sold_out() -> None:
    assert not any("reissue" in page for page in told("MSSM" + "M" * DAY, {0.5: "ack"}))


# An acknowledged emergency that is calm


def test_acknowledged_emergency_is_over_after_a_day_in_which_nothing_asks_for_an_exit() -> None:
    quiet = "NM" + "W" * (DAY + 1)
    assert told(quiet + "M", {1.5: "ack"}) == ["1 MANDATORY_EXIT", "2 WARNING", f"{len(quiet)} MANDATORY_EXIT"]
    assert held_back(quiet, {1.5: "ack"}) == [f"{DAY + 1} NORMAL calm"]
    assert told("NM" + "W" * 960 + "M" * 12, {1.5: "ack"})[2:] == ["962 MANDATORY_EXIT"]


@pytest.mark.parametrize("between", ["W" * (DAY - 1), "U" * 2 * DAY, ("W" * 48 + "L") * 4, ("W" * 48 + "M") * 4])
def test_acknowledged_emergency_stays_answered_until_it_was_calm_for_a_day(between: str) -> None:
    pages = told("M" + between + "M", {0.5: "ack"})
    assert [page for page in pages if "MANDATORY" in page] == ["0 MANDATORY_EXIT"]


def test_emergency_that_nobody_has_answered_rings_through_any_calm() -> None:
    assert told("M" + "W" * 2 * DAY)[-1].endswith("MANDATORY_EXIT reissue")


def test_all_clear_is_told_although_the_emergency_was_over_before() -> None:
    assert told("M" + "W" * (DAY + 2) + "NN", {0.5: "ack"})[-1] == f"{DAY + 4} NORMAL"


# Reminders


def test_acknowledged_emergency_that_stands_is_reminded_of_after_four_hours_and_then_daily() -> None:
    first = 4 * HOUR + 1
    assert told("M" * (first + 2 * DAY), {1: "ack"}) == [
        "0 MANDATORY_EXIT",
        f"{first} REMINDER",
        f"{first + DAY} REMINDER repeat",
    ]


@pytest.mark.parametrize("response", ["flat", "verified_flat"])
def test_closed_position_is_not_reminded_of_its_emergency(response: str) -> None:
    assert not any("REMINDER" in page for page in told("M" * 2 * DAY, {1: "ack", 2: response}))


def test_emergency_is_reminded_of_only_while_it_stands() -> None:
    quiet = "MM" + "W" * 4 * HOUR
    assert told(quiet + "W", {1: "ack"}) == ["0 MANDATORY_EXIT", "2 WARNING"]
    assert told(quiet + "M", {1: "ack"})[-1] == f"{len(quiet)} REMINDER"
    assert "17 REMINDER" in told("MM" + "U" * 4 * HOUR, {1: "ack"})


# Stopped out


def test_stopped_out_grid_says_so_once() -> None:
    assert told("T" * 3 * DAY) == ["0 MANDATORY_EXIT"]
    assert told("TT" + "T" * 3 * DAY, {1: "ack"}) == ["0 MANDATORY_EXIT"]
    assert told("T" + "U" * (EXPIRE + 1)) == ["0 MANDATORY_EXIT", "2 UNKNOWN"]
    assert told("TSST") == ["0 MANDATORY_EXIT", "2 SOLD_OUT"]


def test_stopped_out_grid_is_reissued_where_an_account_shows_inventory() -> None:
    assert told("H" * (EXPIRE + 1)) == ["0 MANDATORY_EXIT", f"{EXPIRE} MANDATORY_EXIT reissue"]
    assert told("T" + "H" * EXPIRE)[-1] == f"{EXPIRE} MANDATORY_EXIT reissue"
    assert "17 REMINDER" in told("H" * 4 * HOUR + "HH", {1: "ack"})


def test_new_trigger_of_a_stopped_out_grid_pages() -> None:
    (_, first), (_, second) = decisions("MT")
    assert (first.triggers, second.triggers) == (("closes_outside",), ("closes_outside", "stop_loss_breached"))


@pytest.mark.parametrize("response", ["ack", "flat"])
def test_response_counts_from_its_moment_on(response: str) -> None:
    in_time = told("M" * (EXPIRE + 1), {EXPIRE: response})
    too_late = told("M" * (EXPIRE + 1), {EXPIRE + 0.01: response})
    assert in_time == ["0 MANDATORY_EXIT"]
    assert too_late == ["0 MANDATORY_EXIT", f"{EXPIRE} MANDATORY_EXIT reissue"]


def test_acknowledgement_of_an_earlier_page_leaves_the_newest_unanswered() -> None:
    story = told("MX" + "X" * EXPIRE, {1: "ack"})
    assert story == ["0 MANDATORY_EXIT", "1 MANDATORY_EXIT new_trigger", f"{EXPIRE + 1} MANDATORY_EXIT reissue"]


def test_new_trigger_pages_again_although_acknowledged() -> None:
    assert told("MMX", {1: "ack"}) == ["0 MANDATORY_EXIT", "2 MANDATORY_EXIT new_trigger"]


def test_trigger_that_returns_is_not_new() -> None:
    assert told("XMXMX", {1: "ack"}) == ["0 MANDATORY_EXIT"]


def test_flat_position_silences_the_triggers_that_were_told_and_milder_states() -> None:
    assert told("MM" + "LW" * 20 + "MS", {1: "flat"}) == ["0 MANDATORY_EXIT"]


def test_word_that_the_position_is_closed_stands_against_a_new_trigger() -> None:
    assert told("MX" + "X" * EXPIRE, {0.5: "flat"}) == ["0 MANDATORY_EXIT"]


@pytest.mark.parametrize("story", ["MX" + "X" * EXPIRE, "LM" + "X" * EXPIRE, "MM" + "U" * EXPIRE])
def test_position_that_its_account_shows_closed_is_told_of_nothing_new(story: str) -> None:
    first = told(story[0])
    blind = [line for line in told(story) if "UNKNOWN" in line]
    assert told(story, {0.5: "verified_flat"}) == first + blind
    assert told(story, {0.5: "verified_flat", 0.7: "flat"}) == first + blind


@pytest.mark.parametrize("word", ["flat", "verified_flat"])
def test_closed_position_is_silent_through_every_turn_until_it_is_open_again(word: str) -> None:
    story = "MM" + "NNMLWMS" * 3
    assert told(story, {0.5: word}) == ["0 MANDATORY_EXIT"]
    assert held_back(story, {0.5: word})[0] == "3 NORMAL nothing_held"
    assert told(story, {0.5: word, 9.5: "reopened"})[1].startswith("11 ")


def test_grid_reported_flat_is_said_once_to_be_still_enabled() -> None:
    story = "M" + "NNMLWU" * DAY
    assert [page for page in told(story, {1: "flat"}) if "UNKNOWN" not in page] == [
        "0 MANDATORY_EXIT",
        f"{DAY + 1} STILL_ENABLED",
    ]
    assert not any("STILL" in page for page in told(story, {1: "verified_flat"}))
    assert not any("STILL" in page for page in told("M" * DAY, {1: "flat"}))


def test_outage_of_a_closed_position_and_its_end_are_told() -> None:
    assert told("MMUUNN", {1: "flat"}) == ["0 MANDATORY_EXIT", "3 UNKNOWN", "5 NORMAL"]


def test_first_exit_of_a_closed_position_is_told_anew_when_it_is_seen_open() -> None:
    story = "MX" + "X" * EXPIRE
    assert told(story, {0.5: "verified_flat", 1: "reopened"})[1].startswith("1 MANDATORY_EXIT")


@pytest.mark.parametrize("state", ["L", "M", "W"])
def test_position_that_is_seen_open_again_is_told_of_anew(state: str) -> None:
    notice = told(state)[0].split()[1]
    assert told(f"{state}{state}{state}", {1: "ack"}) == [f"0 {notice}"]
    assert told(f"{state}{state}{state}", {1: "flat", 2: "reopened"}) == [f"0 {notice}", f"2 {notice}"]


def test_flat_position_stays_flat_through_an_outage() -> None:
    story = told("MM" + "UU" + "MMLWS", {1: "flat"})
    assert story == ["0 MANDATORY_EXIT", "3 UNKNOWN"]


def test_flat_position_stays_flat_after_all_clear() -> None:
    assert told("MMNNM", {1: "flat"}) == ["0 MANDATORY_EXIT"]


def test_word_that_the_position_is_closed_stands_against_something_graver() -> None:
    assert told("LLM", {1: "flat"}) == ["0 LATEST_ACCEPTABLE_EXIT"]


def test_position_reported_flat_only_after_a_reissue_counts_from_its_moment() -> None:
    _, history = lived("M" * (EXPIRE + 1))
    known = history.answered(Response(grid="eth", at=NOON + BAR, kind=ResponseKind.FLAT))
    later = judged("M", 2 * EXPIRE)
    assert [one.cause for one in decide_all([later], {"eth": history}, POLICY)] == ["reissue"]
    assert decide_all([later], {"eth": known}, POLICY) == []


def test_position_that_was_closed_before_anything_was_told_stays_closed() -> None:
    assert told("NN" + "M" * (EXPIRE + 1), {1: "flat"}) == []


def test_standing_mandatory_exit_is_reissued_while_the_grid_is_blind() -> None:
    assert told("M" + "U" * (EXPIRE + 1)) == ["0 MANDATORY_EXIT", "2 UNKNOWN", f"{EXPIRE} MANDATORY_EXIT reissue"]


@pytest.mark.parametrize("response", ["ack", "flat"])
def test_answered_mandatory_exit_is_not_reissued_while_the_grid_is_blind(response: str) -> None:
    assert told("MM" + "U" * EXPIRE, {1: response}) == ["0 MANDATORY_EXIT", "3 UNKNOWN"]


def test_mandatory_exit_that_was_over_is_not_reissued_while_the_grid_is_blind() -> None:
    assert told("MNN" + "U" * EXPIRE) == ["0 MANDATORY_EXIT", "2 NORMAL", "4 UNKNOWN"]
    assert told("MN" + "U" * EXPIRE)[-1] == f"{EXPIRE} MANDATORY_EXIT reissue"
    assert told("MW" + "U" * EXPIRE)[-1] == f"{EXPIRE} MANDATORY_EXIT reissue"


def test_grid_that_was_sold_out_last_is_not_reissued_as_an_exit_while_it_is_blind() -> None:
    assert told("MSS" + "U" * EXPIRE) == ["0 MANDATORY_EXIT", "2 SOLD_OUT", "4 UNKNOWN"]
    assert told("MS" + "U" * EXPIRE)[-1] == f"{EXPIRE} MANDATORY_EXIT reissue"


def test_unanswered_mandatory_exit_goes_on_through_an_outage() -> None:
    assert told("MMUUM") == ["0 MANDATORY_EXIT", "3 UNKNOWN"]


# LATEST_ACCEPTABLE_EXIT


def test_latest_acceptable_exit_is_told_on_change_then_hourly() -> None:
    story = told("N" + "L" * 10)
    assert story == ["1 LATEST_ACCEPTABLE_EXIT", *(f"{bar} LATEST_ACCEPTABLE_EXIT repeat" for bar in (5, 9))]


@pytest.mark.parametrize("response", ["ack", "flat"])
def test_answered_latest_acceptable_exit_is_not_repeated(response: str) -> None:
    story = told("L" * DAY, {HOUR + 1: response})
    assert story == ["0 LATEST_ACCEPTABLE_EXIT", f"{HOUR} LATEST_ACCEPTABLE_EXIT repeat"]


def test_latest_acceptable_exit_seen_again_before_anything_else_was_told_is_no_news() -> None:
    assert told("LNLUL") == ["0 LATEST_ACCEPTABLE_EXIT", "4 LATEST_ACCEPTABLE_EXIT repeat"]


def test_fall_from_mandatory_to_latest_acceptable_exit_is_a_change_and_the_way_back_is_none() -> None:
    assert told("MLM") == ["0 MANDATORY_EXIT", "1 LATEST_ACCEPTABLE_EXIT"]


# WARNING


def test_warning_is_told_on_change_alone() -> None:
    assert told("N" + "W" * DAY) == ["1 WARNING"]


def test_second_warning_waits_for_four_hours_and_is_told_if_it_still_holds() -> None:
    stays, ends = "WNN" + "W" * 20, "WNN" + "W" * 5 + "N" * 20
    assert told(stays) == ["0 WARNING", f"{4 * HOUR} WARNING"]
    assert told(ends) == ["0 WARNING"]
    assert held_back(stays)[1:] == held_back(ends)[1:] == ["3 WARNING min_interval"]


def test_warning_is_pushed_only_where_the_policy_has_it_so() -> None:
    calibrated = load_settings(policy="calibrated").notify
    assert (POLICY.warning.push, calibrated.warning.push) == (True, False)
    assert told("NWWLW", policy=calibrated) == ["3 LATEST_ACCEPTABLE_EXIT"]
    assert held_back("NWWLW", policy=calibrated) == ["1 WARNING not_pushed", "4 WARNING not_pushed"]
    assert told("LWLWL", {0.5: "ack"}, policy=calibrated) == ["0 LATEST_ACCEPTABLE_EXIT"]


@pytest.mark.parametrize("state", ["LATEST_ACCEPTABLE_EXIT", "WARNING", "NORMAL"])
def test_nothing_milder_than_mandatory_is_told_while_nothing_is_held(state: str) -> None:
    states = [judged("M", 0), *(judged("N", bar, state=state, is_sold_out=True) for bar in (1, 2, 3))]
    made = replay(states, [], POLICY)
    assert [one.notice for one in made if one.is_told] == ["MANDATORY_EXIT"]


def test_warning_after_a_graver_state_waits_for_its_four_hours_too() -> None:
    assert told("WL" + "W" * 16)[2:] == [f"{4 * HOUR} WARNING"]


# NORMAL


def test_normal_is_told_after_two_evaluations_and_once() -> None:
    assert told("L" + "N" * DAY) == ["0 LATEST_ACCEPTABLE_EXIT", "2 NORMAL"]


def test_normal_after_nothing_that_asked_for_an_exit_is_decided_and_not_sent() -> None:
    assert told("WNN" + "SNN") == ["0 WARNING", "3 SOLD_OUT"]
    assert held_back("WNN" + "SNN") == ["2 NORMAL nothing_to_clear", "5 NORMAL nothing_to_clear"]
    assert told("W" + "NN" + "W" * 14)[-1] == "16 WARNING"  # the all-clear made it news


def test_normal_that_does_not_last_is_not_told() -> None:
    assert told("WNWNWN") == ["0 WARNING"]


def test_normal_is_told_only_where_something_else_was() -> None:
    assert told("N" * DAY) == []
    assert told("LNN" + "W" + "N" * 10) == ["0 LATEST_ACCEPTABLE_EXIT", "2 NORMAL", "3 WARNING"]


# UNKNOWN


def test_unknown_is_told_after_two_evaluations_then_after_four_and_twelve_hours_then_daily() -> None:
    bars = (2, 2 + 4 * HOUR, 2 + 12 * HOUR, 2 + 12 * HOUR + DAY, 2 + 12 * HOUR + 2 * DAY)
    first, *others = told("N" + "U" * 4 * DAY)[:5]
    assert first == "2 UNKNOWN"
    assert others == [f"{bar} UNKNOWN repeat" for bar in bars[1:]]


def test_single_unknown_is_not_told() -> None:
    assert told("NUNUNU") == []


def test_outage_that_comes_and_goes_is_told_and_repeats_like_any_other() -> None:
    bars = [6, 6 + 4 * HOUR, 6 + 12 * HOUR, 6 + 12 * HOUR + DAY]
    pages = told("UN" * DAY)
    assert [int(page.split()[0]) for page in pages] == bars
    assert {page.split()[1] for page in pages} == {"UNKNOWN"}
    assert told("UWU" + "NUNU") == ["1 WARNING", "6 UNKNOWN"]


def test_outage_that_comes_and_goes_again_after_an_all_clear_is_news() -> None:
    assert told("UNUNUNU" + "NN" + "UNUNUNU") == ["6 UNKNOWN", "8 NORMAL", "9 UNKNOWN"]


def test_three_unknowns_of_eight_are_not_told() -> None:
    assert told("UNNUNNUN" * 12) == []


def test_failure_that_has_lasted_two_evaluations_is_told_at_the_first_unknown() -> None:
    assert told("NF") == ["1 UNKNOWN"]
    assert told("NFFF") == ["1 UNKNOWN"]


def test_each_outage_that_lasts_is_told_anew() -> None:
    assert told("NUUNUU") == ["2 UNKNOWN", "5 UNKNOWN"]


def test_recovery_from_an_outage_is_told_once_it_has_lasted() -> None:
    assert told("NUUNN") == ["2 UNKNOWN", "4 NORMAL"]


def test_state_seen_again_after_an_outage_that_was_told_is_news() -> None:
    assert told("LUUL") == ["0 LATEST_ACCEPTABLE_EXIT", "2 UNKNOWN", "3 LATEST_ACCEPTABLE_EXIT"]


def test_state_seen_again_after_one_unknown_is_no_news() -> None:
    assert told("LULU") == ["0 LATEST_ACCEPTABLE_EXIT"]


def test_disabled_grid_that_is_blind_is_not_told_of() -> None:
    assert told("B" * 4 * DAY) == []


# SOLD_OUT


def test_grid_above_its_range_without_inventory_is_told_as_sold_out() -> None:
    assert told("N" + "S" * DAY) == ["1 SOLD_OUT"]


def test_sold_out_after_a_mandatory_page_is_a_change_and_ends_its_reissues() -> None:
    assert told("M" + "S" * DAY) == ["0 MANDATORY_EXIT", "2 SOLD_OUT"]
    assert told("M" + "S" * DAY, {0.5: "ack"}) == ["0 MANDATORY_EXIT", "1 SOLD_OUT"]


def test_price_back_in_the_grid_with_a_latched_trigger_is_a_mandatory_exit() -> None:
    assert told("SM") == ["0 SOLD_OUT", "1 MANDATORY_EXIT"]


# ENTER


def test_enter_is_told_on_change_alone() -> None:
    assert told("AI" + "E" * DAY) == ["2 ENTER"]


def test_second_enter_waits_for_four_hours_and_is_told_if_it_still_holds() -> None:
    stays = "EA" + "E" * 20
    assert told(stays) == ["0 ENTER", f"{4 * HOUR} ENTER"]
    assert held_back(stays) == ["2 ENTER min_interval"]
    assert told("EA" + "E" * 5 + "I" * 20) == ["0 ENTER"]


def test_disabled_grid_is_told_nothing_but_enter() -> None:
    assert told("AIBEAIB" * 20)[0] == "3 ENTER"
    assert {page.split()[1] for page in told("AIBEAIB" * 20)} == {"ENTER"}


# Settings


CHANGED: dict[str, Any] = {
    "notify.max_lateness": "10min",
    "notify.mandatory_exit.priority": 1,
    "notify.mandatory_exit.window": "30min",
    "notify.mandatory_exit.retry": "90s",
    "notify.mandatory_exit.expire": "2h",
    "notify.mandatory_exit.quick_reissues": 2,
    "notify.mandatory_exit.then_every": "12h",
    "notify.mandatory_exit.episode_ends_after": "12h",
    "notify.latest_acceptable_exit.priority": 2,
    "notify.latest_acceptable_exit.window": "30min",
    "notify.latest_acceptable_exit.repeat": "2h",
    "notify.warning.push": False,
    "notify.warning.priority": 1,
    "notify.warning.window": "2h",
    "notify.warning.min_interval": "1h",
    "notify.normal.priority": 0,
    "notify.normal.after_evaluations": 3,
    "notify.unknown.priority": 0,
    "notify.unknown.after_evaluations": 1,
    "notify.unknown.flapping_count": 3,
    "notify.unknown.flapping_of": 6,
    "notify.unknown.second_after": "2h",
    "notify.unknown.third_after": "8h",
    "notify.unknown.then_every": "12h",
    "notify.sold_out.priority": 1,
    "notify.reminder.priority": 1,
    "notify.reminder.first_after": "2h",
    "notify.reminder.then_every": "12h",
    "notify.still_enabled.priority": 0,
    "notify.still_enabled.after": "12h",
    "notify.enter.priority": 1,
    "notify.enter.min_interval": "1h",
    "notify.budget.pages": 6,
    "notify.budget.per": "6h",
}
"""Another value for each."""
STORIES = (
    "M" * 2 * DAY,
    "L" * 45 + "NNN" + "W" * DAY,
    "WNNN" + "W" * DAY,
    "N" + "U" * 3 * DAY,
    "EA" + "E" * DAY,
    "UN" * 24,
)
STORIES = ("MM" + "W" * 60 + "M", *STORIES)
PAGED = {"M": "MMM", "L": "LLL", "W": "WWW", "N": "LNN", "U": "UUU", "S": "SSS", "E": "EEE", "R": "MMM", "F": "MMM"}
"""By grid, states of three ticks that are each a quarter of an hour late."""
ANSWERED = {"R": ResponseKind.ACKNOWLEDGED, "F": ResponseKind.FLAT}
"""By grid, what is answered after the first tick."""
SOON = {"notify.reminder.first_after": "15min", "notify.still_enabled.after": "15min"}
"""Reminders within three ticks."""
SEEN_IN_PAGES = (".priority", ".window", ".retry", ".max_lateness")
"""What changes no decision but its page, or whether there is one."""


def changed_settings(key: str, value: Any, **others: Any) -> Settings:
    content = load_settings(policy="seed").model_dump(mode="json")
    for changed, to in {**others, key: value}.items():
        *sections, name = changed.split(".")
        place = content
        for section in sections:
            place = place[section]
        assert place[name] != to, f"{changed} is {to} already"
        place[name] = to
    return Settings.model_validate(content)


def pages_of(settings: Settings) -> dict[str, Page]:
    """Every page of the paged grids, as committed."""
    clock = MovingClock()
    rows: dict[str, list[ScriptedRow]] = {name: [] for name in PAGED}
    with TemporaryDirectory() as folder, Journal(sqlite_url(Path(folder) / "journal.db")) as journal:
        watch = ScriptedWatch(journal, {}, settings, clock)
        grids = {name: grid(name.lower(), enabled=name != "E") for name in PAGED}
        journal.observe_grids(list(grids.values()), at_bar(0))
        for bar in range(3):
            clock.at = at_bar(bar + 1)
            for name, story in PAGED.items():
                rows[name].append(ScriptedRow(at_bar(bar), story[bar], grids[name]))
            known = {grids[name].id: found for name, found in rows.items()}
            watch.record(at_bar(bar), known)
            decided = watch.tell(at_bar(bar), known)
            if bar == 0:
                answer(journal, decided, clock)
        return {page.page: page for page in journal.notifications.pages()}


def answer(journal: Journal, decided: list[DecisionRecord], clock: MovingClock) -> None:
    """What ``ANSWERED`` says."""
    for one in decided:
        kind = ANSWERED.get(one.decision.grid.upper())
        if kind is not None:
            page = one.decision.page if kind is ResponseKind.ACKNOWLEDGED else ""
            said = Response(grid=one.decision.grid, at=clock.at, kind=kind, page=page)
            journal.responses.record(
                [ResponseRecord(response=said, source="", by_whom="", recorded_at=clock.at, **WRITTEN_BY)]
            )


@lru_cache(maxsize=1)
def shipped_pages() -> Mapping[str, Page]:
    return pages_of(changed_settings(*next(iter(SOON.items())), **SOON))


def test_every_notice_has_a_page_of_the_priority_and_window_of_the_table() -> None:
    table = {
        "MANDATORY_EXIT": (2, 60, 10_800, 15),
        "LATEST_ACCEPTABLE_EXIT": (1, None, None, 60),
        "WARNING": (0, None, None, 240),
        "NORMAL": (-1, None, None, None),
        "UNKNOWN": (1, None, None, None),
        "SOLD_OUT": (0, None, None, None),
        "REMINDER": (0, None, None, None),
        "STILL_ENABLED": (-1, None, None, None),
        "ENTER": (0, None, None, None),
    }
    found = {
        page.notice: (
            page.priority,
            page.retry_s,
            page.expire_s,
            None if page.respond_by is None else (page.respond_by - page.decided_at).total_seconds() / 60,
        )
        for page in shipped_pages().values()
    }
    assert found == table


def test_every_setting_of_the_section_is_tried() -> None:
    keys = {info.key for info in describe(load_settings()) if info.key.startswith("notify.")}
    assert keys == {*CHANGED, "notify.decided_after", "notify.sold_out.dust_share"}


@pytest.mark.parametrize(
    ("held_base", "share", "is_it"),
    [(0.0, 0.1, True), (None, 0.1, True), (0.05, 0.1, True), (0.05, 0.01, False), (0.5, 0.1, False)],
)
def test_grid_above_its_range_is_sold_out_with_dust_and_not_with_more(
    held_base: float | None, share: float, *, is_it: bool
) -> None:
    declared = hundreds_grid()  # the smallest interval holds 0.83 of the base
    policy = changed_settings("notify.sold_out.dust_share", share).notify if share != 0.1 else POLICY
    row = {
        "grid": declared.id,
        "evaluated_at": NOON,
        "state": "MANDATORY_EXIT",
        "grid_version": declared.version_hash,
        "reasons": ["closes_outside"],
        "position_health": "ABOVE_GRID",
        "risk": {"inventory_base": held_base},
    }
    schema = {"risk": pl.Struct({"inventory_base": pl.Float64})}
    states = pl.DataFrame([row], schema_overrides=schema)
    (one,) = judged_in(states, {declared.version_hash: declared}, policy, kind="exit")
    assert one.is_sold_out is is_it


def test_moment_until_which_a_replay_takes_answers_flips_a_decision() -> None:
    states = [judged("M", bar) for bar in range(EXPIRE + 1)]
    flat = Response(grid="eth", at=states[-1].evaluated_at + timedelta(minutes=2), kind=ResponseKind.FLAT)
    patient = changed_settings("notify.decided_after", "3min").notify
    assert [len(replay(states, [flat], policy)) for policy in (POLICY, patient)] == [2, 1]


@pytest.mark.parametrize("key", [key for key in CHANGED if not key.endswith(SEEN_IN_PAGES)])
def test_setting_changed_flips_a_decision(key: str) -> None:
    policy = changed_settings(key, CHANGED[key]).notify
    answers: tuple[dict[float, str], ...] = ({}, {1: "flat"}, {1: "ack"})
    assert any(
        decisions(story, given) != decisions(story, given, policy=policy) for given in answers for story in STORIES
    )


@pytest.mark.parametrize("key", [key for key in CHANGED if key.endswith((*SEEN_IN_PAGES, ".expire"))])
def test_setting_changed_flips_a_page(key: str) -> None:
    before, after = shipped_pages(), pages_of(changed_settings(key, CHANGED[key], **SOON))
    section = key.split(".")[1].upper()
    about = {page for page, found in before.items() if section in (found.notice, "MAX_LATENESS")}
    assert about
    assert all(before[page] != after.get(page) for page in about)
    assert all(before[page] == after.get(page) for page in before.keys() - about)


def test_nothing_is_told_of_an_evaluation_that_is_too_late() -> None:
    assert pages_of(changed_settings("notify.max_lateness", CHANGED["notify.max_lateness"])) == {}


@pytest.mark.parametrize("state", ["M", "L", "W", "N", "U"])
def test_contradicted_report_of_flat_is_an_emergency_once_whatever_the_state(state: str) -> None:
    story = told("MM" + state * 4, {1: "ack", 1.2: "flat", 1.8: "reopened", 1.9: "contradicted"})
    paged = [line for line in story if line.endswith("contradicted")]
    assert paged == ["2 MANDATORY_EXIT contradicted"]


def test_state_pages_after_a_contradicted_report_as_if_nobody_had_said_flat() -> None:
    answers = {1: "ack", 1.2: "flat", 1.8: "reopened", 1.9: "contradicted"}
    story = told("M" * (EXPIRE + 5), answers)
    assert story == [
        "0 MANDATORY_EXIT",
        "2 MANDATORY_EXIT contradicted",
        f"{EXPIRE + 2} MANDATORY_EXIT reissue",
    ]
    assert told("M" * (EXPIRE + 5), answers | {4: "ack"}) == story[:2]


CONTRADICTED: dict[float, str] = {0.2: "flat", 0.8: "reopened", 0.9: "contradicted"}


@pytest.mark.parametrize("state", ["I", "A", "E", "B"])
def test_contradicted_report_about_a_disabled_grid_rings_until_it_is_answered(state: str) -> None:
    pages = [page for page in told("I" + state * (2 * EXPIRE + 2), CONTRADICTED) if "MANDATORY" in page]
    assert pages == [
        "1 MANDATORY_EXIT contradicted",
        f"{EXPIRE + 1} MANDATORY_EXIT reissue",
        f"{2 * EXPIRE + 1} MANDATORY_EXIT reissue",
    ]


@pytest.mark.parametrize("word", ["flat", "reopened"])
def test_word_ends_the_emergency_of_a_disabled_grid(word: str) -> None:
    assert told("I" * 2 * DAY, CONTRADICTED | {2.0: word}) == ["1 MANDATORY_EXIT contradicted"]


def test_acknowledged_emergency_of_a_disabled_grid_is_reminded_of_until_a_word_ends_it() -> None:
    answers = CONTRADICTED | {2.0: "ack", 2.0 + DAY + 8 * HOUR: "flat"}
    assert told("I" * 3 * DAY, answers) == [
        "1 MANDATORY_EXIT contradicted",
        f"{2 + 4 * HOUR} REMINDER",
        f"{2 + 4 * HOUR + DAY} REMINDER repeat",
    ]


def test_flat_of_a_disabled_grid_that_is_contradicted_again_is_an_emergency_again() -> None:
    again = {2.0: "flat", 3.0: "reopened", 3.1: "contradicted"}
    assert told("I" * 5, CONTRADICTED | again) == ["1 MANDATORY_EXIT contradicted", "4 MANDATORY_EXIT contradicted"]


@pytest.mark.parametrize("state", ["I", "E", "B"])
def test_new_start_of_a_disabled_grid_ends_no_emergency(state: str) -> None:
    story = f"II{state * 3}|{state * (EXPIRE + 2)}"
    pages = [page for page in told(story, CONTRADICTED) if "MANDATORY" in page]
    assert pages == ["1 MANDATORY_EXIT contradicted", f"{EXPIRE + 1} MANDATORY_EXIT reissue"]


def test_word_of_flat_outlasts_a_new_start_of_a_disabled_grid() -> None:
    assert told("III|" + "I" * 2 * DAY, CONTRADICTED | {2.0: "flat"}) == ["1 MANDATORY_EXIT contradicted"]


def test_enter_is_no_news_again_because_a_disabled_grid_was_edited() -> None:
    assert told("EEE|EEE") == ["0 ENTER"]
