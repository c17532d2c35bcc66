"""Rows of an import as a frame, and back. What they mean together does not belong here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import polars as pl

from mm_pipeline.domain.account import Telling, fills_frame, fills_of_frame
from mm_pipeline.domain.columns import TIME

_ORDER_SCHEMA: Final[dict[str, pl.DataType]] = {
    "row": pl.String(),
    "has_id": pl.Boolean(),
    "is_order": pl.Boolean(),
    "ordered": TIME,
    "amount_base": pl.Float64(),
    "is_final": pl.Boolean(),
}


def place_of(number: int, file: str, row: str) -> str:
    """Where a row stands, for messages; of no row in particular without one."""
    return f"import {number} ({file}, row {row})" if row else f"import {number} {file}"


def tellings_frame(tellings: Sequence[Telling]) -> pl.DataFrame:
    """Fills with what is told of their orders beside them, a row each."""
    columns: dict[str, list[Any]] = {
        "row": [telling.place.rpartition(", row ")[2] if ", row " in telling.place else "" for telling in tellings],
        "has_id": [telling.has_id for telling in tellings],
        "is_order": [telling.is_order for telling in tellings],
        "ordered": [telling.ordered_ms for telling in tellings],
        "amount_base": [telling.amount_base for telling in tellings],
        "is_final": [telling.is_final for telling in tellings],
    }
    beside = [
        pl.Series(name, columns[name], dtype=pl.Int64 if kind == TIME else kind).cast(kind)
        for name, kind in _ORDER_SCHEMA.items()
    ]
    return fills_frame([telling.fill for telling in tellings]).with_columns(beside)


def tellings_of_frame(frame: pl.DataFrame, number: int, file: str) -> Iterable[Telling]:
    """The rows of an import by its number and file."""
    fills = fills_of_frame(frame.drop(list(_ORDER_SCHEMA)))
    beside = frame.select(*_ORDER_SCHEMA).with_columns(pl.col("ordered").dt.epoch("ms")).rows(named=True)
    for fill, told in zip(fills, beside, strict=True):
        yield Telling(
            fill=fill,
            source=number,
            place=place_of(number, file, told["row"]),
            has_id=told["has_id"],
            is_order=told["is_order"],
            ordered_ms=told["ordered"],
            amount_base=told["amount_base"],
            is_final=told["is_final"],
        )
