"""Markets and programmes for the tests of policies."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import polars as pl

from mm_pipeline.domain.candles import fill_gaps
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.programme import GridOffers, ProgrammeMarket, Rules, Signals
from mm_pipeline.domain.risk import RiskHistory, RiskPolicy
from mm_pipeline_tests.markets import settings_of, simulated_candles, view_of_candles
from mm_pipeline_tests.reference.programme import CAPITAL, Bar, Coarse, Episode, Grid, Offer, loss_of_fall, run
from mm_pipeline_tests.risk_samples import quick_policy

RULES = Rules(fee=0.001, closes_outside=2, buffer_atr=0.5)


def market_of(candles: pl.DataFrame, policy: RiskPolicy | None = None) -> ProgrammeMarket:
    """A market of raw candles; all of its data is taken as good."""
    policy = quick_policy() if policy is None else policy
    view = view_of_candles(candles, settings_of())
    history = RiskHistory.of(fill_gaps(candles, quarantined_ms=None), policy)
    return ProgrammeMarket(view, history, policy, np.ones(len(view.bars.frame), dtype=np.bool_), True)


@lru_cache(maxsize=4)
def simulated_market(seed: int = 7, days: int = 120) -> ProgrammeMarket:
    """A simulated market with a few gaps."""
    return market_of(simulated_candles(seed, days))


def offers_of(market: ProgrammeMarket, *, width: float = 0.03, levels: int = 6, every: int = 1) -> GridOffers:
    """Grids centred at each ``every``th studied close, their stop a fifth of the width below them."""
    close = market.view.bars.floats("close")
    is_offered = market.is_studied & (np.arange(len(close)) % every == 0)
    lower, upper = close * (1 - width / 2), close * (1 + width / 2)
    return GridOffers(is_offered, lower, upper, np.full(len(close), levels), lower - close * width / 5)


def reference_run(
    market: ProgrammeMarket, offers: GridOffers, signals: Signals, rules: Rules
) -> tuple[list[Episode], list[float]]:
    """The same programme by the plain reference."""
    frame = market.view.bars.frame
    prices = frame.select("open", "high", "low", "close").rows()
    bars = [Bar(at, *row) for at, row in zip(market.closed_ms.tolist(), prices, strict=True)]
    ranges = zip(market.arrays.range_low.tolist(), market.arrays.range_high.tolist(), strict=True)
    columns = (offers.lower, offers.upper, offers.levels, offers.stop)
    grids = zip(*(column.tolist() for column in columns), ranges, strict=True)
    offered = [
        Offer(lower, upper, int(levels), stop, low, high) if is_offered else None
        for is_offered, (lower, upper, levels, stop, (low, high)) in zip(offers.is_offered, grids, strict=True)
    ]

    def is_said(row: int, grid: Grid) -> bool:
        close = bars[row].close
        is_near = np.log(close / grid.offer.stop) <= signals.reach[1, row]
        lost = CAPITAL - grid.account.cash - grid.held * close if rules.is_from_start else 0.0
        is_dear = lost + loss_of_fall(grid, close, signals.fall[1, row]) >= rules.budget_pct[1]
        return bool(signals.is_on[1, row] or is_near or is_dear)

    return run(
        bars,
        offered,
        coarse_of(market, Timeframe.H1),
        coarse_of(market, Timeframe.H4),
        is_said,
        first=market.first,
        fee=rules.fee,
        closes=rules.closes_outside,
        buffer=rules.buffer_atr,
    )


def coarse_of(market: ProgrammeMarket, timeframe: Timeframe) -> list[Coarse]:
    """Bars of one timeframe for the plain reference."""
    timeline = market.view.timeline(timeframe)
    columns = (timeline.opened_ms, timeline.known_ms, timeline.floats("close"), timeline.floats("atr_14"))
    flags = timeline.frame["is_synthetic"].to_list()
    return [Coarse(*row, flag) for *row, flag in zip(*(column.tolist() for column in columns), flags, strict=True)]
