"""Studies, markets and states for the tests of study grids."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from mm_pipeline.domain.exit_state import TRIGGERS
from mm_pipeline.domain.exit_state.states import EXIT_SCHEMA
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.market import Market
from mm_pipeline.domain.market_view import MarketView
from mm_pipeline.domain.pipeline import market_view
from mm_pipeline.domain.position import simulate_grid
from mm_pipeline.domain.study import Ending, PlacedGrid, StudyDeclaration, StudyMarket
from mm_pipeline_tests.markets import NOTHING_QUARANTINED, settings_of

ETH = Market("binance", "ETH/USDT")

TEMPLATE: dict[str, Any] = {
    "half_width": {"pct": 5.0},
    "levels": 11,
    "spacing": "arithmetic",
    "stop_distance": {"pct": 3.0},
    "capital": 1000.0,
    "fee": 0.001,
}


def declared(**changes: Any) -> dict[str, Any]:
    """What a study file holds, with changes; ``template`` changes single keys of the template."""
    values: dict[str, Any] = {
        "markets": ["binance:ETH/USDT"],
        "placed": "monthly",
        "when_over": "stay_out",
        "policies": ["seed", "calibrated"],
        "first_month": "2024-01",
    }
    template = TEMPLATE | changes.pop("template", {})
    return values | changes | {"template": template}


def study_of(**changes: Any) -> StudyDeclaration:
    """A declared study."""
    return StudyDeclaration.model_validate(declared(**changes))


def market_of(bars: pl.DataFrame, *, warm_from: datetime | None = None) -> StudyMarket:
    """A market of these bars, warm from its first one on where nothing else is said."""
    view: MarketView = market_view(bars, NOTHING_QUARANTINED, settings_of().market)
    return StudyMarket(ETH, view, warm_from or bars["open_time"][0])


def held_to_its_end(grid: Grid, bars: pl.DataFrame, ending: Ending = Ending.NEXT_DATE) -> PlacedGrid:
    """A grid that was placed before the first bar, to its stop or to the last bar."""
    simulation = simulate_grid(grid, bars)
    row = simulation.trades.stopped_bar
    ends_at = simulation.bars["known_at"][row]  # -1 is the last
    return PlacedGrid(
        grid=grid,
        price_quote=float(bars["open"][0]),
        atr_4h_quote=np.nan,
        ends_at=from_ms(int(ends_at.timestamp() * 1000)),
        ending=Ending.STOP if row >= 0 else ending,
    )


def states_of(placed: PlacedGrid, bars: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Exit states as named, one at each close; what fired is the first mandatory trigger where an exit is asked for."""
    rows = bars.head(len(names))
    nothing = {"value": None, "threshold": None, "margin": None, "fired": False, "since": None}
    made = []
    for name, (at, price) in zip(names, rows.select("known_at", "close").rows(), strict=True):
        row: dict[str, Any] = dict.fromkeys(EXIT_SCHEMA) | dict.fromkeys(TRIGGERS, nothing)
        row |= {"grid": placed.grid.id, "evaluated_at": at, "state": name, "price": price, "policy": "seed"}
        row |= {"grid_version": placed.grid.version_hash, "reasons": [], "counterfactual": []}
        if name == "MANDATORY_EXIT":
            row["closes_outside"] = nothing | {"fired": True}
        made.append(row)
    return pl.DataFrame(made, schema=EXIT_SCHEMA, orient="row")


def write_study(folder: Path, name: str = "wide", **changes: Any) -> Path:
    """A study file in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(declared(**changes), sort_keys=False))
    return path
