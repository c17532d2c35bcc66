"""What a position may lose within the next 15 minutes, hour and four hours, and at worst (SPEC 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from mm_pipeline.domain.arrays import Bools, Floats, Integers
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.position.trading import GridLadder
from mm_pipeline.domain.risk.bootstrap import DrawWindow, Seeds, StandardisedBars
from mm_pipeline.domain.risk.policy import RiskPolicy

HORIZONS: Final = (Timeframe.M15, Timeframe.H1, Timeframe.H4)
"""How long an exit may be delayed: the horizons of SPEC 7."""
HORIZON_BARS: Final = tuple(horizon.ms // Timeframe.M15.ms for horizon in HORIZONS)
GIVEBACK_PROBABILITIES: Final = {"p50": 0.5, "p90": 0.9}
"""What the names say."""


@dataclass(frozen=True, eq=False)
class GridPositions:
    """A grid at each of n evaluations.

    Attributes
    ----------
    ladder
        Levels, quantities, stop and fee.
    rung
        Shape ``(n,)``: the lowest interval that holds, all above it do too; the number of intervals where none does.
        Each interval below it has a resting buy.
    inventory_base
        Shape ``(n,)``: everything that is held. What the intervals do not account for is sold at the stop only.
    is_over
        Shape ``(n,)``: the stop has ended the grid; nothing is held and no order rests.
    """

    ladder: GridLadder
    rung: Integers
    inventory_base: Floats
    is_over: Bools

    @property
    def beside_base(self) -> Floats:
        """What is held beside the intervals' own quantities; exactly 0 in the model."""
        return np.where(self.is_over, 0.0, self.inventory_base - self.ladder.held_base[self.rung])


@dataclass(frozen=True, eq=False)
class RiskFigures:
    """Losses against equity now, in quote, positive where money is lost; NaN where nothing can be said.

    Attributes
    ----------
    worst_case
        Shape ``(n,)``: every resting buy filled at its level (at most at the price), all out at the stop.
    capital_at_risk
        Shape ``(n, horizons)``: equity now less the ``capital_at_risk_quantile`` of equity after the horizon, buys and
        sales on the way included, after the fee of selling what is held then.
    giveback
        Shape ``(n, horizons, 2)``: p50 and p90 of equity now less equity after the horizon, the inventory at its price.
    """

    worst_case: Floats
    capital_at_risk: Floats
    giveback: Floats


def position_risk(
    positions: GridPositions, history: StandardisedBars, window: DrawWindow, seeds: Seeds, policy: RiskPolicy
) -> RiskFigures:
    """Risk of a grid at each evaluation.

    The grid is run along ``paths`` block bootstrap paths of the market's standardised bars, times the present
    volatility, which stays what it is along a path; the same moves, volatility, position and seed give the same bits,
    in a batch as alone.

    Parameters
    ----------
    positions, window, seeds
        Position, what may be drawn, and seed, row for row.
    history
        Bars of the market.
    policy
        Thresholds.
    """
    from mm_pipeline.domain.risk.path_loops import Drawing, Ladder, Pool, Starts, risk_along_paths

    ladder = positions.ladder
    count = window.end - window.first
    is_drawn = (count >= policy.min_history_bars) & (window.row >= 0) & ~positions.is_over
    giveback, at_risk = risk_along_paths(
        Pool(history.moves, history.is_low_first),
        Ladder(ladder.levels, ladder.quantity_base, ladder.stop_loss, ladder.fee),
        Drawing(
            policy.block_bars,
            policy.paths,
            np.array(HORIZON_BARS, dtype=np.int64),
            np.array(list(GIVEBACK_PROBABILITIES.values())),
            policy.capital_at_risk_quantile,
        ),
        Starts(
            window.first,
            np.where(is_drawn, count, 0),
            seeds,
            window.price,
            window.volatility,
            positions.rung,
            positions.beside_base,
        ),
    )
    at_risk[positions.is_over], giveback[positions.is_over] = 0.0, 0.0
    return RiskFigures(_worst_case_quote(positions, window.price), at_risk, giveback)


def _worst_case_quote(positions: GridPositions, price: Floats) -> Floats:
    """:func:`~mm_pipeline.domain.position.worst_case.worst_case_quote` of every evaluation at once."""
    ladder = positions.ladder
    out = np.minimum(ladder.stop_loss, price) * (1 - ladder.fee)
    resting = np.arange(len(ladder.quantity_base)) < positions.rung[:, None]
    bought = np.minimum(ladder.levels[:-1], price[:, None]) * (1 + ladder.fee)
    lost = np.where(resting, ladder.quantity_base * (bought - out[:, None]), 0.0).sum(axis=1)
    worst: Floats = np.where(
        positions.is_over, 0.0, np.fmax(positions.inventory_base * (price - out) + lost, 0.0 * price)
    )
    return worst
