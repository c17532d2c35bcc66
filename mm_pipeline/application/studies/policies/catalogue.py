"""What the study of policies tries: the grids, and the policies, each one line. Their number is part of the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mm_pipeline.domain.arrays import Bools
from mm_pipeline.domain.exit_state.policy import EntryPolicy, ExitStatePolicy
from mm_pipeline.domain.programme import (
    GridOffers,
    ProgrammeMarket,
    Rules,
    StudiedPolicy,
    centred_offers,
    proposed_offers,
)

FEE: Final = 0.001
"""SPEC 10: 0.1 % a side."""
WARNING_P_STOP: Final = 0.3
"""P(stop within 24 h) at which WARNING begins, of every policy that knows it."""
P_STOPS: Final = (0.3, 0.4, 0.5, 0.6, 0.7)
BUDGETS_PCT: Final = (1.0, 1.5, 2.0, 3.0, 4.0)
EITHER: Final = ((0.4, 3.0), (0.4, 4.0), (0.5, 2.0), (0.5, 3.0), (0.5, 4.0))
"""P(stop), and loss in % of the capital, of which either is enough."""
TOTALS_PCT: Final = (4.0, 5.0, 6.0, 7.0)
"""Loss since the start of a grid and within 4 h, in % of the capital."""
DROPPED: Final = 16
"""Variants that were tried once and are not run any more: the study's page lists them."""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """A kind of grid; one whose ``width`` is None is the product's own proposal.

    Attributes
    ----------
    width, stop_distance
        From the lowest to the highest level, and from the lowest level down to the stop, over the price.
    levels
        Prices.
    """

    name: str
    width: float | None = None
    levels: int = 0
    stop_distance: float = 0.0

    @property
    def grid(self) -> str:
        """The grid in words."""
        if self.width is None:
            return "the product's own proposal"
        return f"{100 * self.width:g} % wide, {self.levels} levels, stop {100 * self.stop_distance:g} % below"

    def offers(self, market: ProgrammeMarket, is_entered: Bools, entry: EntryPolicy) -> GridOffers:
        """The grid at each close at which one may be placed."""
        if self.width is None:
            return proposed_offers(market, is_entered, entry, fee=FEE)
        return centred_offers(
            market, is_entered, width=self.width, levels=self.levels, stop_distance=self.stop_distance
        )


CONFIGURATIONS: Final = (
    Configuration(name="6 levels", width=0.10, levels=6, stop_distance=0.03),
    Configuration(name="20 levels", width=0.10, levels=20, stop_distance=0.05),
    Configuration(name="proposals"),
)
"""SPEC 10."""


def studied_policies(seed: ExitStatePolicy, calibrated: ExitStatePolicy) -> tuple[StudiedPolicy, ...]:
    """Every policy that is judged, the shipped ones first."""
    warning = (WARNING_P_STOP, None)
    return (
        _shipped("seed", seed),
        _shipped("calibrated", calibrated),
        StudiedPolicy(name="mandatory", p_stop=warning),
        *(StudiedPolicy(name=f"p_stop_{x}", p_stop=(min(WARNING_P_STOP, x), x)) for x in P_STOPS),
        *(StudiedPolicy(name=f"loss_{x}", p_stop=warning, budget_pct=(None, x)) for x in BUDGETS_PCT),
        *(StudiedPolicy(name=f"either_{x}_{y}", p_stop=(WARNING_P_STOP, x), budget_pct=(None, y)) for x, y in EITHER),
        *(
            StudiedPolicy(name=f"total_{x}", p_stop=warning, budget_pct=(None, x), is_from_start=True)
            for x in TOTALS_PCT
        ),
    )


def _shipped(name: str, policy: ExitStatePolicy) -> StudiedPolicy:
    """A policy of the settings; where it asks for P(stop), that is LATEST."""
    asked = policy.stop_likely.p_stop_24h if policy.asks("stop_likely") else None
    return StudiedPolicy(name=name, triggers=policy, p_stop=(asked, asked))


def rules_of(policy: StudiedPolicy, seed: ExitStatePolicy) -> Rules:
    """How a programme under a policy is run. Facts about the grid are the same under both shipped policies."""
    return Rules(
        fee=FEE,
        closes_outside=seed.closes_outside.count if policy.has_facts else 0,
        buffer_atr=seed.range_invalidated.buffer_atr,
        budget_pct=policy.budgets_pct,
        is_from_start=policy.is_from_start,
    )
