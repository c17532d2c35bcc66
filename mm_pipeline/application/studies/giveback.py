"""Forecasts of giveback beside what came true, for the model and the peers that it must beat. Scores: ``coverage``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.special import ndtri

from mm_pipeline.application.studies.held_grids import GridShape, HeldGrid, held_grids
from mm_pipeline.domain.arrays import Floats, Integers
from mm_pipeline.domain.grid import Spacing
from mm_pipeline.domain.indicators.windows import lagged
from mm_pipeline.domain.market import Market, Timeframe
from mm_pipeline.domain.risk.bootstrap import StandardisedBars, path_seeds
from mm_pipeline.domain.risk.estimate import GIVEBACK_PROBABILITIES, HORIZON_BARS, position_risk
from mm_pipeline.domain.risk.policy import RiskPolicy

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
PEER_PATHS: Final = 500
"""Of the unconditional peer: enough to see how it compares, in a quarter of the time."""
METHODS: Final = ("model", "normal", "unconditional")
"""The model; a normal of the inventory's price with sigma sqrt(d); the model's paths from returns as they were."""


@dataclass(frozen=True, eq=False)
class Forecasts:
    """Evaluations of one series of grids, n in all.

    Attributes
    ----------
    close_ms
        Shape ``(n,)``: when.
    lost_pct
        Shape ``(n, horizons)``: what came true, in % of the capital.
    said_pct
        For each method shape ``(n, horizons, 2)``: p50 and p90, in % of the capital.
    """

    close_ms: Integers
    lost_pct: Floats
    said_pct: dict[str, Floats]

    def of(self, is_wanted: Integers) -> Forecasts:
        """Some of the rows."""
        said = {name: values[is_wanted] for name, values in self.said_pct.items()}
        return Forecasts(self.close_ms[is_wanted], self.lost_pct[is_wanted], said)


def studied_grids(history: StandardisedBars, market: Market, shape: GridShape, policy: RiskPolicy) -> list[HeldGrid]:
    """Grids of one shape along a market, from the first bar at which there is history enough to say anything."""
    return list(
        held_grids(
            history,
            market,
            shape,
            first_row=policy.min_history_bars + policy.volatility_bars + 1,
            longest_bars=LONGEST_HELD_DAYS * Timeframe.M15.bars_per_day,
            min_inventory=MIN_INVENTORY,
        )
    )


def forecast(held: HeldGrid, history: StandardisedBars, raw: StandardisedBars, policy: RiskPolicy) -> Forecasts:
    """What each method says at each evaluation of a held grid; rows at which the model says nothing are left out.

    Parameters
    ----------
    held, history, policy
        The grid, the bars that it was held on, and the thresholds.
    raw
        :func:`unscaled` of ``history``.
    """
    close_ms = history.bars.opened_ms[held.row] + Timeframe.M15.ms
    window, seeds = history.windows(close_ms, policy), path_seeds(held.grid.id, close_ms)
    model = position_risk(held.positions, history, window, seeds, policy)
    fewer = policy.model_copy(update={"paths": min(PEER_PATHS, policy.paths)})
    peer = position_risk(held.positions, raw, raw.windows(close_ms, policy), seeds, fewer)
    exposure = held.positions.inventory_base * window.price * window.volatility
    sigmas = exposure[:, None, None] * np.sqrt(np.array(HORIZON_BARS))[:, None]
    said = {
        "model": model.giveback,
        "normal": sigmas * ndtri(list(GIVEBACK_PROBABILITIES.values())),
        "unconditional": peer.giveback,
    }
    in_pct = 100.0 / held.grid.capital
    everything = Forecasts(close_ms, held.lost * in_pct, {name: values * in_pct for name, values in said.items()})
    return everything.of(np.flatnonzero(np.isfinite(model.giveback[:, 0, 0])))


def unscaled(history: StandardisedBars) -> StandardisedBars:
    """The same bars with their returns as they were, whatever the volatility then and now."""
    unit = lagged(history.volatility, 1)[history.pool]
    return replace(history, moves=history.moves * unit[:, None], volatility=np.ones_like(history.volatility))


def joined(parts: Sequence[Forecasts]) -> Forecasts:
    """All rows of several."""
    return Forecasts(
        np.concatenate([part.close_ms for part in parts]),
        np.concatenate([part.lost_pct for part in parts]),
        {name: np.concatenate([part.said_pct[name] for part in parts]) for name in METHODS},
    )
