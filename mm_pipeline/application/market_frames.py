"""Frames of markets and grids as they pass between stages."""

from collections.abc import Mapping
from typing import TypeVar

import polars as pl

from mm_pipeline.contracts import states as contracts
from mm_pipeline.contracts.contract import Contract
from mm_pipeline.domain.errors import StorageError
from mm_pipeline.domain.market import Market, Timeframe
from mm_pipeline.domain.pipeline import Frames

ByMarket = dict[str, dict[Timeframe, pl.DataFrame]]
"""Frames by the market's ``path_key`` and timeframe."""

ByGrid = dict[str, pl.DataFrame]
"""Frames by grid id."""


T = TypeVar("T")


class StoredFrames(dict[str, T]):
    """Frames by key; a key of which a month is missing or unreadable is not among them, and ``missing`` says why."""

    def __init__(self) -> None:
        super().__init__()
        self.missing: dict[str, StorageError] = {}


def missing_in(frames: Mapping[str, object]) -> Mapping[str, StorageError]:
    """Keys of which a month that the run needs cannot be had, with the sentence that names it."""
    return frames.missing if isinstance(frames, StoredFrames) else {}


def frames_of(
    frames: Mapping[str, Frames], market: Market, of: Mapping[Timeframe, Contract] = contracts.REGIME_METRICS
) -> Frames:
    """A market's frames; without rows where none are stored.

    Raises
    ------
    FrameMissing, FrameUnreadable
        When a month that the run needs is not stored, or cannot be read.
    """
    if problem := missing_in(frames).get(market.path_key):
        raise problem
    stored = frames.get(market.path_key)
    return stored if stored is not None else {timeframe: contract.empty() for timeframe, contract in of.items()}
