"""What pages say, in full, beside ``golden/page_texts.txt``; and what no page may ever say.

Changed wording is written anew by ``MM_WRITE_GOLDEN=1 python -m pytest mm_pipeline_tests/unit/test_page_text.py``: read
it as one who was just woken.
"""

import os
import re
from dataclasses import replace
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from mm_pipeline.domain.exit_state import TRIGGERS
from mm_pipeline.domain.notifications.channel import TEXT_LIMIT, TITLE_LIMIT
from mm_pipeline.domain.notifications.decision import Cause, Decision, Notice
from mm_pipeline.reporting.pages.text import PageText, page_text
from mm_pipeline.reporting.pages.words import position_line
from mm_pipeline_tests.page_samples import (
    AT,
    POLICY,
    PROPOSAL,
    RISK,
    STALE,
    a_report,
    blind,
    decided,
    pages,
    rendered,
    said,
    with_cost,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "page_texts.txt"


def test_every_page_reads_as_it_did() -> None:
    now = rendered(pages())
    if os.environ.get("MM_WRITE_GOLDEN"):
        GOLDEN.write_text(now, encoding="utf-8")
    assert now == GOLDEN.read_text(encoding="utf-8"), __doc__


NUMBER = r"-?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?"
UNIT = (
    r"(?:times|USDT|BTC|ETH|quote|ATR\(4h\)|ATR|%|min|h|d|closes|bars|levels|x|of 1|evaluations?|more grids?)"
    r"(?!\w)"
)
NAMES = r"(?:mm (?:ack|flat|evaluate --grid) \S+|eth-\w+|[A-Z0-9]+/[A-Z0-9]+)"
TIME = r"(?:\d{4}-\d\d-\d\d )?\d\d:\d\d UTC"
WITH_UNIT = "|".join(
    (
        *(NAMES, TIME, r"\d+(?:st|nd|rd|th) page", rf"\bp={NUMBER}", r"\bp50 / p90\b"),
        rf"{NUMBER}(?: (?:>=|<=|>|/|to) {NUMBER})*\s?{UNIT}",
    )
)


def bare_numbers(text: str) -> list[str]:
    """Numbers that no unit, name or time accounts for."""
    return re.findall(NUMBER, re.sub(WITH_UNIT, "", text))


@pytest.mark.parametrize("text", ["price 3,061.25.", "5 >= 4", "0.15 >= 0.10 of", "1.31 > 1.25 xy", "page 2", "p50 3"])
def test_number_without_unit_is_found(text: str) -> None:
    assert bare_numbers(text)


@pytest.mark.parametrize("page", pages().values(), ids=pages())
def test_every_number_has_a_unit(page: PageText) -> None:
    assert re.search(r"\d", page.text)
    assert bare_numbers(f"{page.title}\n{page.text}") == []


@pytest.mark.parametrize("page", pages().values(), ids=pages())
def test_page_is_plain_text_within_the_limits(page: PageText) -> None:
    assert (len(page.title) <= TITLE_LIMIT, len(page.text) <= TEXT_LIMIT) == (True, True)
    assert not re.search(r"<[a-z/]|&\w+;", page.text)


ASKED = {
    Notice.MANDATORY_EXIT: "exit within 15 min, by 03:16 UTC",
    Notice.LATEST_ACCEPTABLE_EXIT: "exit within 60 min, by 04:01 UTC",
    Notice.WARNING: "prepare to exit, decide within 4 h, by 07:01 UTC",
    Notice.NORMAL: "nothing to do",
    Notice.UNKNOWN: "check the grid on the exchange",
    Notice.SOLD_OUT: "set the range anew",
    Notice.REMINDER: "the acknowledged MANDATORY EXIT still stands",
    Notice.STILL_ENABLED: "reported flat, you get no exit alarm for it",
    Notice.ENTER: "the market ranges, and a range is proposed",
}


@pytest.mark.parametrize("notice", Notice)
def test_first_hundred_characters_say_the_state_the_grid_and_what_to_do(notice: Notice) -> None:
    page = said(decided(notice), a_report(decided(notice).state, *TRIGGERS))
    words = notice.value.replace("_", " ")
    assert page.title.startswith(f"{words} eth-main: ")
    assert page.text.startswith(words)
    assert ASKED[notice] in page.title[:100]
    assert ASKED[notice].partition(", by")[0] in page.text[:100]


EXIT_WORDS = re.compile(r"exit|risk|give-?back|worst case|mm flat|stop distance|leave", re.IGNORECASE)
ENTRY_WORDS = re.compile(r"\benter\b|\bentry\b|\bentering\b|propos|to start:|enabled: true", re.IGNORECASE)


POSSIBLE = [
    (notice, cause)
    for notice, cause in product(Notice, Cause)
    if cause is not Cause.CONTRADICTED or notice is Notice.MANDATORY_EXIT
]


@pytest.mark.parametrize(("notice", "cause"), POSSIBLE)
def test_exit_and_entry_never_stand_in_one_page(notice: Notice, cause: Cause) -> None:
    """Although the report has everything: all triggers, a proposed range, risk, and a reason that speaks of both."""
    state = decided(notice).state
    reasons = ("exit: capital at risk",) if notice is Notice.ENTER else (STALE,)
    report = a_report(state, *TRIGGERS, proposal=PROPOSAL, reasons=reasons, last_known_state="WARNING")
    page = said(decided(notice, cause, number=2), report)
    speaks_of_exit, speaks_of_entry = (
        bool(words.search(f"{page.title}\n{page.text}")) for words in (EXIT_WORDS, ENTRY_WORDS)
    )
    assert speaks_of_entry == (notice is Notice.ENTER)
    if notice in (Notice.ENTER, Notice.SOLD_OUT):
        assert not speaks_of_exit
    if notice in (Notice.MANDATORY_EXIT, Notice.LATEST_ACCEPTABLE_EXIT, Notice.WARNING):
        assert speaks_of_exit


def test_emergency_of_a_disabled_grid_says_at_every_page_that_it_is_not_flat() -> None:
    again = decided(Notice.MANDATORY_EXIT, Cause.REISSUE, number=2, kind="entry", state="WAIT")
    page = said(again, a_report("WAIT"))
    assert page.title.startswith("NOT FLAT eth-main: you reported flat, the account still holds (2nd page, nobody")
    assert "the alarm expired unanswered" in page.text
    reminder = said(decided(Notice.REMINDER, kind="entry", state="WAIT"), a_report("WAIT"))
    assert "its account held it after it was reported flat, exit if not done" in reminder.title
    assert "MANDATORY EXIT still stands" not in reminder.text


def test_standing_exit_of_a_blind_grid_is_said_first() -> None:
    page = blind(("eth-a", "NORMAL"), ("eth-b", "MANDATORY_EXIT"), ("eth-c", None))
    assert page.title.startswith(
        "UNKNOWN eth-b and 2 more grids: blind, MANDATORY EXIT of eth-b stays in force, EXIT NOW"
    )
    assert page.text.splitlines()[1] == "MANDATORY EXIT of eth-b stays in force: EXIT NOW if not done."
    assert "stays in force" not in blind(("eth-a", "NORMAL")).text


@pytest.mark.parametrize(
    ("priority", "ways"), [(1, "Acknowledge with: mm ack"), (2, "Acknowledge in Pushover or with: mm")]
)
@pytest.mark.parametrize("notice", [Notice.MANDATORY_EXIT, Notice.LATEST_ACCEPTABLE_EXIT])
def test_only_an_emergency_is_acknowledged_in_pushover(notice: Notice, priority: int, ways: str) -> None:
    rules = getattr(POLICY, notice.value.lower()).model_copy(update={"priority": priority})
    policy = POLICY.model_copy(update={notice.value.lower(): rules})
    assert f"\n{ways}" in page_text([decided(notice)], {}, policy).text


def test_window_begins_when_the_page_is_decided() -> None:
    late = page_text([decided(Notice.MANDATORY_EXIT)], {}, POLICY, decided_at=AT + timedelta(minutes=17))
    assert "exit within 15 min, by 03:32 UTC" in late.title


def test_stopped_out_position_is_to_be_checked_and_one_that_holds_is_to_be_left() -> None:
    report = with_cost(a_report(Notice.MANDATORY_EXIT, "stop_loss_breached"), RISK)
    nothing = replace(report, risk={**(report.risk or {}), "inventory_base": 0.0})
    titles = [page_text([decided(Notice.MANDATORY_EXIT)], {"eth-main": one}, POLICY).title for one in (report, nothing)]
    assert ["check" in title.lower() for title in titles] == [False, True]


def test_inventory_is_told_where_its_profit_is_not_known() -> None:
    report = with_cost(a_report(Notice.MANDATORY_EXIT, "stop_loss_breached"), RISK)
    money = dict.fromkeys(("total_pnl_quote", "grid_profit_quote", "unrealised_quote", "equity_quote"))
    why = "no fee was told of trade 7 of ETH/USDT"
    risk = {**(report.risk or {}), **money, "inventory_base": 0.2, "source": "exchange", "pnl_unknown": why}
    text = page_text([decided(Notice.MANDATORY_EXIT)], {"eth-main": replace(report, risk=risk)}, POLICY).text
    assert f"PnL not known: {why}." in text
    assert "Position (exchange): 0.2 ETH" in text


def test_position_that_is_not_known_says_so_with_both_figures() -> None:
    report = with_cost(a_report(Notice.MANDATORY_EXIT, "stop_loss_breached"), RISK)
    doubt = "the account holds 0.1039 ETH, fills say 0.2039"
    risk = {**(report.risk or {}), "inventory_base": None, "source": "exchange", "position_unknown": doubt}
    page = page_text([decided(Notice.MANDATORY_EXIT)], {"eth-main": replace(report, risk=risk)}, POLICY)
    assert f"Position (exchange): not known, {doubt}." in page.text
    assert "check" not in page.title.lower(), "nobody knows that nothing is held"


def test_reissue_tells_how_many_pages_nobody_answered_and_what_the_state_is_now() -> None:
    decision = decided(Notice.MANDATORY_EXIT, Cause.REISSUE, number=6, state="WARNING", triggers=("closes_outside",))
    page = said(decision, a_report("WARNING"))
    assert "6th page, nobody answered" in page.title
    assert (
        "It looks milder now (WARNING), but the emergency stands until the watch says NORMAL. It named: closes_outside."
        in page.text
    )


def test_window_counts_from_the_first_page_of_an_episode() -> None:
    half_way = decided(Notice.LATEST_ACCEPTABLE_EXIT, Cause.REPEAT, number=3)
    assert "exit within 30 min, by 03:31 UTC" in page_text([half_way], {}, POLICY).title
    news = decided(Notice.MANDATORY_EXIT, Cause.NEW_TRIGGER, number=30)
    assert "exit within 15 min" in page_text([news], {}, POLICY).title, "whose trigger nobody knew of before"
    over = decided(Notice.LATEST_ACCEPTABLE_EXIT, Cause.REPEAT, number=6)
    assert "exit NOW, the 60 min window ended 02:46 UTC" in page_text([over], {}, POLICY).title


@pytest.mark.parametrize(
    "decisions",
    [
        [],
        [decided(Notice.WARNING), decided(Notice.WARNING, grid="eth-wide")],
        [decided(Notice.UNKNOWN), decided(Notice.WARNING, grid="eth-wide")],
    ],
)
def test_decisions_of_different_pages_are_refused(decisions: list[Decision]) -> None:
    with pytest.raises(ValueError, match="a page has one notice"):
        page_text(decisions, {}, POLICY)


def test_risk_without_a_delay_is_refused() -> None:
    with pytest.raises(ValueError, match="giveback_p90_quote"):
        replace(RISK, giveback_p90_quote={"1h": 1.0})


@pytest.mark.parametrize(
    ("held", "told"),
    [
        ({}, "Position (exchange): 0.2517 ETH, "),
        ({"modelled_inventory_base": 0.2517}, "Position (exchange): 0.2517 ETH, "),
        ({"modelled_inventory_base": 0.4}, "Position (exchange): 0.2517 ETH (model 0.4 ETH), "),
        (
            {"source": "import", "known_until": AT - timedelta(days=1)},
            "Position (import, fills until 2024-04-30 03:00 UTC): 0.2517 ETH, ",
        ),
    ],
)
def test_position_names_its_source_its_age_and_the_model_where_they_differ(held: dict[str, Any], told: str) -> None:
    report = with_cost(a_report(Notice.MANDATORY_EXIT, "closes_outside"), RISK)
    line = position_line(replace(report, risk={**(report.risk or {}), **held}), "USDT")
    assert line.startswith(told)
