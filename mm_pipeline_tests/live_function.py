"""The live function at single evaluations, given no bar but those of its own look-back: the peer of batch frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from mm_pipeline.adapters.calibration_files import load_calibration, shipped_calibration
from mm_pipeline.adapters.clock import to_ms
from mm_pipeline.adapters.grid_files import load_grids
from mm_pipeline.domain.candles import fill_gaps
from mm_pipeline.domain.grid import GridVersion
from mm_pipeline.domain.pipeline import MarketPolicy, evaluate, market_view
from mm_pipeline.settings import load_settings

MARGIN_DAYS = 1


@dataclass(frozen=True)
class LiveTicks:
    """Called with evaluations, it judges every grid at each of them anew; can be sent to another process."""

    candles: pl.DataFrame
    grids: Path
    settings_file: Path

    def __call__(self, ticks: Sequence[datetime]) -> pl.DataFrame:
        """``grid, evaluated_at, state, price, reasons``, a row per grid and tick."""
        settings = load_settings(self.settings_file)
        policy = MarketPolicy(settings.metrics, settings.regime, load_calibration(shipped_calibration()))
        versions = [GridVersion(grid, grid.started_at) for grid in load_grids(self.grids).grids]
        rows = []
        for at in ticks:
            view = market_view(self.bars_at(at), np.empty(0, dtype=np.int64), policy)
            for version in versions:
                advice = evaluate([version], view, settings.advice, first_ms=to_ms(at), last_ms=to_ms(at))
                frame = advice.exit_states if version.grid.enabled else advice.entry_states
                rows.append(frame.select("grid", "evaluated_at", "state", "price", "reasons"))
        return pl.concat(rows)

    def bars_at(self, at: datetime) -> pl.DataFrame:
        """Bars closed by ``at``, from ``warm_up_days`` before what the evaluation looks at."""
        settings = load_settings(self.settings_file)
        started = [grid.started_at for grid in load_grids(self.grids).grids if grid.started_at <= at]
        looked_at = min([at - settings.exit_state.since_window, *started])
        first = looked_at - timedelta(days=settings.data.warm_up_days + MARGIN_DAYS)
        closed = at - timedelta(minutes=15)
        return fill_gaps(self.candles.filter(pl.col("open_time").is_between(first, closed)), quarantined_ms=None)
