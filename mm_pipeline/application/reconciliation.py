"""The exchange's own 1h candles against those made of its 15m ones. Pure."""

from __future__ import annotations

from typing import Final

import polars as pl

_RELATIVE_TOLERANCE: Final = 1e-9
"""Prices are copied, volumes are added up: anything beyond rounding is a difference."""
_PRICES: Final = ("open", "high", "low", "close")
_COLUMNS: Final = (*_PRICES, "volume")


def hourly_differences(resampled: pl.DataFrame, own: pl.DataFrame, *, price_step: float = 0.0) -> pl.DataFrame:
    """Hours whose candles disagree.

    Parameters
    ----------
    resampled
        1h Bars frame; hours without any trade are passed over.
    own
        Raw 1h candle frame of the same hours.
    price_step
        By how much prices may be apart (quote).

    Returns
    -------
    ``open_time, problem`` (the columns that differ, or on which side the hour is missing), ascending.
    """
    ours = traded_hours(resampled).select("open_time", *_COLUMNS)
    joined = ours.join(own, on="open_time", how="full", suffix="_own", coalesce=True).sort("open_time")
    differing = [
        pl.when((pl.col(name) - pl.col(f"{name}_own")).abs() > step + _RELATIVE_TOLERANCE * pl.col(name).abs()).then(
            pl.format(f"{name} {{}} against the exchange's {{}}", name, f"{name}_own")
        )
        for name, step in {**dict.fromkeys(_PRICES, price_step), "volume": 0.0}.items()
    ]
    missing = (
        pl.when(pl.col("close_own").is_null())
        .then(pl.lit("the exchange has no such hour"))
        .when(pl.col("close").is_null() & (pl.col("volume_own") > 0))
        .then(pl.lit("our bars have no such hour"))
    )
    problems = pl.concat_list(missing, *differing).list.drop_nulls().list.join("; ")
    return joined.select("open_time", problem=problems).filter(pl.col("problem") != "")


def traded_hours(resampled: pl.DataFrame) -> pl.DataFrame:
    """Hours in which something was traded."""
    return resampled.filter(~pl.col("is_synthetic"))
