"""What a policy is told by the market at each close, and the policies that a study judges (SPEC 6, 10).

Facts about the grid are found by the loop that holds it; the thresholds of triggers stand in settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mm_pipeline.domain.arrays import Bools, Floats
from mm_pipeline.domain.exit_state.policy import LATEST, WARNING, ExitStatePolicy
from mm_pipeline.domain.exit_state.triggers import market_triggers
from mm_pipeline.domain.programme.market import ProgrammeMarket

if TYPE_CHECKING:
    from mm_pipeline.domain.programme.programme_loop import Levels


@dataclass(frozen=True, kw_only=True)
class StudiedPolicy:
    """A policy as a study tries it. A threshold that is None is not used; pairs are WARNING, then LATEST.

    Attributes
    ----------
    name
        As it stands in tables.
    triggers
        Thresholds of the trigger table that it obeys; None: it obeys facts about the grid and probabilities alone.
    has_facts
        It leaves at ``closes_outside`` and ``range_invalidated``.
    p_stop
        ``stop_likely``: P(stop within 24 h) at which each state begins.
    budget_pct
        ``loss_budget``: 95 % loss within 4 h, in % of the capital, at which each state begins.
    is_from_start
        The budget is of all that is lost since the grid's start, those 4 h included.
    """

    name: str
    triggers: ExitStatePolicy | None = None
    has_facts: bool = True
    p_stop: tuple[float | None, float | None] = (None, None)
    budget_pct: tuple[float | None, float | None] = (None, None)
    is_from_start: bool = False

    @property
    def has_market_signals(self) -> bool:
        """Whether it leaves at anything that a shift in time could take from it."""
        return self.triggers is not None or self.p_stop[1] is not None or self.budget_pct[1] is not None

    @property
    def budgets_pct(self) -> tuple[float, float]:
        """The budgets, infinite where there is none."""
        low, high = (np.inf if budget is None else budget for budget in self.budget_pct)
        return low, high


@dataclass(frozen=True, eq=False)
class Signals:
    """Two degrees, WARNING and LATEST or worse, at n closes; shape ``(2, n)`` each.

    Attributes
    ----------
    is_on
        The market alone says so.
    reach
        The stop is likely if it is no farther below the price than this, log price; NaN where that is not used.
    fall
        How far the price may fall within 4 h (95 %), log price; NaN where no budget is used.
    """

    is_on: Bools
    reach: Floats
    fall: Floats

    @property
    def arrays(self) -> Levels:
        """What the compiled loop reads."""
        from mm_pipeline.domain.programme.programme_loop import Levels

        return Levels(self.is_on, self.reach, self.fall)


def signals_of(market: ProgrammeMarket, policy: StudiedPolicy) -> Signals:
    """The market's part of a policy at each close."""
    rows = len(market.closed_ms)
    is_on = np.zeros((2, rows), dtype=np.bool_)
    if policy.triggers is not None:
        is_on = _states_on(market, policy.triggers)
    reach, fall = np.full((2, 2, rows), np.nan)
    for degree in range(2):
        share = policy.p_stop[degree]
        if share is not None:
            reach[degree] = market.stop_reach(share)
        if policy.budget_pct[degree] is not None:
            fall[degree] = market.likely_fall
    return Signals(is_on, reach, fall)


def _states_on(market: ProgrammeMarket, policy: ExitStatePolicy) -> Bools:
    triggers = market_triggers(market.view, market.closed_ms, policy)
    latest = np.sum([triggers[name].fired for name in LATEST if name in triggers], axis=0) >= policy.latest.min_triggers
    warning = np.sum([triggers[name].fired for name in WARNING], axis=0) >= policy.warning.min_triggers
    is_latest = latest | triggers["regime_trend"].fired
    return np.stack([warning | is_latest, is_latest])
