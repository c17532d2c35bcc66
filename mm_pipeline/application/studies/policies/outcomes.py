"""What one policy made of one series, in either design, and what its opponents made of the same."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mm_pipeline.application.studies.policies.baseline import Baseline
from mm_pipeline.application.studies.policies.opponents import Draws, random_exits
from mm_pipeline.application.studies.policies.pages import Pages, pages_of
from mm_pipeline.application.studies.policies.samples import Episodes
from mm_pipeline.domain.arrays import Floats, Integers
from mm_pipeline.domain.programme import Ending, Programme, ProgrammeMarket, Signals, StudiedPolicy


@dataclass(frozen=True, eq=False)
class RandomPeers:
    """Random exits of one series.

    Attributes
    ----------
    mean_pct
        Shape ``(m,)``: PnL of each grid, on average.
    totals_pct, drawdowns_pct, held_bars
        Shape ``(draws,)``: sum of all PnL, its drawdown, and closes at which something was held.
    """

    mean_pct: Floats
    totals_pct: Floats
    drawdowns_pct: Floats
    held_bars: Integers


@dataclass(frozen=True, eq=False)
class ShiftedPeers:
    """A policy's own signals shifted.

    Attributes
    ----------
    pnl_pct
        Shape ``(shifts, m)``: of each grid.
    drawdowns_pct, held_bars
        Shape ``(shifts,)``: as for :class:`RandomPeers`.
    """

    pnl_pct: Floats
    drawdowns_pct: Floats
    held_bars: Integers


@dataclass(frozen=True, eq=False)
class Outcome:
    """One policy on one series.

    Attributes
    ----------
    episodes
        In the paired design of every grid that was offered, 0 where the policy did not place it.
    placed, exits, stops, never_entered, held_bars
        Grids; how many were left at a signal, were stopped, were not placed; closes at which something was held.
    drawdown_pct
        Of the sum of all PnL at closes, % of the capital.
    """

    episodes: Episodes
    placed: int
    exits: int
    stops: int
    never_entered: int
    held_bars: int
    drawdown_pct: float
    random: RandomPeers | None = None
    shifted: ShiftedPeers | None = None
    pages: Pages | None = None


def free_outcome(market: ProgrammeMarket, programme: Programme) -> Outcome:
    """A programme with entries of its own."""
    return Outcome(
        Episodes(market.closed_ms[programme.entry], programme.pnl_pct),
        placed=len(programme.entry),
        exits=programme.count(Ending.EXITED),
        stops=programme.count(Ending.STOPPED),
        never_entered=0,
        held_bars=programme.held_bars,
        drawdown_pct=programme.drawdown_pct,
    )


def outcome_of_exits(baseline: Baseline, left: Integers) -> Outcome:
    """Grids of ``stop_flat`` that are left at these rows (shape ``(1, m)``); -1 where one is not placed."""
    programme, [rows] = baseline.programme, left
    pnl, drawdown = baseline.value(left)
    is_placed, is_exit = rows >= 0, (rows >= 0) & (rows < programme.last)
    return Outcome(
        Episodes(baseline.market.closed_ms[programme.entry], pnl[0]),
        placed=int(is_placed.sum()),
        exits=int(is_exit.sum()),
        stops=int((is_placed & ~is_exit & (programme.ending == Ending.STOPPED)).sum()),
        never_entered=int((~is_placed).sum()),
        held_bars=int(baseline.held_until(left)[0]),
        drawdown_pct=float(drawdown[0]),
    )


def paired_outcome(baseline: Baseline, policy: StudiedPolicy, signals: Signals, draws: Draws) -> Outcome:
    """A policy on the grids of ``stop_flat``, with all opponents."""
    left = baseline.left(policy, signals, np.zeros(1, dtype=np.int64))
    found = outcome_of_exits(baseline, left)
    by_chance = random_exits(baseline, left[0], draws)
    random_pnl, random_drawdowns = baseline.value(by_chance)
    shifted = None
    if policy.has_market_signals:
        moved = baseline.left(policy, signals, draws.shifts)
        shifted = ShiftedPeers(*baseline.value(moved), baseline.held_until(moved))
    return replace(
        found,
        random=RandomPeers(
            random_pnl.mean(axis=0), random_pnl.sum(axis=1), random_drawdowns, baseline.held_until(by_chance)
        ),
        shifted=shifted,
        pages=pages_of(baseline, policy, signals),
    )
