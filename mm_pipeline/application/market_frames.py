"""Frames of markets and grids as they pass between stages."""

from collections.abc import Mapping

import polars as pl

from mm_pipeline.contracts import states as contracts
from mm_pipeline.contracts.contract import Contract
from mm_pipeline.domain.market import Market, Timeframe
from mm_pipeline.domain.pipeline import Frames

ByMarket = dict[str, dict[Timeframe, pl.DataFrame]]
"""Frames by the market's ``path_key`` and timeframe."""

ByGrid = dict[str, pl.DataFrame]
"""Frames by grid id."""


def frames_of(
    frames: Mapping[str, Frames], market: Market, of: Mapping[Timeframe, Contract] = contracts.REGIME_METRICS
) -> Frames:
    """A market's frames; without rows where none are stored."""
    stored = frames.get(market.path_key)
    return stored if stored is not None else {timeframe: contract.empty() for timeframe, contract in of.items()}
