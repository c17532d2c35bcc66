"""The two frames candles travel in: raw candles as a source gave them, and bars as everything downstream reads them."""

from __future__ import annotations

import polars as pl

from mm_pipeline.domain.columns import TIME
from mm_pipeline.domain.errors import ContractError

RAW_SCHEMA: dict[str, pl.DataType] = {
    "open_time": TIME,
    "open": pl.Float64(),
    "high": pl.Float64(),
    "low": pl.Float64(),
    "close": pl.Float64(),
    "volume": pl.Float64(),
}
"""A candle as an exchange or file gives it: prices in quote, volume in base, keyed by the start of the bar."""

BARS_SCHEMA: dict[str, pl.DataType] = {
    "open_time": TIME,
    "close_time": TIME,
    "known_at": TIME,
    "open": pl.Float64(),
    "high": pl.Float64(),
    "low": pl.Float64(),
    "close": pl.Float64(),
    "volume": pl.Float64(),
    "is_synthetic": pl.Boolean(),
}
"""A bar after validation and filling, of any timeframe; ``known_at`` is the first moment an evaluation may use it."""


def empty_candles() -> pl.DataFrame:
    """Return a raw candle frame without rows."""
    return pl.DataFrame(schema=RAW_SCHEMA)


def check_raw(frame: pl.DataFrame) -> None:
    """Refuse a frame that is not a raw candle frame.

    Raises
    ------
    ContractError
        When a column is missing, extra, out of order or of another type.
    """
    found = dict(frame.schema)
    if list(found.items()) != list(RAW_SCHEMA.items()):
        raise ContractError(
            f"candles have the columns {found}, not {RAW_SCHEMA}.",
            "Select and cast them where the source is read.",
        )
