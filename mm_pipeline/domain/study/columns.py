"""Columns of a study's frames: type, unit, and what each says. Documents, contracts and the UI read them here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from mm_pipeline.domain.columns import TIME

OUTCOME_HORIZONS: Final = {"15m": 1, "1h": 4, "4h": 16, "24h": 96}
"""How long after the beginning of an episode its outcome is looked at, in 15m bars."""

FORECASTS: Final = (
    "worst_case_quote",
    *(f"giveback_{quantile}_{horizon}_quote" for quantile in ("p50", "p90") for horizon in OUTCOME_HORIZONS),
    "p_stop_4h",
    "p_stop_24h",
)
"""Columns of risk that stand in an outcome as they were said at its beginning."""


@dataclass(frozen=True)
class Column:
    """Type of a column, its unit (empty where it has none), and what it says."""

    kind: pl.DataType
    unit: str
    says: str

    @property
    def description(self) -> str:
        """What it says, with its unit."""
        return f"{self.says} [{self.unit}]" if self.unit else self.says


Columns = Mapping[str, Column]


def schema_of(columns: Columns) -> dict[str, pl.DataType]:
    """Names and types."""
    return {name: column.kind for name, column in columns.items()}


_F, _I, _S, _B = pl.Float64(), pl.Int64(), pl.String(), pl.Boolean()

STUDY_GRID_COLUMNS: Final[Columns] = {
    "market": Column(_S, "", "Exchange and symbol"),
    "grid": Column(_S, "", "Id: base, date, and a number from the second grid of a date on"),
    "started_at": Column(TIME, "UTC", "When it was placed"),
    "ends_at": Column(TIME, "UTC", "Its last evaluation"),
    "ending": Column(_S, "", "Why it is over: next_date, stop, sold_out, candles (none later are there)"),
    "price_quote": Column(_F, "quote", "Close at which it was placed"),
    "atr_4h_quote": Column(_F, "quote", "ATR(14) of the newest 4h bar known then"),
    "lower_quote": Column(_F, "quote", "Lowest level"),
    "upper_quote": Column(_F, "quote", "Highest level"),
    "stop_loss_quote": Column(_F, "quote", "Price of its stop"),
    "levels": Column(_I, "prices", "Number of levels"),
    "spacing": Column(_S, "", "arithmetic or geometric"),
    "capital_quote": Column(_F, "quote", "Capital"),
    "fee": Column(_F, "fraction", "Of each fill, a side"),
    "grid_version": Column(_S, "", "Hash of the declaration"),
    "buys": Column(_I, "fills", "Modelled purchases, those at the start among them"),
    "sells": Column(_I, "fills", "Modelled sales, those at the stop among them"),
    "pnl_quote": Column(_F, "quote", "Equity at its end less capital; what is held is valued at the close"),
    "max_drawdown_quote": Column(_F, "quote", "Largest fall of equity at closes from its highest close"),
}
"""One row a grid of a study."""

_AFTER: Final = {
    "15m": "15 minutes",
    "1h": "1 hour",
    "4h": "4 hours",
    "24h": "24 hours",
}

OUTCOME_COLUMNS: Final[Columns] = {
    "market": Column(_S, "", "Exchange and symbol"),
    "policy": Column(_S, "", "By which it was judged"),
    "month": Column(_S, "", "UTC month in which the grid was placed, the partition"),
    "grid": Column(_S, "", "Id of the study grid"),
    "grid_version": Column(_S, "", "Hash of its declaration"),
    "capital_quote": Column(_F, "quote", "Its capital"),
    "episode": Column(_I, "", "Number of the episode on this grid, from 1"),
    "state": Column(_S, "", "The state that every evaluation of the episode has"),
    "state_before": Column(_S, "", "State of the evaluation before; null at the first"),
    "began_at": Column(TIME, "UTC", "First evaluation of the episode"),
    "ended_at": Column(TIME, "UTC", "First evaluation with another state, else the grid's last"),
    "ended_by": Column(_S, "", "change, or why the grid was over: next_date, stop, sold_out, candles"),
    "evaluations": Column(_I, "evaluations", "How many there are, a quarter of an hour each"),
    "duration_h": Column(_F, "hours", "From began_at to ended_at"),
    "triggers": Column(pl.List(_S), "", "Triggers that were fired when it began"),
    "price_quote": Column(_F, "quote", "Newest close when it began"),
    "position_health": Column(_S, "", "ABOVE_GRID, IN_GRID or BELOW_GRID when it began"),
    "stop_loss_risk": Column(_S, "", "How near the stop was when it began"),
    "distance_to_stop_atr": Column(_F, "ATR(1h)", "From price down to the stop when it began"),
    "verdict": Column(_S, "", "Hourly verdict when it began"),
    "confidence": Column(_F, "0..1", "Confidence of that verdict"),
    "inventory_base": Column(_F, "base", "What the modelled grid held when it began"),
    "worst_case_quote": Column(_F, "quote", "Loss from then on if price went to the stop, all orders filled"),
    **{
        f"giveback_{quantile}_{horizon}_quote": Column(
            _F, "quote", f"Forecast when it began: {quantile} of the loss of equity within {_AFTER[horizon]}"
        )
        for quantile in ("p50", "p90")
        for horizon in OUTCOME_HORIZONS
    },
    "p_stop_4h": Column(_F, "probability", "Forecast when it began: the stop is touched within 4 hours"),
    "p_stop_24h": Column(_F, "probability", "Forecast when it began: the stop is touched within 24 hours"),
    "risk_unknown": Column(_S, "", "Why there is no forecast; null where there is one"),
    "leave_pnl_quote": Column(_F, "quote", "PnL of leaving when it began: all sold at that close, fee paid"),
    "deadline_at": Column(TIME, "UTC", "Until when a page of this state asks for an answer; null where it asks none"),
    "deadline_pnl_quote": Column(_F, "quote", "PnL of leaving at the newest close known at deadline_at"),
    **{
        f"hold_pnl_{horizon}_quote": Column(_F, "quote", f"PnL of holding for {_AFTER[horizon]}, and leaving then")
        for horizon in OUTCOME_HORIZONS
    },
    "hold_pnl_end_quote": Column(_F, "quote", "PnL of holding to the end of the episode, and leaving then"),
    "grid_end_pnl_quote": Column(_F, "quote", "PnL of holding to the end of the grid, its stop at work, and leaving"),
    "stop_pnl_quote": Column(_F, "quote", "PnL if price had gone from there to the stop: the worst case"),
    "worst_excursion_24h_quote": Column(_F, "quote", "Largest fall of equity at a close within 24 hours"),
    "worst_excursion_24h_pct": Column(_F, "%", "Largest fall of price to a low within 24 hours, of price_quote"),
    "stop_after_h": Column(_F, "hours", "Until the stop had sold everything; null where it did not"),
    "is_outside": Column(_B, "", "Whether price was outside the grid's bounds when it began"),
    "back_in_range_after_h": Column(_F, "hours", "Until the first close inside the bounds; null if inside, or never"),
    "pages": Column(_I, "pages", "Pages of the episode, to an operator who never answers"),
    "first_page_at": Column(TIME, "UTC", "Evaluation of the first of them"),
    "first_page_notice": Column(_S, "", "What that page tells: the notice, its level"),
    "first_page_after_h": Column(_F, "hours", "From began_at to that page"),
    "held_back": Column(_S, "", "Why the first notice was held back, where no page was sent"),
}
"""One row an episode: an unbroken run of evaluations of one grid with one state.

PnL is since the grid's start, after the fee of selling what is held; at the start nothing is bought yet, and leaving is
0. Values after the grid's end, and in a hole of the candles, are null, but for a
grid that has nothing left: its PnL stays.
"""
