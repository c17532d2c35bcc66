"""What a partition of a study shows in the UI beside its rows: numbers to plot, a scorecard, and pictures."""

import base64
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import dagster as dg
import numpy as np
import polars as pl

from mm_pipeline.application.study_grids.markets import StudyMarkets
from mm_pipeline.application.study_grids.run import Partition
from mm_pipeline.domain.columns import epoch_ms
from mm_pipeline.domain.market import Market
from mm_pipeline.domain.study import scorecard
from mm_pipeline.domain.study.placement import grids_of_rows
from mm_pipeline.orchestration.metadata import MAX_CHARTS, Metadata, table

_logger = logging.getLogger(__name__)
_DAY_MS: Final = 86_400_000
_OF_A_GRID: Final = (
    "grid",
    "started_at",
    "ends_at",
    "ending",
    "price_quote",
    "lower_quote",
    "upper_quote",
    "pnl_quote",
)

_SHORT: Final = {
    "state": "state",
    "episodes": "n",
    "paged": "paged",
    "median_h": "hours",
    "stop_24h_pct": "stop %",
    "back_24h_pct": "back %",
    "saved_24h_quote": "saved 24h",
    "saved_end_quote": "saved end",
}
"""Columns of the scorecard as they fit into the UI."""

ByMarket = Mapping[str, pl.DataFrame]


def of_grids(frames: ByMarket, notes: Sequence[str]) -> Metadata:
    """Every grid, and why a date has none."""
    rows = [row for frame in frames.values() for row in frame.select(_OF_A_GRID).rows(named=True)]
    shown = [{name: _minute(value) for name, value in row.items()} for row in rows]
    return {
        "grids": len(rows),
        "pnl_quote": round(float(sum(row["pnl_quote"] for row in rows)), 2),
        "placed": table(shown),
        "not placed": table([{"reason": note} for note in notes]),
    }


def of_states(frames: ByMarket, grids: ByMarket, markets: StudyMarkets, partition: Partition) -> Metadata:
    """How often each state was held, and the price of each market over its states."""
    states = [frame["state"] for frame in frames.values() if frame.height]
    counts = dict(pl.concat(states).value_counts().sort("state").rows()) if states else {}
    drawn = {market: frame for market, frame in frames.items() if frame.height > 1}
    return {
        "rows_per_state": counts,
        **_pictures("states", drawn, lambda key: _state_chart(key, drawn[key], grids[key], markets, partition)),
    }


def _state_chart(key: str, states: pl.DataFrame, grids: pl.DataFrame, markets: StudyMarkets, part: Partition) -> bytes:
    from mm_pipeline.reporting.charts import state_chart_png

    first, last = states["evaluated_at"].min(), states["evaluated_at"].max()
    bars = markets.get(Market.parse(key)).study_market.bars
    placed = grids_of_rows(grids)
    evaluated_ms = epoch_ms(states["evaluated_at"])
    return state_chart_png(
        bars.filter(pl.col("close_time").is_between(first, last)),
        states,
        grid=placed[0].grid if len(placed) == 1 else None,
        days=float(np.ptp(evaluated_ms)) / _DAY_MS,
        title=f"{Market.parse(key)}   {partition_words(part)}",
    )


def of_outcomes(frames: ByMarket, partition: Partition) -> Metadata:
    """Counts, the scorecard of all markets, and each market's signals by what leaving saved."""
    filled = {market: frame for market, frame in frames.items() if frame.height}
    whole = pl.concat(filled.values()) if filled else None
    exits = None if whole is None else whole.filter(pl.col("state") == "MANDATORY_EXIT")
    rows = [] if whole is None else scorecard(whole).rename(_SHORT).select(_SHORT.values()).rows(named=True)
    return {
        "episodes": 0 if whole is None else whole.height,
        "pages": 0 if whole is None else int(whole["pages"].sum()),
        "stops": 0 if whole is None else whole.filter(pl.col("ended_by") == "stop").height,
        **_saved(exits),
        "scorecard": table([{name: _tenth(value) for name, value in row.items()} for row in rows]),
        **_pictures("outcomes", filled, lambda key: _outcomes_chart(key, filled[key], partition)),
    }


def _saved(exits: pl.DataFrame | None) -> Metadata:
    """What leaving at a MANDATORY_EXIT saved on average, where there was one."""
    if exits is None:
        return {}
    mean = exits.select((pl.col("leave_pnl_quote") - pl.col("hold_pnl_24h_quote")).mean()).item()
    return {} if mean is None else {"mandatory_saved_24h_quote": round(float(mean), 2)}


def _outcomes_chart(key: str, outcomes: pl.DataFrame, partition: Partition) -> bytes:
    from mm_pipeline.reporting.study_charts import outcomes_chart_png

    return outcomes_chart_png(outcomes, title=f"{Market.parse(key)}   {partition_words(partition)}")


def partition_words(partition: Partition) -> str:
    """``2024-03   seed``."""
    return f"{partition.month:%Y-%m}   {partition.policy}"


def _pictures(name: str, markets: Iterable[str], draw: Callable[[str], bytes]) -> dict[str, dg.MetadataValue[Any]]:
    found: dict[str, dg.MetadataValue[Any]] = {}
    for market in list(markets)[:MAX_CHARTS]:
        try:
            picture = base64.b64encode(draw(market)).decode()
        except Exception:  # a picture for the UI must not fail a study
            _logger.exception("no picture of %s of %s", name, market)
            continue
        found[f"{name} {market}"] = dg.MetadataValue.md(f"![{market}](data:image/png;base64,{picture})")
    return found


def _minute(value: Any) -> Any:
    return f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else value


def _tenth(value: Any) -> Any:
    return f"{value:,.1f}" if isinstance(value, float) else value
