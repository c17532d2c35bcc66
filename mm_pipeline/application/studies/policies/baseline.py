"""The grids of ``stop_flat`` along one market: what every policy is given in the paired design."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from mm_pipeline.application.studies.policies.catalogue import FEE, rules_of
from mm_pipeline.domain.arrays import Bools, Floats, Integers
from mm_pipeline.domain.exit_state.policy import ExitStatePolicy
from mm_pipeline.domain.programme import (
    GridOffers,
    Programme,
    ProgrammeMarket,
    Signals,
    StudiedPolicy,
    run_programme,
)

if TYPE_CHECKING:
    from mm_pipeline.domain.programme.exits_loop import Held, Needs

STOP_FLAT: Final = StudiedPolicy(name="stop_flat", has_facts=False)
_FACTS: Final = StudiedPolicy(name="facts")
_LATEST: Final = 1


@dataclass(frozen=True, eq=False)
class Baseline:
    """Grids that are held until their stop, or until they are sold out.

    Attributes
    ----------
    market, offers
        What was walked.
    programme
        Its grids; ``state`` is 2 where a fact about the grid says that it is over.
    """

    market: ProgrammeMarket
    offers: GridOffers
    programme: Programme

    @classmethod
    def of(cls, market: ProgrammeMarket, offers: GridOffers, settings: ExitStatePolicy) -> Baseline:
        """Hold grids wherever one is offered while nothing is held."""
        rules = replace(rules_of(_FACTS, settings), is_obeyed=False)
        return cls(market, offers, run_programme(market, offers, no_signals(market), rules))

    @cached_property
    def held(self) -> Held:
        """What the compiled loops walk."""
        from mm_pipeline.domain.programme.exits_loop import Held

        return Held(self.programme.entry, self.programme.last, self.programme.worth_pct)

    @cached_property
    def grid(self) -> Integers:
        """Shape ``(n,)``: which grid is held at each close, its last bar left out; -1 where none is."""
        found = np.full(len(self.market.closed_ms), -1, dtype=np.int64)
        for k, (entry, last) in enumerate(zip(self.programme.entry, self.programme.last, strict=True)):
            found[entry + 1 : last] = k
        return found

    @cached_property
    def is_held(self) -> Bools:
        """Shape ``(n,)``: something is held at a close that is not the grid's last."""
        return (self.grid >= 0) & (self.programme.held_share > 0)

    @cached_property
    def distance(self) -> Floats:
        """Shape ``(n,)``: how far the stop is below each close, log price; infinite where no grid is held."""
        stop = self.offers.stop[self.programme.entry][self.grid] if len(self.programme.entry) else np.nan
        found: Floats = np.log(self.market.view.bars.floats("close") / stop)
        return np.where(self.grid >= 0, found, np.inf)

    def needs(self, policy: StudiedPolicy, degree: int = _LATEST) -> Needs:
        """What the market's signals must come to for a policy to leave."""
        from mm_pipeline.domain.programme.exits_loop import Needs, falls_needed

        entry, close = self.programme.entry, self.market.view.bars.floats("close")
        budget_pct = policy.budgets_pct[degree]
        fall, fall_at_entry = np.full(len(close), np.inf), np.full(len(entry), np.inf)
        if np.isfinite(budget_pct):
            rung = self.programme.rung
            terms = (FEE, budget_pct, policy.is_from_start)
            fall, fall_at_entry = falls_needed(self.held, rung, close, self.offers.arrays, terms)
        is_fact = (self.programme.state == 2) & policy.has_facts
        return Needs(self.distance, fall, is_fact, np.log(close[entry] / self.offers.stop[entry]), fall_at_entry)

    def is_said(self, policy: StudiedPolicy, signals: Signals, degree: int) -> Bools:
        """Shape ``(n,)``: the state of this degree or worse stands at a close at which something is held."""
        needs = self.needs(policy, degree)
        is_on = signals.is_on[degree] | (needs.distance <= signals.reach[degree]) | (needs.fall <= signals.fall[degree])
        if degree < _LATEST:
            is_on |= self.is_said(policy, signals, _LATEST)
        found: Bools = (is_on | needs.is_fact) & self.is_held
        return found

    def left(self, policy: StudiedPolicy, signals: Signals, shifts: Integers) -> Integers:
        """Shape ``(shifts, m)``: row at whose close a policy leaves each grid; -1 where it does not place it."""
        from mm_pipeline.domain.programme.exits_loop import Said, rows_left

        said = Said(signals.is_on[_LATEST], signals.reach[_LATEST], signals.fall[_LATEST])
        return rows_left(self.held, self.needs(policy), said, shifts, self.market.first)

    def value(self, left: Integers) -> tuple[Floats, Floats]:
        """PnL of each grid (shape of ``left``), and the drawdown of each line of it, in % of the capital."""
        from mm_pipeline.domain.programme.exits_loop import value_of_exits

        return value_of_exits(self.held, left)

    def held_until(self, left: Integers) -> Integers:
        """Closes at which something was held until grids were left at these rows, of each line of ``left``."""
        held = np.cumsum(self.programme.held_share > 0)
        bars: Integers = np.where(left >= 0, held[left] - held[self.programme.entry], 0).sum(axis=1)
        return bars

    def losses_ahead(self, bars: int) -> Floats:
        """Shape ``(n,)``: what holding on costs at worst within some bars, against leaving at the next close, %."""
        from mm_pipeline.domain.programme.exits_loop import losses_ahead

        return losses_ahead(self.held, bars)


def no_signals(market: ProgrammeMarket) -> Signals:
    """A market that says nothing."""
    rows = len(market.closed_ms)
    return Signals(np.zeros((2, rows), dtype=np.bool_), np.full((2, rows), np.nan), np.full((2, rows), np.nan))
