"""What would make a state worse next: of the next state that has any, the trigger that lacks least of its threshold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mm_pipeline.domain.notifications import Notice
from mm_pipeline.reporting.grid_report import GridReport, TriggerReading
from mm_pipeline.reporting.next_trigger import edges_text, next_worse
from mm_pipeline_tests.page_samples import a_grid, a_report


def reading(name: str, value: float, threshold: float | None, margin: float | None, *, fired: bool = False) -> object:
    return TriggerReading(name, value, threshold, margin, fired, None)


def report(state: str, *triggers: object, price: float | None = 3100.0, **changes: object) -> GridReport:
    return replace(a_report(state, price=price), triggers=triggers, **changes)  # type: ignore[arg-type]


FAR = reading("volatility_expanded", 1.0, 1.25, -0.25)
NEAR = reading("stop_likely", 0.45, 0.5, -0.05)
CLOSES = reading("closes_outside", 1.0, 2.0, -1.0)
STOP = reading("stop_loss_breached", 3010.0, 2990.0, -20.0)
FIRED = reading("transition_likely", 0.5, 0.4, 0.1, fired=True)
INFORMATION = reading("efficiency_rising", 0.5, None, None)


def test_nearest_of_the_next_worse_state_that_asks_for_anything_is_named() -> None:
    found = next_worse(report("NORMAL", FAR, NEAR, CLOSES, INFORMATION))
    assert found is not None
    assert (found.notice, found.trigger.name, found.distance_quote) == (
        Notice.LATEST_ACCEPTABLE_EXIT,
        "stop_likely",
        None,
    )
    assert found.text(report("NORMAL")) == (
        "LATEST ACCEPTABLE EXIT by stop_likely (P(stop touched in 24 h): 0.45, fires >= 0.50)"
    )


@pytest.mark.parametrize(
    ("price", "stop", "told"),
    [(3100.0, STOP, "110.00 USDT away"), (2985.0, STOP, "price is beyond it now"), (3100.0, CLOSES, "30.00 USDT away")],
)
def test_way_is_told_in_price_where_the_trigger_asks_about_price(price: float, stop: object, told: str) -> None:
    seen = report("LATEST_ACCEPTABLE_EXIT", NEAR, stop, price=price)
    found = next_worse(seen)
    assert found is not None
    assert found.notice is Notice.MANDATORY_EXIT
    assert told in found.text(seen)


def test_fired_and_information_are_never_next() -> None:
    assert next_worse(report("NORMAL", FIRED, INFORMATION)) is None


@pytest.mark.parametrize("state", ["UNKNOWN", "MANDATORY_EXIT"])
def test_blind_grid_and_the_worst_state_have_no_next(state: str) -> None:
    assert next_worse(report(state, FAR, NEAR, CLOSES, STOP)) is None


def test_edges_are_told_with_their_side() -> None:
    assert edges_text(report("NORMAL", price=3061.25)) == (
        "Price is 123.75 USDT (4.04 %) below the upper bound, 8.75 USDT (0.29 %) below the lower bound, "
        "71.25 USDT (2.33 %) above the stop."
    )
    assert "stop" not in edges_text(report("NORMAL", grid=a_grid(stop_loss="none")))


@pytest.mark.parametrize("price", [None, float("nan"), 0.0])
def test_edges_of_a_price_that_is_not_known_are_not_told(price: float | None) -> None:
    assert edges_text(report("NORMAL", price=price)) == ""
