"""Fills as a frame and back: what stores keep and stages pass on."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from mm_pipeline.domain.account.values import AccountFill, Side
from mm_pipeline.domain.columns import TIME

ACCOUNT_FILLS_SCHEMA: dict[str, pl.DataType] = {
    "trade_id": pl.String(),
    "order_id": pl.String(),
    "symbol": pl.String(),
    "time": TIME,
    "side": pl.String(),
    "price": pl.Float64(),
    "quantity_base": pl.Float64(),
    "fee": pl.Float64(),
    "fee_currency": pl.String(),
}
"""One row an execution; ``fee`` is in ``fee_currency``."""


def fills_frame(fills: Sequence[AccountFill]) -> pl.DataFrame:
    """``ACCOUNT_FILLS_SCHEMA``, in the order given."""
    columns = {
        name: [fill.time_ms if name == "time" else getattr(fill, name) for fill in fills]
        for name in ACCOUNT_FILLS_SCHEMA
    }
    return pl.DataFrame(
        [
            pl.Series(name, values, dtype=pl.Int64 if kind == TIME else kind).cast(kind)
            for (name, values), kind in zip(columns.items(), ACCOUNT_FILLS_SCHEMA.values(), strict=True)
        ]
    )


def fills_of_frame(frame: pl.DataFrame) -> list[AccountFill]:
    """Inverse of :func:`fills_frame`."""
    rows = frame.with_columns(pl.col("time").dt.epoch("ms").alias("time_ms")).drop("time").rows(named=True)
    return [AccountFill(**{**row, "side": Side(row["side"])}) for row in rows]
