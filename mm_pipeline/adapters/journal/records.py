"""What the journal takes and gives back, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.grid import Grid


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One grid judged at one 15m close, as it was decided.

    Parameters
    ----------
    input_hash
        Of the bars it saw; a revised candle gives the same bar a second evaluation with another hash.
    price
        15m close in quote currency; None (or NaN, which is stored as None) where it is unknown.
    fired
        Names of the triggers that fired.
    triggers
        By name: ``value, threshold, margin, fired, since`` as JSON values; ``since`` a datetime or None.
    reasons
        Why the state is UNKNOWN, or an entry state what it is.
    grid_version
        ``version_hash`` of the grid's declaration.
    risk
        ``level`` and what is known of position and cost of waiting; None for an entry state.
    as_of
        Close of the newest bar that it used; None where none was known, or an earlier version journalled it.
    is_live
        Whether it was decided in time to be acted upon (judged once, by lateness).
    """

    grid: str
    evaluated_at: datetime
    kind: EvaluationKind
    input_hash: str
    state: str
    price: float | None
    fired: tuple[str, ...]
    triggers: Mapping[str, Any]
    reasons: tuple[str, ...]
    grid_version: str
    settings_hash: str
    code_version: str
    is_live: bool
    recorded_at: datetime
    risk: Mapping[str, Any] | None = None
    as_of: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class GridHistoryRow:
    """A grid's file as it was seen to begin or to vanish.

    ``grid`` is None where the file vanished, from ``valid_from`` until the next row. ``retired_by`` says who confirmed
    that it was meant (``mm grids retire``); None where nobody did.
    """

    grid_id: str
    version_hash: str
    valid_from: datetime
    seen_at: datetime
    grid: Grid | None
    retired_by: str | None = None


@dataclass(frozen=True, kw_only=True)
class Incident:
    """What was wrong with a market's candles at a tick; ``code`` is the stable name of the cause."""

    market: str
    tick_at: datetime
    code: str
    message: str
