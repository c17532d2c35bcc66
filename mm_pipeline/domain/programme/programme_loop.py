"""The compiled loop of a programme: grids placed, held and left, bar by bar. Imported where it is first run."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mm_pipeline.domain.arrays import Bools, Floats, Integers
from mm_pipeline.domain.position.compilation import compiled
from mm_pipeline.domain.programme.grid_loop import (
    CAPITAL,
    Ladder,
    Position,
    Prices,
    after_bar,
    begun,
    critical_fall,
    ladder_of,
)

EXITED, STOPPED, SOLD_OUT, UNFINISHED = range(4)


class Closes(NamedTuple):
    """Coarse bars of one timeframe.

    ``newest``, shape ``(n,)``, is the newest known at each 15m close. Of each coarse bar: open time (epoch ms), close,
    ATR, whether it is real, and whether the bar before it is there.
    """

    newest: Integers
    opened_ms: Integers
    close: Floats
    atr: Floats
    is_real: Bools
    is_next: Bools


class Market(NamedTuple):
    """Prices, 1h and 4h closes, and the confirmed-swing range known at each 15m close (quote)."""

    prices: Prices
    hourly: Closes
    four_hourly: Closes
    range_high: Floats
    range_low: Floats


class Offers(NamedTuple):
    """Shape ``(n,)``: whether a grid may be placed at a close, and its bounds, levels and stop."""

    is_offered: Bools
    lower: Floats
    upper: Floats
    levels: Integers
    stop: Floats


class Levels(NamedTuple):
    """Two degrees of a signal at n closes, shape ``(2, n)`` each, the milder one first.

    ``is_on``: the market alone says so. ``reach``: the stop is likely if it is no farther than this, log price.
    ``fall``: how far the price may fall, log price.
    """

    is_on: Bools
    reach: Floats
    fall: Floats


class Rule(NamedTuple):
    """How a programme is run; see ``engine.Rules``."""

    first: int
    fee: float
    closes_outside: int
    buffer_atr: float
    budget_pct: tuple[float, float]
    is_from_start: bool
    tightness: float
    is_obeyed: bool
    is_reranged: bool
    shift: int


class Tape(NamedTuple):
    """What stood at each close, shape ``(n,)``: net worth in % of the capital, share held, rung, state."""

    worth_pct: Floats
    held_share: Floats
    rung: Integers
    state: Integers


class Placed(NamedTuple):
    """A grid: its ladder, its bounds, the bounds widened by the range known at its start, and its start (epoch ms)."""

    ladder: Ladder
    bounds: tuple[float, float]
    widened: tuple[float, float]
    started_ms: int


class Facts(NamedTuple):
    """Closes outside in a row, on which side, and whether the range was left since the start."""

    outside: int
    side: int
    is_left: bool


@compiled
def placed(market: Market, offers: Offers, rule: Rule, row: int) -> Placed:
    """The grid that is offered at a close."""
    stop = offers.stop[row] + rule.tightness * (market.prices.close[row] - offers.stop[row])
    bounds = (offers.lower[row], offers.upper[row])
    widened = (np.fmin(bounds[0], market.range_low[row]), np.fmax(bounds[1], market.range_high[row]))
    ladder = ladder_of(bounds[0], bounds[1], offers.levels[row], stop, rule.fee)
    return Placed(ladder, bounds, widened, market.prices.closed_ms[row])


@compiled
def state_at(read: int, position: Position, price: float, ladder: Ladder, signs: tuple[Levels, Rule]) -> int:
    """2, 1 or 0: how far the signals that are read at a row have gone for a grid at this price."""
    levels, rule = signs
    distance = np.log(price / ladder.stop)
    for degree in (1, 0):
        if levels.is_on[degree, read] or distance <= levels.reach[degree, read]:
            return degree + 1
        budget = rule.budget_pct[degree]
        if rule.is_from_start:
            budget += position.cash + ladder.held[position.rung] * price
        if budget < np.inf and critical_fall(ladder, position.rung, price, budget) <= levels.fall[degree, read]:
            return degree + 1
    return 0


@compiled
def read_at(row: int, rule: Rule, rows: int) -> int:
    """The row at which signals are read: shifted, going round the rows from the first on."""
    read = row + rule.shift
    return read if read < rows else read - rows + rule.first


@compiled
def facts_after(facts: Facts, grid: Placed, market: Market, rule: Rule, row: int) -> Facts:
    """Facts about a grid at a close, from the coarse bars that became known with it."""
    count, side, is_left = facts
    hourly, four = market.hourly, market.four_hourly
    for bar in range(hourly.newest[row - 1] + 1, hourly.newest[row] + 1):
        if hourly.opened_ms[bar] < grid.started_ms:
            continue
        if not hourly.is_next[bar]:
            count = 0
        if hourly.is_real[bar]:
            close = hourly.close[bar]
            now = int(close > grid.bounds[1]) - int(close < grid.bounds[0])
            count = 0 if now == 0 else (count + 1 if now == side else 1)
            side = now
    for bar in range(four.newest[row - 1] + 1, four.newest[row] + 1):
        beyond = max(four.close[bar] - grid.widened[1], grid.widened[0] - four.close[bar])
        if four.opened_ms[bar] >= grid.started_ms and four.atr[bar] > 0.0:
            is_left |= beyond / four.atr[bar] > rule.buffer_atr
    return Facts(count, side, is_left)


@compiled
def ending_of(position: Position, ladder: Ladder, rule: Rule, has_held: bool, close: float) -> int:
    """How a grid ends at a close by itself; -1 where it goes on."""
    if position.is_stopped:
        return STOPPED
    is_sold_out = position.rung == len(ladder.quantity) and (has_held or close >= ladder.levels[-1])
    return SOLD_OUT if is_sold_out and rule.is_reranged else -1


@compiled
def hold(
    walk: tuple[Market, Levels, Rule, Tape], grid: Placed, row: int, sums: tuple[float, float, float]
) -> tuple[int, int, int, tuple[float, float, float]]:
    """Hold a grid from the bar after a row: its last row, its ending, the closes at which something was held.

    ``sums`` are all PnL, its peak and the deepest fall below it, in %; they come back with those of the grid.
    """
    market, levels, rule, tape = walk
    prices, rows, ladder, top = market.prices, len(market.prices.close), grid.ladder, len(grid.ladder.quantity)
    total, peak, drawdown = sums
    position = begun(ladder, prices.open[row + 1])
    has_held, is_leaving, facts, held_bars, ended, worth = position.rung < top, False, Facts(0, 0, False), 0, -1, 0.0
    while ended < 0:
        row += 1
        close, state = prices.close[row], 0
        position = after_bar(position, ladder, prices, row)
        inventory = ladder.held[position.rung] * close
        worth = position.cash + inventory * (1.0 - rule.fee)
        has_held |= position.rung < top
        held_bars += int(position.rung < top)
        peak = max(peak, total + worth)
        drawdown = max(drawdown, peak - total - worth)
        ended = ending_of(position, ladder, rule, has_held, close)
        if ended < 0 and (is_leaving or row == rows - 1):
            ended = EXITED if is_leaving else UNFINISHED
        if ended < 0:
            state = state_at(read_at(row, rule, rows), position, close, ladder, (levels, rule))
            if rule.closes_outside > 0:
                facts = facts_after(facts, grid, market, rule, row)
                state = 2 if facts.is_left or facts.outside >= rule.closes_outside else state
        is_leaving = rule.is_obeyed and state == 2
        tape.worth_pct[row], tape.held_share[row] = worth, inventory / CAPITAL
        tape.rung[row], tape.state[row] = position.rung, state
    return row, ended, held_bars, (total + worth, peak, drawdown)


@compiled
def run(market: Market, offers: Offers, levels: Levels, rule: Rule, tape: Tape) -> tuple[Integers, Floats, float, int]:
    """Grids one after the other; the deepest drawdown (%) and the closes at which something was held.

    Each grid is placed at the close of its entry row and begins at the open of the next bar. It is left at the close of
    the bar after a signal, or where its stop is touched, or where it is sold out.

    Returns
    -------
    Shape ``(3, grids)``: entry row, last row, ending; then PnL (%) of each.
    """
    rows = len(market.prices.close)
    found, pnl = np.empty((3, rows), np.int64), np.empty(rows)
    count, held_bars, sums, row = 0, 0, (0.0, 0.0, 0.0), rule.first
    while row < rows - 1:
        if not offers.is_offered[row]:
            row += 1
            continue
        grid, close, read = placed(market, offers, rule, row), market.prices.close[row], read_at(row, rule, rows)
        asked = begun(grid.ladder, close)
        if rule.is_obeyed and state_at(read, asked, close, grid.ladder, (levels, rule)) == 2:
            row += 1
            continue
        found[0, count] = row
        row, ended, bars, sums = hold((market, levels, rule, tape), grid, row, sums)
        found[1, count], found[2, count], pnl[count] = row, ended, tape.worth_pct[row]
        held_bars += bars
        count += 1
    return found[:, :count], pnl[:count], sums[2], held_bars
