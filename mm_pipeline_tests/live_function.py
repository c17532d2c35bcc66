"""The live function at single evaluations, given no bar but those of its own look-back: the peer of batch frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from mm_pipeline.adapters.config.grid_files import load_grids
from mm_pipeline.domain.candles import fill_gaps
from mm_pipeline.domain.grid import Grid, GridVersion
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.domain.pipeline import evaluate, market_view
from mm_pipeline.settings import Settings, load_settings

MARGIN_DAYS = 1


@dataclass(frozen=True)
class LiveTicks:
    """Called with evaluations, it judges every grid at each of them anew; can be sent to another process."""

    candles: pl.DataFrame
    grids: Path
    settings_file: Path

    def __call__(self, ticks: Sequence[datetime]) -> pl.DataFrame:
        """``grid, evaluated_at, state, price, reasons``, a row per grid and tick."""
        settings = self._settings
        versions = [GridVersion(grid, grid.started_at) for grid in self._grids]
        rows = []
        for at in ticks:
            view = market_view(self.bars_at(at), np.empty(0, dtype=np.int64), settings.market)
            for version in versions:
                advice = evaluate([version], view, settings.advice, first_ms=to_ms(at), last_ms=to_ms(at))
                frame = advice.exit_states if version.grid.enabled else advice.entry_states
                rows.append(frame.select("grid", "evaluated_at", "state", "price", "reasons"))
        return pl.concat(rows)

    def bars_at(self, at: datetime) -> pl.DataFrame:
        """Bars closed by ``at``, from ``warm_up_days`` before what it looks at, and where P(stop) is drawn from."""
        started = [grid.started_at for grid in self._grids if grid.started_at <= at]
        looked_at = min([at - self._settings.exit_state.since_window, *started])
        warm = looked_at - timedelta(days=self._settings.data.warm_up_days + MARGIN_DAYS)
        drawn = at - self._settings.exit_state.since_window - timedelta(milliseconds=self._settings.risk.lookback_ms)
        first = min(warm, drawn)
        closed = at - timedelta(minutes=15)
        return fill_gaps(self.candles.filter(pl.col("open_time").is_between(first, closed)), quarantined_ms=None)

    @cached_property
    def _settings(self) -> Settings:
        return load_settings(self.settings_file)

    @cached_property
    def _grids(self) -> tuple[Grid, ...]:
        return load_grids(self.grids).grids
