"""No page is longer than Pushover takes: lines go whole and from the end, and never those that every reader needs."""

import math
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_pipeline.domain.exit_state import TRIGGERS
from mm_pipeline.domain.notifications.channel import TEXT_LIMIT, TITLE_LIMIT
from mm_pipeline.domain.notifications.decision import Cause, Decision, Notice
from mm_pipeline.domain.notifications.delay_risk import HORIZONS, DelayRisk
from mm_pipeline.reporting.grid_report import GridReport, TriggerReading
from mm_pipeline.reporting.pages import limits as page_limits
from mm_pipeline.reporting.pages.text import marked, page_text
from mm_pipeline_tests.effort import tries
from mm_pipeline_tests.page_samples import (
    AT,
    M15,
    POLICY,
    PROPOSAL,
    a_grid,
    a_report,
    decided,
    fired,
    marked_page,
    pages,
    said,
    with_cost,
)


def test_unmarked_page_is_unchanged() -> None:
    for page in pages().values():
        assert marked_page(page, late_by=timedelta(seconds=59)) == page


EXTREME = st.one_of(st.floats(), st.sampled_from((0.0, math.nan, math.inf, 1e300, -1e300, 9_999_999_999.994, 1e-300)))
NAME = st.from_regex(r"[a-z0-9][a-z0-9-]{0,39}", fullmatch=True) | st.just("w" * 40)
REASONS = st.lists(st.text(max_size=50) | st.text("x\n <&", min_size=200, max_size=1500), max_size=4).map(tuple)


@st.composite
def reports(draw: st.DrawFn) -> GridReport:
    """Anything that might ever be known of a grid, and much that never will."""
    price = draw(st.sampled_from((1e-6, 3000.0, 9_000_000_000.0, 1e290)))
    grid = a_grid(
        exchange=draw(st.sampled_from(("kucoin", "x" * 32))),
        symbol=draw(st.sampled_from(("ETH/USDT", f"{'B' * 20}/{'Q' * 20}"))),
        **{"lower": price, "upper": price * 1.1, "stop_loss": price * 0.9, "levels": 2},
    )
    readings = draw(
        st.lists(
            st.builds(TriggerReading, st.sampled_from(TRIGGERS), EXTREME, EXTREME, EXTREME, st.booleans(), st.just(AT)),
            max_size=12,
        )
    )
    return a_report(
        draw(st.sampled_from(("MANDATORY_EXIT", "UNKNOWN", "ENTER"))),
        grid=draw(st.sampled_from((grid, None))),
        price=draw(st.none() | EXTREME),
        distance_to_stop_atr=draw(st.none() | EXTREME),
        triggers=tuple(readings),
        reasons=draw(REASONS),
        last_known_state=draw(st.sampled_from((None, "NORMAL", "MANDATORY_EXIT"))),
        proposal=dict.fromkeys(PROPOSAL, draw(EXTREME)),
    )


RISKS = st.builds(
    lambda amount, worst: DelayRisk(
        capital_at_risk_quote=dict.fromkeys(HORIZONS, amount),
        giveback_p50_quote=dict.fromkeys(HORIZONS, amount),
        giveback_p90_quote=dict.fromkeys(HORIZONS, amount),
        worst_case_quote=worst,
        source="modelled",
    ),
    EXTREME,
    EXTREME,
)
DECIDED = st.builds(
    lambda notice, cause, number, at: decided(notice, cause, number=number, episode_at=at),
    st.sampled_from(Notice),
    st.sampled_from(Cause),
    st.integers(1, 10**6),
    st.sampled_from((AT, AT - M15, AT - timedelta(days=300))),
)


@given(
    decision=DECIDED,
    names=st.lists(NAME, min_size=1, max_size=30, unique=True),
    report=reports(),
    repeats=st.sampled_from((1, 100)),
    risk=RISKS,
    late_by=st.none() | st.timedeltas(timedelta(0)),
    twice=st.booleans(),
    is_test=st.booleans(),
)
@settings(deadline=None, max_examples=tries(50))
def test_any_page_is_within_the_limits_and_drops_whole_lines_from_the_end(
    *,
    decision: Decision,
    names: list[str],
    report: GridReport,
    repeats: int,
    risk: DelayRisk,
    late_by: timedelta | None,
    twice: bool,
    is_test: bool,
) -> None:
    names = names if decision.notice is Notice.UNKNOWN else names[:1]
    decisions = [replace(decision, grid=name) for name in names]
    known = {name: replace(report, grid_id=name, triggers=report.triggers * repeats) for name in names}
    known = {name: with_cost(one, risk) for name, one in known.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page_limits, "TEXT_LIMIT", 10**9)
        everything = page_text(decisions, known, POLICY).text
    page = page_text(decisions, known, POLICY)
    sent = marked(page.title, page.text, late_by=late_by, may_be_duplicate=twice, is_test=is_test)
    marks = sent.text.split("\n")[0] if sent != page else None
    essential = everything.split("\n\n")[0].split("\n")
    for each in (page, sent):
        assert (len(each.title) <= TITLE_LIMIT, len(each.text) <= TEXT_LIMIT) == (True, True)
        lines = each.text.split("\n")
        kept = lines[1:] if each is sent and marks is not None else lines
        assert kept == everything.split("\n")[: len(kept)]
        assert len(kept) >= len(essential)
    if marks is not None:
        assert ("LATE" in marks, "DUPLICATE" in marks, "TEST" in marks) == (
            late_by is not None and late_by >= timedelta(minutes=1),
            twice,
            is_test,
        )


@given(title=st.text(max_size=600), text=st.text("ab\n", max_size=2500))
@settings(deadline=None)
def test_marks_are_whole_whatever_they_are_put_on(title: str, text: str) -> None:
    sent = marked(title, text, late_by=timedelta(minutes=45), may_be_duplicate=True, is_test=True)
    assert (len(sent.title) <= TITLE_LIMIT, len(sent.text) <= TEXT_LIMIT) == (True, True)
    assert sent.title.startswith("TEST: ")
    assert sent.title.endswith(" (LATE 45 min, POSSIBLE DUPLICATE)")
    assert sent.text.split("\n")[0] == "TEST: nothing to do; LATE 45 min; POSSIBLE DUPLICATE"


def test_thousand_triggers_and_a_long_reason_leave_what_matters() -> None:
    report = a_report("MANDATORY_EXIT", triggers=fired(*TRIGGERS) * 100, reasons=("x" * 5000,))
    page = said(decided(Notice.MANDATORY_EXIT), report)
    assert len(page.text) <= TEXT_LIMIT
    assert page.text.count("stop_loss_breached") == 1
    assert "\nOnce you are out: mm flat eth-main\n" in page.text
    assert "In 4 h: likely 3.20 USDT worse, one time in ten worse by 33.50 USDT or more." in page.text
    assert "Capital at risk if delayed: 15 min 12.10 USDT, 1 h 25.30 USDT, 4 h 51.00 USDT" in page.text


@pytest.mark.parametrize("cause", Cause)
@pytest.mark.parametrize("notice", Notice)
def test_longest_names_and_numbers_leave_room_for_the_marks(notice: Notice, cause: Cause) -> None:
    long, price = "w" * 40, 9_999_999_999.98
    grid = a_grid(
        exchange="x" * 32,
        symbol=f"{'B' * 20}/{'Q' * 20}",
        lower=7_999_999_999.98,
        upper=8_999_999_999.98,
        stop_loss=6_999_999_999.98,
        levels=2,
    )
    report = a_report(
        decided(notice).state,
        grid_id=long,
        grid=grid,
        price=price,
        since=AT,
        triggers=tuple(TriggerReading(name, price, price, price, True, AT) for name in TRIGGERS),
        reasons=("x" * 5000,),
        last_known_state="MANDATORY_EXIT",
        proposal=dict.fromkeys(PROPOSAL, price),
    )
    names = [long, *(f"{'w' * 37}-{k:02d}" for k in range(30))] if notice is Notice.UNKNOWN else [long]
    decisions = [decided(notice, cause, grid=name, number=10**6, episode_at=AT - timedelta(days=400)) for name in names]
    rules = POLICY.unknown.model_copy(update={"priority": 2})
    policy = POLICY.model_copy(update={"unknown": rules})
    page = page_text(decisions, {name: replace(report, grid_id=name) for name in names}, policy)
    sent = marked(page.title, page.text, late_by=timedelta(days=999, hours=23), may_be_duplicate=True, is_test=True)
    essential = page.text.split("\n\n")[0]
    assert f"\n{essential}\n" in f"{sent.text}\n"
    assert not sent.text.endswith("...")
    assert page.title in sent.title
