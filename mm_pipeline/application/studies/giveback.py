"""Forecasts of giveback beside what came true, and beside a normal of the same inventory. Scores: ``coverage``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtri

from mm_pipeline.application.studies.held_grids import GridShape, HeldGrid, held_grids
from mm_pipeline.domain.arrays import Floats, Integers
from mm_pipeline.domain.grid import Spacing
from mm_pipeline.domain.market import Market, Timeframe
from mm_pipeline.domain.risk import (
    GIVEBACK_PROBABILITIES,
    HORIZON_BARS,
    RiskHistory,
    RiskPolicy,
)
from mm_pipeline.domain.risk.estimate import loop_inputs, worst_cases_quote
from mm_pipeline.domain.risk.volatility import HAR_BARS

STUDIED_SHAPES: Final = tuple(
    GridShape(width=width, levels=levels, spacing=spacing, stop_distance=width / 3, fee=0.001)
    for width, levels, spacing in (
        (0.03, 6, Spacing.ARITHMETIC),
        (0.08, 11, Spacing.GEOMETRIC),
        (0.20, 21, Spacing.ARITHMETIC),
    )
)
"""From a grid of hours to one of weeks, each placed around the price, with its stop a third of its width below it."""
LONGEST_HELD_DAYS: Final = 30
"""A grid that is neither stopped nor sold out by then is laid anew: prices long left are not what it would hold."""
MIN_INVENTORY: Final = 0.10
"""Share of the capital below which there is little to give back."""
PEER_QUANTILE: Final = "p90"
"""Quantile at which the pinball loss is compared with the normal's."""


@dataclass(frozen=True, eq=False)
class Forecasts:
    """Evaluations of one series of grids, n in all.

    Attributes
    ----------
    close_ms
        Shape ``(n,)``: when.
    lost_pct
        Shape ``(n, horizons)``: what came true, in % of the capital.
    place
        Shape ``(n, horizons)``: where that stands in the forecast, 0..1: uniform if the forecast is right. Where paths
        end at one value, as those of a stopped grid do, it is spread evenly over them (Czado et al. 2009).
    said_pct, normal_pct
        Shape ``(n, horizons)``: the model's and the normal's p90, in % of the capital.
    """

    close_ms: Integers
    lost_pct: Floats
    place: Floats
    said_pct: Floats
    normal_pct: Floats

    def of(self, is_wanted: Integers) -> Forecasts:
        """Some of the rows."""
        columns = (self.lost_pct, self.place, self.said_pct, self.normal_pct)
        return Forecasts(self.close_ms[is_wanted], *(values[is_wanted] for values in columns))

    @classmethod
    def joined(cls, parts: Sequence[Forecasts]) -> Forecasts:
        """All rows of several."""
        return cls(
            np.concatenate([part.close_ms for part in parts]),
            np.concatenate([part.lost_pct for part in parts]),
            np.concatenate([part.place for part in parts]),
            np.concatenate([part.said_pct for part in parts]),
            np.concatenate([part.normal_pct for part in parts]),
        )


def studied_grids(history: RiskHistory, market: Market, shape: GridShape, policy: RiskPolicy) -> list[HeldGrid]:
    """Grids of one shape along a market, from the first bar at which there is history enough to say anything."""
    first = policy.min_windows * policy.draw_every_bars + 2 * HORIZON_BARS[-1] + HAR_BARS[0] + 2
    return list(
        held_grids(
            history,
            market,
            shape,
            first_row=first,
            longest_bars=LONGEST_HELD_DAYS * Timeframe.M15.bars_per_day,
            min_inventory=MIN_INVENTORY,
        )
    )


def forecast(held: HeldGrid, history: RiskHistory, policy: RiskPolicy, *, every: int = 1) -> Forecasts:
    """What is said at each ``every``th evaluation of a held grid; rows at which nothing is said are left out.

    The normal is that of the inventory's price with sigma sqrt(d), of the volatility of the last 24 h, and says no
    more than the worst case. Ties are spread by numbers that hang on the time alone.
    """
    from mm_pipeline.domain.risk.path_loops import risk_along_windows

    closed_ms = history.bars.closed_ms(Timeframe.M15)[held.row]
    asked = np.flatnonzero(closed_ms // Timeframe.M15.ms % every == 0)
    closed_ms, lost, positions = closed_ms[asked], held.lost[asked], held.positions.at(asked)
    known = history.known_at(closed_ms, policy)
    inputs = loop_inputs(positions, history, known, policy)
    giveback, _, less, same = risk_along_windows(*inputs, lost)
    exposure = positions.inventory_base * known.price * np.sqrt(history.variances[known.row, 0])
    p90 = list(GIVEBACK_PROBABILITIES).index(PEER_QUANTILE)
    normal = exposure[:, None] * np.sqrt(np.array(HORIZON_BARS)) * ndtri(GIVEBACK_PROBABILITIES[PEER_QUANTILE])
    in_pct = 100.0 / held.grid.capital
    everything = Forecasts(
        closed_ms,
        lost * in_pct,
        less + _spread(closed_ms, same.shape) * same,
        giveback[:, :, p90] * in_pct,
        np.minimum(normal, worst_cases_quote(positions, known.price)[:, None]) * in_pct,
    )
    return everything.of(np.flatnonzero(np.isfinite(less[:, 0])))


def _spread(closed_ms: Integers, shape: tuple[int, ...]) -> Floats:
    """Numbers in 0..1 that are as good as random, and the same at each run."""
    first = int(closed_ms[0]) if len(closed_ms) else 0
    return np.random.default_rng(first).random(shape)
