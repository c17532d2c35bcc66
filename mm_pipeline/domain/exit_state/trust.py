"""What may be believed of an evaluation, and how its reasons begin; the decision itself is in ``states``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from mm_pipeline.domain.arrays import Bools, Integers
from mm_pipeline.domain.holes import cover_notes_in, hole_reasons

HAS_METRICS: Final = "has_metrics"
"""Column of ``quality``: false where 1h and 4h bars do not reach as far as the 15m ones."""


@dataclass(frozen=True)
class Trust:
    """What may be believed at each evaluation; see ``decide_state``."""

    is_good: Bools
    is_fresh: Bools
    has_metrics: Bools
    has_hole: Bools


def metrics_there(quality: pl.DataFrame) -> Bools:
    """Whether 1h and 4h bars reach as far as the 15m ones; true where nothing says otherwise."""
    if HAS_METRICS in quality.columns:
        return quality[HAS_METRICS].to_numpy()
    return np.ones(len(quality), dtype=bool)


def reasons_in_front(analysis: pl.DataFrame, quality: pl.DataFrame, holes: pl.Series) -> list[pl.Series]:
    """What stands before the triggers among the reasons: why the grid is not watched first, what it loses last."""
    not_known = [] if holes.null_count() == len(holes) else [hole_reasons(holes)]
    unwatched, unearned = analysis["unwatched"], analysis["unearned"]
    return [
        *_as_lists(unwatched),
        quality["reasons"],
        *not_known,
        *cover_notes_in(quality),
        *_as_lists(unearned),
    ]


def _as_lists(texts: pl.Series) -> list[pl.Series]:
    """Each text as a list of its own, nulls as empty ones; nothing where all are null."""
    if texts.null_count() == len(texts):
        return []
    lists = [[] if text is None else [text] for text in texts.to_list()]
    return [pl.Series(texts.name, lists, dtype=pl.List(pl.String))]


def stop_risk_now(risk: pl.Series, is_stale: pl.Series) -> pl.Series:
    """Stop risk as far as the price says it now: null where the market is stale; a breach, or no stop, stays so."""
    if not is_stale.any():
        return risk
    return risk.set(is_stale & ~risk.is_in(["BREACHED", "NO_STOP"]).fill_null(True), None)


def last_known(
    state: Integers, is_known: Bools, evaluated_ms: Integers, window_ms: int, started_at: pl.Series
) -> Integers:
    """For UNKNOWN rows the newest other state of the rows before, at most ``window_ms`` back; else -1.

    Rows of another ``started_at`` do not count: what was said of a range that was left is not known of the new one.
    """
    newest = np.maximum.accumulate(np.where(is_known, np.arange(len(state)), -1))
    is_recent = evaluated_ms - evaluated_ms[newest] <= window_ms
    stretch = started_at.rle_id().to_numpy()
    is_same = stretch[newest] == stretch
    return np.where(~is_known & (newest >= 0) & is_recent & is_same, state[newest], -1)
