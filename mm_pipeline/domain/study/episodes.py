"""Episodes: unbroken runs of one state among the evaluations of a grid. What came of them does not belong here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from mm_pipeline.domain.arrays import Integers
from mm_pipeline.domain.market import Timeframe


@dataclass(frozen=True, eq=False)
class Episodes:
    """Rows of a frame of states.

    Attributes
    ----------
    first
        Shape ``(n,)``: row at which each episode begins.
    end
        Shape ``(n,)``: row after its last one.
    """

    first: Integers
    end: Integers

    def __len__(self) -> int:
        return len(self.first)


def episodes_in(states: pl.DataFrame) -> Episodes:
    """Find the episodes of one grid.

    Parameters
    ----------
    states
        ``evaluated_at, state``, ascending. A missing evaluation ends an episode: what stood there is not known.
    """
    rows = states.height
    if not rows:
        nothing = np.empty(0, dtype=np.int64)
        return Episodes(nothing, nothing)
    evaluated_ms = states["evaluated_at"].to_physical().to_numpy()
    run = states["state"].rle_id().to_numpy()
    begins = (np.diff(run) != 0) | (np.diff(evaluated_ms) != Timeframe.M15.ms)
    first = np.concatenate([[0], np.flatnonzero(begins) + 1]).astype(np.int64)
    return Episodes(first, np.append(first[1:], rows))
