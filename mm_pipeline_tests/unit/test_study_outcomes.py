"""Outcomes of episodes, worked by hand, and pages joined to them."""

from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest

from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.notifications import Cause, Decision, HeldBack, Notice
from mm_pipeline.domain.risk import RiskHistory
from mm_pipeline.domain.study import Ending, StudiedGrid, signal_outcomes
from mm_pipeline.domain.study.columns import OUTCOME_COLUMNS, schema_of
from mm_pipeline_tests.candle_samples import STEP_MS, T0_MS
from mm_pipeline_tests.grid_samples import bars_of, hundreds_grid
from mm_pipeline_tests.markets import settings_of
from mm_pipeline_tests.reference.simulation import Bar
from mm_pipeline_tests.study_samples import held_to_its_end, market_of, states_of

ROWS: list[Bar] = [(115, 116, 114, 115), (115, 116, 109, 109), (109, 112, 108, 111), (111, 111, 88, 95)]
STATES = ["NORMAL", "WARNING", "WARNING", "MANDATORY_EXIT"]
HELD = 100 / 120 + 100 / 110
"""Interval 120 to 130 is bought at the start at 115, 110 to 120 at 110 in the second bar."""
CASH = 300 - 115 * 100 / 120 - 100
STOPPED = CASH - 100 + (HELD + 1) * 90 - 300
"""The last bar buys 100 to 110 at 100 and sells all at the stop, 90."""


def close_at(number: int) -> datetime:
    """Evaluation at the close of a bar, counted from 0."""
    return from_ms(T0_MS + (number + 1) * STEP_MS)


def outcomes_of(
    rows: list[Bar], states: list[str], *, ending: Ending = Ending.NEXT_DATE, decisions: list[Decision] | None = None
) -> list[dict[str, Any]]:
    bars, risk = bars_of(rows), settings_of().risk
    placed = held_to_its_end(hundreds_grid(), bars, ending)
    studied = StudiedGrid(placed, states_of(placed, bars, states), decisions or [])
    within = {"WARNING": timedelta(minutes=16)}
    made = signal_outcomes(studied, market_of(bars), RiskHistory.of(bars, risk), risk, within, month="2025-01")
    assert made.schema == pl.Schema(schema_of(OUTCOME_COLUMNS))
    return made.rows(named=True)


def page(number: int, notice: Notice, held_back: HeldBack | None = None) -> Decision:
    at = close_at(number)
    return Decision(
        grid="around",
        evaluated_at=at,
        kind="exit",
        notice=notice,
        state=notice.value,
        cause=Cause.CHANGE,
        episode_at=at,
        number=1,
        triggers=(),
        page=f"{number:016x}",
        held_back=held_back,
    )


def test_warning_before_a_stop_by_hand() -> None:
    normal, warning, mandatory = outcomes_of(ROWS, STATES)

    assert [row["state"] for row in (normal, warning, mandatory)] == ["NORMAL", "WARNING", "MANDATORY_EXIT"]
    assert [row["state_before"] for row in (normal, warning, mandatory)] == [None, "NORMAL", "WARNING"]
    assert [row["ended_by"] for row in (normal, warning, mandatory)] == ["change", "change", "stop"]
    assert (warning["began_at"], warning["ended_at"], warning["evaluations"]) == (close_at(1), close_at(3), 2)
    assert mandatory["triggers"] == ["closes_outside"]
    assert warning["price_quote"] == 109
    assert warning["inventory_base"] == pytest.approx(HELD)
    assert warning["leave_pnl_quote"] == pytest.approx(CASH + HELD * 109 - 300)
    assert warning["hold_pnl_15m_quote"] == pytest.approx(CASH + HELD * 111 - 300)
    assert warning["deadline_at"] == close_at(1) + timedelta(minutes=16)
    assert warning["deadline_pnl_quote"] == warning["hold_pnl_15m_quote"]
    for name in ("hold_pnl_1h_quote", "hold_pnl_24h_quote", "hold_pnl_end_quote", "grid_end_pnl_quote"):
        assert warning[name] == pytest.approx(STOPPED)
    # All that is held at 109, and the order at 100, go out at 90: what came is the worst case to the last cent.
    assert warning["worst_case_quote"] == pytest.approx(HELD * 19 + 10)
    assert warning["stop_pnl_quote"] == pytest.approx(STOPPED)
    assert warning["worst_excursion_24h_quote"] == pytest.approx(HELD * 19 + 10)
    assert warning["worst_excursion_24h_pct"] == pytest.approx(100 * (109 - 88) / 109)
    assert warning["stop_after_h"] == 0.5
    assert warning["is_outside"] is False
    assert normal["deadline_at"] is None
    assert normal["deadline_pnl_quote"] is None
    # Nothing is held at the stop's own evaluation: leaving, holding and waiting are one.
    assert mandatory["leave_pnl_quote"] == mandatory["hold_pnl_24h_quote"] == pytest.approx(STOPPED)
    assert mandatory["stop_after_h"] == 0.0
    assert mandatory["worst_excursion_24h_quote"] == 0.0


def test_nothing_is_said_after_the_end_of_a_grid_that_holds() -> None:
    (row,) = outcomes_of(ROWS[:3], ["NORMAL"] * 3)
    assert row["ended_by"] == "next_date"
    assert row["hold_pnl_15m_quote"] == pytest.approx(CASH + HELD * 109 - 300)
    assert row["hold_pnl_1h_quote"] is None
    assert row["hold_pnl_end_quote"] == row["grid_end_pnl_quote"] == pytest.approx(CASH + HELD * 111 - 300)
    assert row["stop_after_h"] is None


def test_price_that_leaves_the_range_comes_back() -> None:
    rows: list[Bar] = [(115, 116, 114, 115), (115, 132, 115, 131), (131, 133, 130, 131), (131, 131, 120, 128)]
    _, above = outcomes_of(rows, ["NORMAL", *["WARNING"] * 3])
    assert above["is_outside"] is True
    assert above["back_in_range_after_h"] == 0.5
    assert above["leave_pnl_quote"] == pytest.approx(100 / 120 * 15)


def test_fee_is_paid_for_leaving() -> None:
    bars, risk = bars_of(ROWS[:2]), settings_of().risk
    grid = hundreds_grid(fee=0.01)
    placed = held_to_its_end(grid, bars)
    studied = StudiedGrid(placed, states_of(placed, bars, ["NORMAL", "NORMAL"]), [])
    (row,) = signal_outcomes(studied, market_of(bars), RiskHistory.of(bars, risk), risk, {}, month="2025-01").rows(
        named=True
    )
    first = 100 / (120 * 1.01)
    # 0.825 base are bought at 115 and would be sold at 115: one per cent of 94.88 quote each way.
    assert row["leave_pnl_quote"] == pytest.approx(-2 * first * 115 * 0.01)


def test_pages_belong_to_the_episode_in_which_they_are_told() -> None:
    told = [
        page(1, Notice.WARNING, HeldBack.NOT_PUSHED),
        page(2, Notice.LATEST_ACCEPTABLE_EXIT),
        page(3, Notice.MANDATORY_EXIT),
        page(5, Notice.MANDATORY_EXIT),
    ]
    rows: list[Bar] = [(115, 116, 114, 115)] * 6
    states = ["NORMAL", "WARNING", "LATEST_ACCEPTABLE_EXIT", *["MANDATORY_EXIT"] * 3]
    normal, warning, latest, mandatory = outcomes_of(rows, states, decisions=told)

    assert [row["pages"] for row in (normal, warning, latest, mandatory)] == [0, 0, 1, 2]
    assert (warning["first_page_at"], warning["held_back"]) == (None, "not_pushed")
    assert (latest["first_page_notice"], latest["first_page_after_h"]) == ("LATEST_ACCEPTABLE_EXIT", 0.0)
    assert (mandatory["first_page_at"], mandatory["held_back"]) == (close_at(3), None)


def test_missing_evaluation_ends_an_episode() -> None:
    bars, risk = bars_of([(115, 116, 114, 115)] * 4), settings_of().risk
    placed = held_to_its_end(hundreds_grid(), bars)
    states = states_of(placed, bars, ["NORMAL"] * 4)
    lacking = states.filter(pl.col("evaluated_at") != close_at(1))
    studied = StudiedGrid(placed, lacking, [])
    made = signal_outcomes(studied, market_of(bars), RiskHistory.of(bars, risk), risk, {}, month="2025-01")
    assert made["evaluations"].to_list() == [1, 2]


def test_leaving_at_the_placement_costs_nothing() -> None:
    bars, risk = bars_of(ROWS[:2]), settings_of().risk
    placed = held_to_its_end(hundreds_grid(fee=0.01), bars)
    later = states_of(placed, bars, ["NORMAL"] * 2)
    at_start = later.head(1).with_columns(evaluated_at=pl.lit(from_ms(T0_MS)).cast(later["evaluated_at"].dtype))
    studied = StudiedGrid(placed, pl.concat([at_start, later]), [])
    made = signal_outcomes(studied, market_of(bars), RiskHistory.of(bars, risk), risk, {}, month="2025-01")
    (row,) = made.rows(named=True)
    assert (row["began_at"], row["leave_pnl_quote"], row["inventory_base"]) == (from_ms(T0_MS), 0.0, None)
    assert row["hold_pnl_15m_quote"] == pytest.approx(-2 * 115 * 0.01 * 100 / (120 * 1.01))
    assert row["risk_unknown"] == "no bar has closed since the grid started"


def test_grid_without_evaluations_has_no_outcome() -> None:
    bars, risk = bars_of(ROWS[:1]), settings_of().risk
    placed = held_to_its_end(hundreds_grid(), bars)
    studied = StudiedGrid(placed, states_of(placed, bars, []), [])
    made = signal_outcomes(studied, market_of(bars), RiskHistory.of(bars, risk), risk, {}, month="2025-01")
    assert made.is_empty()
    assert made.schema == pl.Schema(schema_of(OUTCOME_COLUMNS))


def test_inside_a_hole_nothing_is_known() -> None:
    rows: list[Bar] = [(115, 116, 114, 115)] * 8
    bars, risk = bars_of(rows), settings_of().risk
    bars = bars.filter(pl.int_range(pl.len()) != 3)
    placed = held_to_its_end(hundreds_grid(), bars)
    studied = StudiedGrid(placed, states_of(placed, bars, ["NORMAL", "NORMAL", "WARNING", *["WARNING"] * 4]), [])
    within = {"WARNING": timedelta(minutes=16)}
    made = signal_outcomes(studied, market_of(bars), RiskHistory.of(bars, risk), risk, within, month="2025-01")
    _, warned, *_ = made.rows(named=True)
    assert warned["began_at"] == close_at(2)
    assert warned["leave_pnl_quote"] is not None
    assert (warned["hold_pnl_15m_quote"], warned["deadline_pnl_quote"]) == (None, None)
    assert warned["hold_pnl_1h_quote"] is not None
    assert (warned["worst_excursion_24h_quote"], warned["worst_excursion_24h_pct"]) == (None, None)
