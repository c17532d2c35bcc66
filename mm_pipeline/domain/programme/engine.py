"""A programme run over a market: which grids were held, how each ended, and what it was worth at each close."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from mm_pipeline.domain.arrays import Floats, Integers
from mm_pipeline.domain.programme.market import ProgrammeMarket
from mm_pipeline.domain.programme.offers import GridOffers
from mm_pipeline.domain.programme.signals import Signals


class Ending(IntEnum):
    """How a grid ended, as the loop writes it."""

    EXITED = 0
    STOPPED = 1
    SOLD_OUT = 2
    UNFINISHED = 3


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How a programme is run.

    Attributes
    ----------
    fee
        Fraction of a fill, a side.
    closes_outside
        1h closes outside the bounds that make MANDATORY; 0: facts about the grid are not asked.
    buffer_atr
        ATR(4h) beyond the range at which a 4h close invalidates it.
    budget_pct
        Loss within 4 h, % of the capital, at which WARNING and LATEST begin; infinite where not used.
    is_from_start
        The budget is of all that is lost since the grid's start, those 4 h included.
    tightness
        Where the stop is put: 0 the grid's own, 1 the price at which the grid is placed.
    is_obeyed
        Whether the grid is left when the state says so; else the states are only noted. A grid whose state would say
        so at once is not placed.
    is_reranged
        Whether a grid that is sold out above ends.
    shift
        By how many bars signals of the market are shifted in time, going round the studied bars.
    """

    fee: float
    closes_outside: int = 0
    buffer_atr: float = 0.0
    budget_pct: tuple[float, float] = (np.inf, np.inf)
    is_from_start: bool = False
    tightness: float = 0.0
    is_obeyed: bool = True
    is_reranged: bool = True
    shift: int = 0


@dataclass(frozen=True, eq=False)
class Programme:
    """What :func:`run_programme` found: m grids over n bars.

    Attributes
    ----------
    entry, last
        Shape ``(m,)``: row at whose close a grid was placed; row at whose close, or in which, it ended.
    ending, pnl_pct
        Shape ``(m,)``: :class:`Ending`; PnL after all fees, in % of the capital.
    worth_pct
        Shape ``(n,)``: what the grid had made if sold at each close, in % of the capital; 0 where there was none.
    held_share
        Shape ``(n,)``: inventory at its price over the capital.
    rung
        Shape ``(n,)``: the lowest interval that holds.
    state
        Shape ``(n,)``: 0 NORMAL, 1 WARNING, 2 LATEST or worse; 0 where there was no grid.
    drawdown_pct
        The deepest fall of the sum of all PnL below its peak, at closes, in % of the capital.
    held_bars
        Bars at whose close something was held.
    """

    entry: Integers
    last: Integers
    ending: Integers
    pnl_pct: Floats
    worth_pct: Floats
    held_share: Floats
    rung: Integers
    state: Integers
    drawdown_pct: float
    held_bars: int

    def count(self, ending: Ending) -> int:
        """Grids that ended so."""
        return int(np.count_nonzero(self.ending == ending))

    @property
    def curve_pct(self) -> Floats:
        """Shape ``(n,)``: sum of all PnL at each close, in % of the capital."""
        ended = np.zeros(len(self.worth_pct))
        np.add.at(ended, self.last, self.pnl_pct)
        total = np.cumsum(ended)
        is_over = np.ones(len(total), dtype=np.bool_)
        for first, last in zip(self.entry.tolist(), self.last.tolist(), strict=True):
            is_over[first + 1 : last] = False
        return np.where(is_over, total, total + self.worth_pct)


def run_programme(market: ProgrammeMarket, offers: GridOffers, signals: Signals, rules: Rules) -> Programme:
    """Run a programme over the studied bars of a market.

    Fills inside a bar are those of SPEC 7. An exit executes at the close of the bar after its signal.
    """
    from mm_pipeline.domain.programme.programme_loop import Rule, Tape, run

    rows = len(market.closed_ms)
    tape = Tape(np.zeros(rows), np.zeros(rows), np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64))
    rule = Rule(
        market.first,
        rules.fee,
        rules.closes_outside,
        rules.buffer_atr,
        (float(rules.budget_pct[0]), float(rules.budget_pct[1])),
        rules.is_from_start,
        rules.tightness,
        rules.is_obeyed,
        rules.is_reranged,
        rules.shift,
    )
    (entry, last, ending), pnl_pct, drawdown_pct, held_bars = run(
        market.arrays, offers.arrays, signals.arrays, rule, tape
    )
    return Programme(
        entry.copy(),
        last.copy(),
        ending.copy(),
        pnl_pct.copy(),
        tape.worth_pct,
        tape.held_share,
        tape.rung,
        tape.state,
        float(drawdown_pct),
        int(held_bars),
    )
