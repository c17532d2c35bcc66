"""Fills and flows as frames and back: what stores keep and stages pass on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from mm_pipeline.domain.account.values import AccountFill, AccountFlow, Side
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

ACCOUNT_FLOWS_SCHEMA: dict[str, pl.DataType] = {
    "ledger_id": pl.String(),
    "time": TIME,
    "currency": pl.String(),
    "amount": pl.Float64(),
}
"""One row an entry of the ledger; ``amount`` is in ``currency``, negative where it left the account."""


def fills_frame(fills: Sequence[AccountFill]) -> pl.DataFrame:
    """``ACCOUNT_FILLS_SCHEMA``, in the order given."""
    return _frame(fills, ACCOUNT_FILLS_SCHEMA)


def fills_of_frame(frame: pl.DataFrame) -> list[AccountFill]:
    """Inverse of :func:`fills_frame`."""
    return [AccountFill(**{**row, "side": Side(row["side"])}) for row in _rows(frame)]


def flows_frame(flows: Sequence[AccountFlow]) -> pl.DataFrame:
    """``ACCOUNT_FLOWS_SCHEMA``, in the order given."""
    return _frame(flows, ACCOUNT_FLOWS_SCHEMA)


def flows_of_frame(frame: pl.DataFrame) -> list[AccountFlow]:
    """Inverse of :func:`flows_frame`."""
    return [AccountFlow(**row) for row in _rows(frame)]


def _frame(values: Sequence[AccountFill] | Sequence[AccountFlow], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    columns = {name: [value.time_ms if name == "time" else getattr(value, name) for value in values] for name in schema}
    return pl.DataFrame(
        [
            pl.Series(name, columns[name], dtype=pl.Int64 if kind == TIME else kind).cast(kind)
            for name, kind in schema.items()
        ]
    )


def _rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return frame.with_columns(pl.col("time").dt.epoch("ms").alias("time_ms")).drop("time").rows(named=True)
