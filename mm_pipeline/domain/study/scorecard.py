"""What a table of outcomes says in a few rows: by policy and state."""

from __future__ import annotations

from typing import Final

import polars as pl

from mm_pipeline.domain.exit_state import STATES
from mm_pipeline.domain.study.columns import Column, Columns

_F, _I, _S = pl.Float64(), pl.Int64(), pl.String()

SCORECARD_COLUMNS: Final[Columns] = {
    "policy": Column(_S, "", "By which the grids were judged"),
    "state": Column(_S, "", "State of the episodes"),
    "episodes": Column(_I, "episodes", "How many there are"),
    "paged": Column(_I, "episodes", "In how many of them a page was sent"),
    "median_h": Column(_F, "hours", "Median of their length"),
    "stop_24h_pct": Column(_F, "%", "After how many the stop was touched within 24 hours"),
    "back_24h_pct": Column(_F, "%", "Of those that began outside the bounds, how many were back within 24 hours"),
    "saved_24h_quote": Column(_F, "quote", "Mean PnL of leaving at the beginning less that of holding for 24 hours"),
    "saved_end_quote": Column(
        _F, "quote", "Mean PnL of leaving at the beginning less that of holding to the grid's end"
    ),
}
"""One row a policy and state; NORMAL beside the others is the base rate. Means leave out what is not known."""

_DAY_H: Final = 24.0


def scorecard(outcomes: pl.DataFrame) -> pl.DataFrame:
    """Count and average outcomes (``OUTCOME_COLUMNS``) as ``SCORECARD_COLUMNS``, the gravest state last."""
    outside = pl.col("is_outside").fill_null(False)
    return (
        outcomes.group_by("policy", "state")
        .agg(
            episodes=pl.len().cast(_I),
            paged=(pl.col("pages") > 0).sum().cast(_I),
            median_h=pl.col("duration_h").median(),
            stop_24h_pct=100 * _within_a_day("stop_after_h").mean(),
            back_24h_pct=100 * _within_a_day("back_in_range_after_h").filter(outside).mean(),
            saved_24h_quote=(pl.col("leave_pnl_quote") - pl.col("hold_pnl_24h_quote")).mean(),
            saved_end_quote=(pl.col("leave_pnl_quote") - pl.col("grid_end_pnl_quote")).mean(),
        )
        .sort("policy", pl.col("state").replace_strict({state: n for n, state in enumerate(STATES)}))
        .select(list(SCORECARD_COLUMNS))
    )


def _within_a_day(hours: str) -> pl.Expr:
    return (pl.col(hours) <= _DAY_H).fill_null(False)
