"""What is stored and what was just fetched become one series; a closed bar that changed is told, never hidden."""

from __future__ import annotations

import polars as pl

from mm_pipeline.domain.candles.frames import RAW_SCHEMA

_CONTENT = ("open", "high", "low", "close", "volume")


def merge_candles(stored: pl.DataFrame, fetched: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Let a later fetch supersede an earlier one.

    Parameters
    ----------
    stored, fetched
        Clean raw candle frames (sorted, unique) of the same market.

    Returns
    -------
    merged
        Raw candle frame, sorted and unique; where both have a time, the fetched row.
    revisions
        One row per time whose content changed: ``open_time``, then ``open_before .. volume_before`` and
        ``open_after .. volume_after``.
    """
    merged = pl.concat([stored, fetched]).unique("open_time", keep="last", maintain_order=True).sort("open_time")
    both = stored.join(fetched, on="open_time", suffix="_after", maintain_order="left")
    changed = both.filter(pl.any_horizontal(pl.col(name) != pl.col(f"{name}_after") for name in _CONTENT))
    revisions = changed.rename({name: f"{name}_before" for name in _CONTENT})
    return merged.select(list(RAW_SCHEMA)), revisions
