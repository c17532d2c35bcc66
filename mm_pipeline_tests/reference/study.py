"""Outcomes of episodes the long way: lists of rows, every close asked in turn, the grid by the plain simulation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mm_pipeline_tests.reference.simulation import Bar, Close, Simulation, simulate

HORIZONS = {"15m": 1, "1h": 4, "4h": 16, "24h": 96}


@dataclass(frozen=True)
class PlainGrid:
    """Levels, stop, capital and fee."""

    levels: Sequence[float]
    stop: float
    capital: float
    fee: float


def outcomes(grid: PlainGrid, bars: Sequence[Bar], states: Sequence[str]) -> list[dict[str, Any]]:
    """A row an episode of a grid that is placed at the first open; state i stands at the close of bar i.

    ``states`` end where the grid does: at its stop, or at the end of its span.
    """
    run = simulate(grid.levels, grid.stop, grid.capital, grid.fee, bars[: len(states)])
    last = len(states) - 1
    is_stopped = run.stopped_bar is not None
    found = []
    begin = 0
    while begin <= last:
        end = begin
        while end <= last and states[end] == states[begin]:
            end += 1
        over = min(end, last)
        found.append(
            {
                "state": states[begin],
                "evaluations": end - begin,
                "duration_h": (over - begin) / 4,
                "leave_pnl_quote": left(run.closes[begin], bars[begin][3], grid),
                **{
                    f"hold_pnl_{name}_quote": held_to(begin + count, run, bars[: len(states)], grid)
                    for name, count in HORIZONS.items()
                },
                "hold_pnl_end_quote": left(run.closes[over], bars[over][3], grid),
                "grid_end_pnl_quote": left(run.closes[last], bars[last][3], grid),
                "worst_excursion_24h_quote": fallen(run.closes, begin, min(begin + 96, last)),
                "worst_excursion_24h_pct": fallen_pct(bars, begin, min(begin + 96, last)),
                "stop_after_h": (last - begin) / 4 if is_stopped else None,
                **place(grid, bars, begin, last),
            }
        )
        begin = end
    return found


def left(close: Close, price: float, grid: PlainGrid) -> float:
    """PnL of selling everything at a close."""
    return close.cash + close.inventory * price * (1 - grid.fee) - grid.capital


def held_to(row: int, run: Simulation, bars: Sequence[Bar], grid: PlainGrid) -> float | None:
    """PnL of leaving at a row; after the last one that of a stopped grid stays, of another nothing is known."""
    last = len(bars) - 1
    if row > last:
        return left(run.closes[last], bars[last][3], grid) if run.stopped_bar is not None else None
    return left(run.closes[row], bars[row][3], grid)


def fallen(closes: Sequence[Close], begin: int, until: int) -> float:
    worst = 0.0
    for row in range(begin + 1, until + 1):
        worst = max(worst, closes[begin].equity - closes[row].equity)
    return worst


def fallen_pct(bars: Sequence[Bar], begin: int, until: int) -> float:
    worst, price = 0.0, bars[begin][3]
    for row in range(begin + 1, until + 1):
        worst = max(worst, 100 * (price - bars[row][2]) / price)
    return worst


def place(grid: PlainGrid, bars: Sequence[Bar], begin: int, last: int) -> dict[str, Any]:
    def outside(price: float) -> bool:
        return not (min(grid.levels) <= price <= max(grid.levels))

    if not outside(bars[begin][3]):
        return {"is_outside": False, "back_in_range_after_h": None}
    for row in range(begin + 1, last + 1):
        if not outside(bars[row][3]):
            return {"is_outside": True, "back_in_range_after_h": (row - begin) / 4}
    return {"is_outside": True, "back_in_range_after_h": None}


def is_close(expected: object, found: object) -> bool:
    """Equal, or equal but for rounding."""
    if isinstance(expected, float) and isinstance(found, float):
        return math.isclose(expected, found, rel_tol=1e-9, abs_tol=1e-8)
    return expected == found
