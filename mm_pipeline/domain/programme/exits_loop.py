"""Compiled loops over grids that are held whatever is said: where a policy would leave them, and what that is worth.

Rows are 15m bars of one market. Imported where it is first run.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mm_pipeline.domain.arrays import Bools, Floats, Integers
from mm_pipeline.domain.position.compilation import compiled
from mm_pipeline.domain.programme.grid_loop import begun, critical_fall, ladder_of
from mm_pipeline.domain.programme.programme_loop import Offers


class Held(NamedTuple):
    """Of m grids the entry and the last row, and of n rows the net worth in % of the capital."""

    entry: Integers
    last: Integers
    worth_pct: Floats


class Needs(NamedTuple):
    """What signals must come to, one row more than bars each: how far the stop is, and the fall that costs the budget.

    Log prices, for a grid that is held at a row; of a grid that may be placed the same stand in the ``_at_entry`` ones,
    shape ``(m,)``. ``is_fact``: a fact about the grid says that it is over.
    """

    distance: Floats
    fall: Floats
    is_fact: Bools
    distance_at_entry: Floats
    fall_at_entry: Floats


class Said(NamedTuple):
    """The market's part of one degree of a policy, shape ``(n,)``; see ``programme_loop.Levels``."""

    is_on: Bools
    reach: Floats
    fall: Floats


@compiled
def falls_needed(
    held: Held, rung: Integers, close: Floats, offers: Offers, terms: tuple[float, float, bool]
) -> tuple[Floats, Floats]:
    """The fall (log price) that costs the budget at each held row, and where each of m grids is placed.

    ``terms`` are the fee, the budget in % of the capital, and whether it is of all that is lost since the start.
    """
    fee, budget_pct, is_from_start = terms
    needed, at_entry = np.full(len(close), np.inf), np.full(len(held.entry), np.inf)
    for k in range(len(held.entry)):
        first = held.entry[k]
        ladder = ladder_of(offers.lower[first], offers.upper[first], offers.levels[first], offers.stop[first], fee)
        position = begun(ladder, close[first])
        gained = position.cash + ladder.held[position.rung] * close[first] if is_from_start else 0.0
        at_entry[k] = critical_fall(ladder, position.rung, close[first], budget_pct + gained)
        for row in range(first + 1, held.last[k]):
            inventory = ladder.held[rung[row]] * close[row]
            gained = held.worth_pct[row] + inventory * fee if is_from_start else 0.0
            needed[row] = critical_fall(ladder, rung[row], close[row], budget_pct + gained)
    return needed, at_entry


@compiled
def rows_left(held: Held, needs: Needs, said: Said, shifts: Integers, first: int) -> Integers:
    """The row at whose close each grid is left, one line a shift, shape ``(shifts, m)``; -1 where it is not placed.

    An exit executes at the close of the bar after the signal; a grid that ends by itself has its last row. A shift
    reads the market's signals that many rows later, going round the rows from ``first`` on. What the market alone says
    is off wherever the entry state is ENTER: where a shift has it on, it counts once it has been off.
    """
    rows = len(held.worth_pct)
    found = np.empty((len(shifts), len(held.entry)), dtype=np.int64)
    for k in range(len(held.entry)):
        entry, last = held.entry[k], held.last[k]
        fact = entry + 1
        while fact < last and not needs.is_fact[fact]:
            fact += 1
        for draw in range(len(shifts)):
            read = entry + shifts[draw]
            read -= rows - first if read >= rows else 0
            if needs.distance_at_entry[k] <= said.reach[read] or needs.fall_at_entry[k] <= said.fall[read]:
                found[draw, k] = -1
                continue
            row, is_standing = entry + 1, said.is_on[read]
            while row < fact:
                read = read + 1 if read < rows - 1 else first
                is_standing &= said.is_on[read]
                if needs.distance[row] <= said.reach[read] or needs.fall[row] <= said.fall[read]:
                    break
                if said.is_on[read] and not is_standing:
                    break
                row += 1
            found[draw, k] = min(row + 1, last)
    return found


@compiled
def value_of_exits(held: Held, left: Integers) -> tuple[Floats, Floats]:
    """PnL of each grid, shape of ``left``, and the deepest drawdown of their sum at closes of each line, both in %."""
    worth, rows = held.worth_pct, len(held.worth_pct)
    high, low, inner = np.zeros(rows), np.zeros(rows), np.zeros(rows)
    for k in range(len(held.entry)):
        begun = held.entry[k] + 1
        high[begun], low[begun] = worth[begun], worth[begun]
        for row in range(begun + 1, held.last[k] + 1):
            high[row], low[row] = max(high[row - 1], worth[row]), min(low[row - 1], worth[row])
            inner[row] = max(inner[row - 1], high[row] - worth[row])
    pnl, drawdown = np.zeros(left.shape), np.zeros(len(left))
    for draw in range(len(left)):
        total, peak, deepest = 0.0, 0.0, 0.0
        for k in range(len(held.entry)):
            row = left[draw, k]
            if row < 0:
                continue
            deepest = max(deepest, inner[row], peak - total - low[row])
            peak = max(peak, total + high[row])
            pnl[draw, k] = worth[row]
            total += worth[row]
        drawdown[draw] = deepest
    return pnl, drawdown


@compiled
def losses_ahead(held: Held, bars: int) -> Floats:
    """What holding on costs at worst within some bars, against leaving at the next close, shape ``(n,)``, %.

    At closes, the stop in force; not below 0, and 0 where there is no grid or it ends with the next bar.
    """
    worth = held.worth_pct
    found = np.zeros(len(worth))
    for k in range(len(held.entry)):
        last = held.last[k]
        for row in range(held.entry[k] + 1, last - 1):
            lowest = worth[row + 1]
            for ahead in range(row + 2, min(row + 1 + bars, last) + 1):
                lowest = min(lowest, worth[ahead])
            found[row] = worth[row + 1] - lowest
    return found
