"""The scorecard of outcomes, counted by hand, and its picture."""

from typing import Any

import polars as pl
import pytest

from mm_pipeline.domain.study import OUTCOME_COLUMNS, SCORECARD_COLUMNS, scorecard
from mm_pipeline.domain.study.columns import schema_of
from mm_pipeline.reporting.study_charts import outcomes_chart_png
from mm_pipeline_tests.unit.test_study_outcomes import close_at


def outcomes(*rows: dict[str, Any]) -> pl.DataFrame:
    given = {"policy": "seed", "pages": 0, "is_outside": False, "capital_quote": 1000.0}
    times = {"began_at": close_at(0), "ended_at": close_at(9)}
    return pl.DataFrame(
        [dict.fromkeys(OUTCOME_COLUMNS) | given | times | row for row in rows], schema=schema_of(OUTCOME_COLUMNS)
    )


EXITS = (
    {"duration_h": 1.0, "pages": 2, "stop_after_h": 23.5, "leave_pnl_quote": -10.0, "hold_pnl_24h_quote": -30.0},
    {"duration_h": 3.0, "is_outside": True, "back_in_range_after_h": 24.0, "leave_pnl_quote": 5.0},
    {"duration_h": 8.0, "pages": 1, "stop_after_h": 25.0, "is_outside": True, "leave_pnl_quote": 1.0}
    | {"hold_pnl_24h_quote": 3.0, "grid_end_pnl_quote": -4.0},
)


def test_scorecard_by_hand() -> None:
    found = scorecard(outcomes(*({"state": "MANDATORY_EXIT"} | row for row in EXITS), {"state": "NORMAL"}))
    assert found.columns == list(SCORECARD_COLUMNS)
    normal, mandatory = found.rows(named=True)
    assert (normal["state"], normal["episodes"], normal["paged"], normal["stop_24h_pct"]) == ("NORMAL", 1, 0, 0.0)
    assert normal["back_24h_pct"] is None
    assert mandatory == {
        "policy": "seed",
        "state": "MANDATORY_EXIT",
        "episodes": 3,
        "paged": 2,
        "median_h": 3.0,
        "stop_24h_pct": pytest.approx(100 / 3),
        "back_24h_pct": 50.0,
        "saved_24h_quote": pytest.approx((20.0 - 2.0) / 2),
        "saved_end_quote": pytest.approx(5.0),
    }


def test_no_outcomes_are_an_empty_scorecard() -> None:
    assert scorecard(outcomes()).schema == pl.Schema(schema_of(SCORECARD_COLUMNS))


@pytest.mark.parametrize("rows", [(), EXITS])
def test_picture_is_drawn_of_any_outcomes(rows: tuple[dict[str, Any], ...]) -> None:
    drawn = outcomes_chart_png(outcomes(*({"state": "MANDATORY_EXIT"} | row for row in rows)), title="a month")
    assert drawn.startswith(b"\x89PNG")
