"""P(stop) as it was said while grids were held, beside whether the stop was touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from mm_pipeline.application.studies.held_grids import GridShape, HeldGrid, held_grids
from mm_pipeline.application.studies.probabilities import Foretold
from mm_pipeline.domain.arrays import Bools, Floats
from mm_pipeline.domain.grid import Spacing
from mm_pipeline.domain.market import Market, Timeframe
from mm_pipeline.domain.risk import HORIZON_BARS, HORIZONS, STOP_HORIZONS, RiskHistory, RiskPolicy, stop_probability
from mm_pipeline.domain.risk.volatility import HAR_BARS

CONFIGURATIONS: Final = {
    "10 % wide, 6 levels, stop 3 % below": GridShape(
        width=0.10, levels=6, spacing=Spacing.ARITHMETIC, stop_distance=0.03, fee=0.001
    ),
    "10 % wide, 20 levels, stop 5 % below": GridShape(
        width=0.10, levels=20, spacing=Spacing.ARITHMETIC, stop_distance=0.05, fee=0.001
    ),
}
"""The first two configurations of SPEC 10."""
LONGEST_HELD_DAYS: Final = 365
"""A grid is held until its stop or until it is sold out; this bounds one that never is."""
_HELD: Final = 1e-9
"""Share of the capital: anything held is a position."""


def stops_of(history: RiskHistory, market: Market, policy: RiskPolicy) -> dict[str, Foretold]:
    """What was said each hour in position and what came, for each of ``STOP_HORIZONS``, both configurations together.

    The peer is the market's own base rate over all of these hours, which nobody knew beforehand.
    """
    first = policy.min_windows * policy.draw_every_bars + 2 * HORIZON_BARS[-1] + HAR_BARS[0] + 2
    longest = LONGEST_HELD_DAYS * Timeframe.M15.bars_per_day
    grids = [
        grid
        for shape in CONFIGURATIONS.values()
        for grid in held_grids(history, market, shape, first_row=first, longest_bars=longest, min_inventory=_HELD)
    ]
    parts = [_said_and_came(grid, history, policy) for grid in grids]
    return {
        horizon: _with_base_rate(Foretold.joined([part[k] for part in parts]))
        for k, horizon in enumerate(STOP_HORIZONS)
    }


def _said_and_came(grid: HeldGrid, history: RiskHistory, policy: RiskPolicy) -> Sequence[Foretold]:
    closed_ms = history.bars.closed_ms(Timeframe.M15)[grid.row]
    is_hour = closed_ms % Timeframe.H1.ms == 0
    row, closed_ms = grid.row[is_hour], closed_ms[is_hour]
    stop = grid.grid.stop_price
    said = stop_probability(history, history.known_at(closed_ms, policy), stop, policy)
    found = []
    for k, horizon in enumerate(STOP_HORIZONS):
        came = _touches(history, row, stop, HORIZON_BARS[HORIZONS.index(horizon)])
        is_said = np.isfinite(said[:, k])
        values = said[is_said, k]
        found.append(Foretold(closed_ms[is_said], values, came[is_said].astype(float), np.zeros_like(values)))
    return found


def _touches(history: RiskHistory, row: Floats, stop: float, bars: int) -> Bools:
    """Whether one of the lows of the next bars is at the stop or below."""
    low = history.bars.floats("low")
    ahead = np.lib.stride_tricks.sliding_window_view(low, bars)
    touched: Bools = ahead[row + 1].min(axis=1) <= stop if len(row) else np.zeros(0, dtype=np.bool_)
    return touched


def _with_base_rate(foretold: Foretold) -> Foretold:
    rate = foretold.came.mean() if len(foretold.came) else np.nan
    return replace(foretold, peer=np.full(len(foretold.came), rate))
