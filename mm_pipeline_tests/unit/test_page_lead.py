"""The sentences that a page begins with: what happened, what stopping gives, what waiting costs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mm_pipeline.domain.notifications.decision import Notice
from mm_pipeline.reporting.pages.lead import led_by
from mm_pipeline_tests.page_samples import RISK, a_grid, a_report, with_cost


def lead(*fired: str, risk: Any = RISK, is_held: bool = True, **changes: Any) -> str:
    report = a_report(Notice.MANDATORY_EXIT, *fired, **changes)
    return led_by([], with_cost(report, risk) if risk else report, risk, is_held=is_held)[0]


@pytest.mark.parametrize(
    ("fired", "health", "says"),
    [
        (("closes_outside",), "BELOW_GRID", "ETH closed below your grid 3 h in a row."),
        (("closes_outside",), "ABOVE_GRID", "ETH closed above your grid 3 h in a row."),
        (("closes_outside",), "IN_GRID", "ETH closed outside your grid 3 h in a row."),
        (("stop_loss_breached",), "BELOW_GRID", "ETH touched your stop at 2,990.00 USDT (it is above it again)."),
        (
            ("range_invalidated", "regime_trend"),
            "IN_GRID",
            "ETH trends and left its range by 0.8 times its usual 4 h swing.",
        ),
        (("regime_trend",), "BELOW_GRID", "ETH trends and is below your grid."),
        (("transition_persists",), "IN_GRID", "ETH shows signs that its range ends."),
        ((), "BELOW_GRID", "ETH is below your grid."),
    ],
)
def test_what_happened_is_said_first(fired: tuple[str, ...], health: str, says: str) -> None:
    assert lead(*fired, position_health=health).startswith(says)


def test_likely_stop_is_named_with_its_price() -> None:
    report = a_report(Notice.LATEST_ACCEPTABLE_EXIT, "closes_outside")
    likely = replace(report.triggers[0], name="stop_likely", value=0.62, threshold=0.5, fired=True)
    told = led_by([], replace(report, triggers=(likely,)), RISK)[0]
    assert told.startswith("ETH is likely to touch your stop at 2,990.00 USDT.")


def test_cost_of_leaving_and_of_waiting_stand_in_words() -> None:
    assert lead("closes_outside").endswith(
        "Stopping the bot and selling its ETH now leaves about -31.60 USDT in all since its start. In 4 h: likely 3.20 "
        "USDT worse, one time in ten worse by 33.50 USDT or more. The stop is touched within 24 h 6 times in ten."
    )


@pytest.mark.parametrize(
    ("usual", "bad", "says"),
    [
        (0.0, 5.0, "In 4 h: likely the same, one time in ten worse by 5.00 USDT or more."),
        (-0.049, 5.0, "In 4 h: likely the same, one time in ten worse by 5.00 USDT or more."),
        (0.051, 5.0, "In 4 h: likely 0.05100 USDT worse, one time in ten worse by 5.00 USDT or more."),
        (-2.0, 5.0, "In 4 h: likely 2.00 USDT better, one time in ten worse by 5.00 USDT or more."),
        (-2.0, -1.0, "In 4 h: likely 2.00 USDT better."),
        (float("nan"), 5.0, "What waiting costs is not known."),
    ],
)
def test_give_back_below_zero_is_said_as_better(usual: float, bad: float, says: str) -> None:
    figures = {"giveback_p50_quote": usual, "giveback_p90_quote": bad}
    risk = replace(RISK, **{name: dict.fromkeys(RISK.giveback_p50_quote, value) for name, value in figures.items()})
    assert says in lead("closes_outside", risk=risk)


@pytest.mark.parametrize(
    ("probability", "says"),
    [
        (0.0, "less than one time in twenty"),
        (0.049, "less than one time in twenty"),
        (0.05, "one time in ten"),
        (0.149, "one time in ten"),
        (0.151, "2 times in ten"),
        (0.949, "9 times in ten"),
        (0.95, "almost surely"),
    ],
)
def test_probability_of_the_stop_is_a_count_of_ten(probability: float, says: str) -> None:
    risk = replace(RISK, stop_probability={"24h": probability})
    assert f"The stop is touched within 24 h {says}." in lead("closes_outside", risk=risk)


def test_stop_that_was_touched_or_is_not_there_is_no_forecast() -> None:
    assert "within 24 h" not in lead("stop_loss_breached")
    assert "within 24 h" not in lead("closes_outside", grid=a_grid(stop_loss="none"))


def test_nothing_held_costs_nothing_to_wait() -> None:
    assert lead("stop_loss_breached", is_held=False, price=2958.1) == "ETH touched your stop at 2,990.00 USDT."


def test_cost_that_is_not_known_is_said() -> None:
    assert lead("closes_outside", risk=None).endswith("What waiting costs is not known.")


def test_sentence_without_room_is_left_out_whole() -> None:
    report = with_cost(a_report(Notice.MANDATORY_EXIT, "closes_outside"), RISK)
    lines = ["x" * 760]
    assert led_by(lines, report, RISK)[0] == "ETH closed below your grid 3 h in a row."
