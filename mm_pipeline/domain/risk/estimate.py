"""What a position may lose within the next 15 minutes to 24 hours, and at worst; how likely its stop is (SPEC 6, 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from mm_pipeline.domain.arrays import Bools, Floats, Integers
from mm_pipeline.domain.position.trading import GridLadder
from mm_pipeline.domain.risk.history import HORIZON_BARS, HORIZONS, WINDOW_BARS, PastWindows, RiskHistory
from mm_pipeline.domain.risk.policy import RiskPolicy

if TYPE_CHECKING:
    from mm_pipeline.domain.risk.path_loops import Asked, Ladder, Past, Starts

GIVEBACK_PROBABILITIES: Final = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99}
"""What the names say."""
TIE: Final = 1e-11
"""Share of the capital: a stopped grid ends at one value on many paths as in fact, but for rounding."""
STOP_HORIZONS: Final = ("4h", "24h")
"""Within which the stop may be touched (SPEC 6)."""


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

    def at(self, rows: Integers) -> GridPositions:
        """Some of the evaluations."""
        return GridPositions(self.ladder, self.rung[rows], self.inventory_base[rows], self.is_over[rows])

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
        Shape ``(n, horizons, probabilities)``: quantiles of equity now less equity after the horizon, the inventory at
        its price.
    stop_probability
        Shape ``(n, 2)``: P(a 15m low touches the stop) within ``STOP_HORIZONS``; NaN where there is no stop.
    """

    worst_case: Floats
    capital_at_risk: Floats
    giveback: Floats
    stop_probability: Floats


def position_risk(
    positions: GridPositions, history: RiskHistory, known: PastWindows, policy: RiskPolicy
) -> RiskFigures:
    """Risk of a grid at each evaluation.

    The grid is run along every window of the market's past that an evaluation knows, each stretched to the present
    volatility forecast and freed of the trend that all of them share. Nothing is drawn at random: the same bars and
    position give the same bits, in a batch as alone, whatever the grid is called.

    Parameters
    ----------
    positions, known
        Position, and the windows that are known, row for row.
    history
        Bars of the market.
    policy
        Thresholds.
    """
    from mm_pipeline.domain.risk.path_loops import risk_along_windows

    not_asked = np.full((len(known.row), len(HORIZONS)), np.nan)
    giveback, at_risk, _, _ = risk_along_windows(*loop_inputs(positions, history, known, policy), not_asked)
    at_risk[positions.is_over], giveback[positions.is_over] = 0.0, 0.0
    return RiskFigures(
        worst_cases_quote(positions, known.price),
        at_risk,
        giveback,
        stop_probability(history, known, positions.ladder.stop_loss, policy),
    )


def loop_inputs(
    positions: GridPositions, history: RiskHistory, known: PastWindows, policy: RiskPolicy
) -> tuple[Past, Ladder, Asked, Starts]:
    """What the compiled loops take; nothing is said of a grid that is over, or of too few windows."""
    from mm_pipeline.domain.risk.path_loops import Asked, Ladder, Past, Starts

    ladder = positions.ladder
    is_said = known.is_enough(policy) & ~positions.is_over
    return (
        Past(history.prices, history.is_low_first, history.starts, history.units, history.stretches, WINDOW_BARS),
        Ladder(ladder.levels, ladder.quantity_base, ladder.stop_loss, ladder.fee),
        Asked(
            np.array(HORIZON_BARS, dtype=np.int64),
            np.array(list(GIVEBACK_PROBABILITIES.values())),
            policy.capital_at_risk_quantile,
            TIE * float(positions.ladder.quantity_base @ positions.ladder.levels[:-1]),
        ),
        Starts(
            known.first,
            np.where(is_said, known.end, known.first),
            known.price,
            known.volatility,
            positions.rung,
            positions.beside_base,
        ),
    )


def stop_probability(history: RiskHistory, known: PastWindows, stop_loss: float, policy: RiskPolicy) -> Floats:
    """P(a 15m low touches the stop) within each of ``STOP_HORIZONS``, shape ``(n, 2)`` (SPEC 6).

    The share of known windows whose deepest low, in units of the forecast at their start, went as far as the stop is
    below the price in units of the forecast now: distance over size, nothing of direction. NaN where there is no stop
    (0), no forecast, or too few windows.
    """
    found = np.full((len(known.row), len(STOP_HORIZONS)), np.nan)
    if stop_loss <= 0.0:
        return found
    is_said = known.is_enough(policy) & (known.volatility > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.log(known.price / stop_loss) / known.volatility
    for place, horizon in enumerate(STOP_HORIZONS):
        depths = np.ascontiguousarray(history.depths[:, HORIZONS.index(horizon)])
        for i in np.flatnonzero(is_said).tolist():
            inside = depths[known.first[i] : known.end[i]]
            found[i, place] = np.count_nonzero(inside >= distance[i]) / len(inside)
    return found


def worst_cases_quote(positions: GridPositions, price: Floats) -> Floats:
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
