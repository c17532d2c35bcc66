"""Frames of markets and grids as they pass between stages."""

from collections.abc import Mapping
from typing import TypeVar

import polars as pl

from mm_pipeline.contracts import states as contracts
from mm_pipeline.contracts.contract import Contract
from mm_pipeline.domain.errors import FrameMissing
from mm_pipeline.domain.market import Market, Timeframe
from mm_pipeline.domain.pipeline import Frames

ByMarket = dict[str, dict[Timeframe, pl.DataFrame]]
"""Frames by the market's ``path_key`` and timeframe."""

ByGrid = dict[str, pl.DataFrame]
"""Frames by grid id."""


T = TypeVar("T")


class StoredFrames(dict[str, T]):
    """Frames by key; a key of which a month is missing is not among them, and ``missing`` says why."""

    def __init__(self) -> None:
        super().__init__()
        self.missing: dict[str, FrameMissing] = {}


def missing_in(frames: Mapping[str, object]) -> Mapping[str, FrameMissing]:
    """Keys that lack a month that the run needs, with the sentence that names it."""
    return frames.missing if isinstance(frames, StoredFrames) else {}


def frames_of(
    frames: Mapping[str, Frames], market: Market, of: Mapping[Timeframe, Contract] = contracts.REGIME_METRICS
) -> Frames:
    """A market's frames; without rows where none are stored.

    Raises
    ------
    FrameMissing
        When a month that the run needs is not stored.
    """
    if problem := missing_in(frames).get(market.path_key):
        raise problem
    stored = frames.get(market.path_key)
    return stored if stored is not None else {timeframe: contract.empty() for timeframe, contract in of.items()}
