"""Exit states as they are stored: without ``risk``, of which the frames ``positions`` and ``risk`` hold every figure.

Whoever reads exit states from the frames reads them by this, and finds the column as the stage made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import polars as pl

from mm_pipeline.adapters.frames.rows import by_bar
from mm_pipeline.adapters.frames.store import FrameMissing, FrameStore
from mm_pipeline.application.decide_states import RISK
from mm_pipeline.contracts import states as contracts
from mm_pipeline.contracts.stored import STORED
from mm_pipeline.domain.columns import conformed
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.months import month_start, next_month
from mm_pipeline.domain.risk.columns import with_risk

EXIT_STATES: Final = contracts.EXIT.name
RISK_FRAMES: Final = ("positions", "risk")
"""Datasets that hold what the column ``risk`` tells."""


def as_stored(dataset: str, frame: pl.DataFrame) -> pl.DataFrame:
    """A dataset's frame in the columns in which it is stored."""
    return frame.drop(RISK, strict=False) if dataset == EXIT_STATES else frame


def as_made(store: FrameStore, dataset: str, key: str, frame: pl.DataFrame) -> pl.DataFrame:
    """A stored frame in the columns of today, as its stage made it.

    Exit states get the ``risk`` that belongs to them. A month that an earlier version wrote has the column itself, and
    keeps it. It is null where neither that nor the two frames tell anything.
    """
    frame = conformed(frame, STORED[dataset].columns)
    if dataset != EXIT_STATES:
        return frame
    lacking = _bars_without_own(frame)
    if not lacking:
        return frame
    span = lacking[0], next_month(lacking[-1])
    positions, figures = (_rows(store, name, key, span) for name in RISK_FRAMES)
    joined = with_risk(frame.drop(RISK), positions, figures)[RISK]
    return frame.with_columns(pl.coalesce(RISK, joined))


def months_without_risk(store: FrameStore, grid: str, stored: pl.DataFrame) -> Mapping[str, list[datetime]]:
    """By dataset, months of stored exit states of which it should hold the ``risk`` and was never made."""
    lacking = _bars_without_own(conformed(stored, STORED[EXIT_STATES].columns))
    months = sorted({month_start(at) for at in lacking})
    wanting = {name: [month for month in months if month not in store.months(name, grid)] for name in RISK_FRAMES}
    return {name: found for name, found in wanting.items() if found}


def _bars_without_own(states: pl.DataFrame) -> list[datetime]:
    """Open times of the bars whose row has no ``risk`` of its own, ascending."""
    opened_ms = by_bar(states.filter(pl.col(RISK).is_null()), EXIT_STATES).opened_ms
    return [from_ms(one) for one in opened_ms.tolist()]


def _rows(store: FrameStore, dataset: str, grid: str, span: tuple[datetime, datetime]) -> pl.DataFrame:
    try:
        return conformed(store.read(dataset, grid, start=span[0], end=span[1]), STORED[dataset].columns)
    except FrameMissing:
        return STORED[dataset].empty()
