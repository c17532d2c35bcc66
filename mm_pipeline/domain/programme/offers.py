"""Grids that may be placed at each close: centred at it, or the product's own proposal (SPEC 10)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from mm_pipeline.domain.arrays import Bools, Floats, Integers
from mm_pipeline.domain.columns import constant_column, times_of
from mm_pipeline.domain.entry_state import propose_range
from mm_pipeline.domain.exit_state.policy import EntryPolicy
from mm_pipeline.domain.grid import Spacing
from mm_pipeline.domain.programme.market import ProgrammeMarket

if TYPE_CHECKING:
    from mm_pipeline.domain.programme.programme_loop import Offers


@dataclass(frozen=True, eq=False)
class GridOffers:
    """The grid that may be placed at each of n closes.

    Attributes
    ----------
    is_offered
        Whether one may.
    lower, upper, stop
        Quote. Levels are arithmetic.
    levels
        Prices.
    """

    is_offered: Bools
    lower: Floats
    upper: Floats
    levels: Integers
    stop: Floats

    def only_at(self, rows: Integers) -> GridOffers:
        """The same grids, offered at these rows alone."""
        is_offered = np.zeros(len(self.lower), dtype=np.bool_)
        is_offered[rows] = True
        return replace(self, is_offered=is_offered)

    @property
    def arrays(self) -> Offers:
        """What the compiled loop takes."""
        from mm_pipeline.domain.programme.programme_loop import Offers

        return Offers(self.is_offered, self.lower, self.upper, self.levels, self.stop)


def centred_offers(
    market: ProgrammeMarket, is_entered: Bools, *, width: float, levels: int, stop_distance: float
) -> GridOffers:
    """Grids centred at each close.

    Parameters
    ----------
    is_entered
        Shape ``(n,)``: the entry state is ENTER.
    width, stop_distance
        From the lowest to the highest level, and from the lowest level down to the stop, over the price.
    levels
        Prices.
    """
    close = market.view.bars.floats("close")
    lower = close * (1 - width / 2)
    return GridOffers(
        is_entered,
        lower,
        close * (1 + width / 2),
        np.full(len(close), levels, dtype=np.int64),
        lower - close * stop_distance,
    )


def proposed_offers(market: ProgrammeMarket, is_entered: Bools, policy: EntryPolicy, *, fee: float) -> GridOffers:
    """The product's own proposals, where one can be entered: it pays its fees, and the price is inside it.

    Parameters
    ----------
    is_entered
        Shape ``(n,)``: the entry state is ENTER.
    policy
        How a range is proposed.
    fee
        Fraction of a fill, a side.
    """
    rows = len(market.closed_ms)
    about = pl.DataFrame(
        [
            times_of(market.closed_ms, "evaluated_at"),
            constant_column("fee", fee, rows, pl.Float64),
            constant_column("spacing", Spacing.ARITHMETIC.value, rows, pl.String),
        ]
    )
    proposal = propose_range(about, market.view, policy)
    close = market.view.bars.floats("close")
    is_inside = (close >= proposal.lower) & (close <= proposal.upper)
    is_there = is_inside & (proposal.levels >= 2) & (proposal.stop_loss > 0)
    return GridOffers(
        is_entered & is_there,
        proposal.lower,
        proposal.upper,
        np.where(is_there, proposal.levels, 2).astype(np.int64),
        proposal.stop_loss,
    )
