"""Columns of the frame of notifications."""

from __future__ import annotations

from typing import Final

import polars as pl

_TIME = pl.Datetime("ms", "UTC")

NOTIFICATIONS_SCHEMA: Final[dict[str, pl.DataType]] = {
    "grid": pl.String(),
    "evaluated_at": _TIME,
    "kind": pl.String(),
    "notice": pl.String(),
    "state": pl.String(),
    "cause": pl.String(),
    "episode_at": _TIME,
    "number": pl.Int64(),
    "triggers": pl.List(pl.String()),
    "page": pl.String(),
    "held_back": pl.String(),
    "priority": pl.Int64(),
    "respond_by": _TIME,
    "title": pl.String(),
    "text": pl.String(),
    "is_live": pl.Boolean(),
}
"""One row a grid and decision; ``title`` and ``text`` are null where the page was held back."""
