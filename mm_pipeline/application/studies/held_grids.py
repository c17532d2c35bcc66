"""Grids as an operator would have held them along a market's history, one after the other: what a study evaluates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from mm_pipeline.domain.arrays import Bools, Floats, Integers
from mm_pipeline.domain.grid import Grid, Spacing
from mm_pipeline.domain.market import Market, Timeframe
from mm_pipeline.domain.position.simulation import simulate_grid
from mm_pipeline.domain.risk.estimate import GridPositions
from mm_pipeline.domain.risk.history import HORIZON_BARS, RiskHistory

_LONGEST_BARS = HORIZON_BARS[-1]


@dataclass(frozen=True, kw_only=True)
class GridShape:
    """How a grid is laid about the price at which it is placed.

    Attributes
    ----------
    width, stop_distance
        From the lowest to the highest level, and from the lowest level down to the stop, both over the price.
    levels, spacing, fee
        As declared.
    """

    width: float
    levels: int
    spacing: Spacing
    stop_distance: float
    fee: float

    def placed(self, market: Market, price: float, started_at_ms: int, *, capital: float) -> Grid:
        """The grid centred at a price."""
        lower = price * (1 - self.width / 2)
        started_at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=started_at_ms)
        return Grid(
            id=f"{self.levels}-{self.spacing}-{started_at:%Y%m%dt%H%M}",
            exchange=market.exchange,
            symbol=market.symbol,
            enabled=True,
            lower=lower,
            upper=price * (1 + self.width / 2),
            levels=self.levels,
            spacing=self.spacing,
            stop_loss=lower - price * self.stop_distance,
            capital=capital,
            fee=self.fee,
            started_at=started_at,
        )


@dataclass(frozen=True, eq=False)
class HeldGrid:
    """One grid from its first close to the close at which it was stopped, sold out or too old.

    Attributes
    ----------
    row
        Shape ``(n,)``: rows of the market's bars at whose close it is evaluated.
    positions
        Its state then.
    lost
        Shape ``(n, horizons)``: equity then less equity after each horizon if it is held on, quote: the giveback that
        came true.
    """

    grid: Grid
    row: Integers
    positions: GridPositions
    lost: Floats


def held_grids(
    history: RiskHistory,
    market: Market,
    shape: GridShape,
    *,
    first_row: int,
    longest_bars: int,
    min_inventory: float,
    capital: float = 1000.0,
) -> Iterator[HeldGrid]:
    """Place a grid at the close before ``first_row``, hold it, and place the next one when it is over.

    It is over when its stop is touched, when it closes with nothing left to sell, and after ``longest_bars``; the next
    one starts at the open of the bar after. It is evaluated at each close that was known at once (not in a gap) at
    which its inventory is worth ``min_inventory`` of its capital or more, and the longest horizon is recorded.

    Parameters
    ----------
    history
        Bars of the market.
    first_row
        Row of the first bar of the first grid.
    longest_bars, min_inventory, capital
        Bars; share of the capital; quote.
    """
    bars = history.bars
    close, rows = bars.floats("close"), len(bars.frame)
    first = first_row
    while first + _LONGEST_BARS < rows:
        grid = shape.placed(market, float(close[first - 1]), int(bars.opened_ms[first]), capital=capital)
        simulation = simulate_grid(grid, bars.frame.slice(first, longest_bars + _LONGEST_BARS))
        equity, rung = simulation.equity["equity_quote"].to_numpy(), simulation.rung
        stopped, alive = simulation.trades.stopped_bar, len(equity) - _LONGEST_BARS
        ends = [alive - 1, *np.flatnonzero(rung == len(simulation.ladder.quantity_base))[:1].tolist()]
        last = min([*ends, stopped] if stopped >= 0 else ends)
        held = simulation.ladder.held_base[rung[: last + 1]]
        is_asked = held * close[first : first + last + 1] >= min_inventory * capital
        if last == stopped:
            is_asked[last] = False
        asked = np.flatnonzero(is_asked & _is_known_at_once(history, first, first + last))
        yield HeldGrid(
            grid=grid,
            row=first + asked,
            positions=GridPositions(simulation.ladder, rung[asked], held[asked], np.zeros(len(asked), dtype=np.bool_)),
            lost=equity[asked, None] - equity[asked[:, None] + np.array(HORIZON_BARS)],
        )
        first += last + 1


def _is_known_at_once(history: RiskHistory, first: int, last: int) -> Bools:
    """Whether rows ``first..last`` were known at their close, and the longest horizon after them has no hole."""
    bars, span = history.bars, slice(first, last + 1)
    opened_ms = bars.opened_ms
    ahead_ms = opened_ms[first + _LONGEST_BARS : last + 1 + _LONGEST_BARS] - opened_ms[span]
    step = Timeframe.M15.ms
    return np.asarray((bars.known_ms[span] == opened_ms[span] + step) & (ahead_ms == _LONGEST_BARS * step))
