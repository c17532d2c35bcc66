"""Between frames and arrays: null is NaN in floats and -1 in codes and row numbers, both ways.

Calculations work on arrays and build each frame once, from columns: an expression costs polars about a tenth of a
millisecond however short the frame is, a column a two-hundredth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import polars as pl

from mm_pipeline.domain.arrays import Bools, Floats, Integers

Type = pl.DataType | type[pl.DataType]

TIME = pl.Datetime("ms", "UTC")


def conformed(frame: pl.DataFrame, schema: Mapping[str, Type]) -> pl.DataFrame:
    """A frame that another version wrote, in these columns: new ones are null, those that are gone are left out."""
    if list(frame.schema.items()) == list(schema.items()):
        return frame
    return frame.select(
        (pl.col(name).cast(kind) if name in frame.columns else pl.lit(None, dtype=kind)).alias(name)
        for name, kind in schema.items()
    )


def united(schemas: Sequence[Mapping[str, Type]]) -> dict[str, Type]:
    """Columns of frames of several versions, given oldest first: the newest's, then those that only older ones have."""
    found: dict[str, Type] = {}
    for schema in reversed(schemas):
        for name, kind in schema.items():
            there = found.get(name)
            if isinstance(there, pl.Struct) and isinstance(kind, pl.Struct):
                found[name] = pl.Struct(united([_fields(kind), _fields(there)]))
            elif there is None:
                found[name] = kind
    return found


def _fields(kind: pl.Struct) -> dict[str, Type]:
    return cast("dict[str, Type]", dict(kind.to_schema()))


def floats_of(column: pl.Series) -> Floats:
    """Numbers or booleans, null as NaN; perhaps a view of the column, so not to be written to."""
    return (column if column.dtype == pl.Float64 else column.cast(pl.Float64)).to_numpy()


def epoch_ms(times: pl.Series) -> Integers:
    """Milliseconds since the epoch of a ``Datetime("ms", "UTC")`` series without nulls, as int64."""
    return times.cast(pl.Int64).to_numpy()


def times_of(epoch_milliseconds: Integers, name: str, *, is_there: Bools | None = None) -> pl.Series:
    """Inverse of :func:`epoch_ms`; null where ``is_there`` is false."""
    if is_there is None:
        return pl.Series(name, epoch_milliseconds, dtype=pl.Int64).cast(TIME)
    # Whole milliseconds are exact in a float for the next 280,000 years.
    return integer_column(name, np.where(is_there, epoch_milliseconds, np.nan)).cast(TIME)


def float_column(name: str, values: Floats) -> pl.Series:
    """Numbers, null where NaN."""
    return pl.Series(name, values, nan_to_null=True)


def integer_column(name: str, values: Floats) -> pl.Series:
    """Whole numbers, null where NaN."""
    return float_column(name, values).cast(pl.Int64)


def flag_column(name: str, flags: Bools, is_there: Bools) -> pl.Series:
    """Booleans, null where none is there."""
    return float_column(name, np.where(is_there, flags, np.nan)).cast(pl.Boolean)


def name_column(name: str, codes: Integers, names: Sequence[str]) -> pl.Series:
    """The names that codes stand for, null at -1."""
    return taken(pl.Series(name, [*names, None], dtype=pl.String), codes)


def constant_column(name: str, value: object, length: int, dtype: Type) -> pl.Series:
    """One value throughout."""
    return pl.Series(name, [value], dtype=dtype).new_from_index(0, length)


def taken(column: pl.Series, index: Integers) -> pl.Series:
    """Values at row numbers; those below 0 count from the end."""
    if len(index) == 0:
        return column.clear()
    return column[np.where(index < 0, index + len(column), index).astype(np.uint32)]


def picked(column: pl.Series, index: Integers) -> pl.Series:
    """Values at row numbers, null at -1."""
    if len(column) > 0 and not (index < 0).any():
        return taken(column, index)
    return taken(pl.concat([column, pl.Series(column.name, [None], dtype=column.dtype)]), index)


def cases_of(flags: Sequence[Bools]) -> tuple[list[Bools], Integers]:
    """Distinct combinations among flags, at most 16, and for each row the number of its combination.

    A year of evaluations has 35,040 rows and some dozens of combinations; what depends on flags alone is worked out
    once for each.
    """
    keys = sum(flag.astype(np.int64) << bit for bit, flag in enumerate(flags))
    is_met = np.zeros(1 << len(flags), dtype=bool)
    is_met[keys] = True
    met = np.flatnonzero(is_met)
    return [(met >> bit) % 2 == 1 for bit in range(len(flags))], (np.cumsum(is_met) - 1)[keys]


def grouped(values: pl.Series, row: Integers, rows: int) -> pl.Series:
    """List of the values that belong to each of so many rows, in their order; ``row`` ascends."""
    empty = constant_column(values.name, [], rows, pl.List(values.dtype))
    if len(row) == 0:
        return empty
    lists = pl.DataFrame([pl.Series("row", row), values]).group_by("row", maintain_order=True).agg(values.name)
    has_any = np.isin(np.arange(rows), row)
    return taken(pl.concat([lists[values.name], empty.slice(0, 1)]), np.where(has_any, np.cumsum(has_any) - 1, -1))


def texts_column(name: str, flags: Mapping[str, Bools], *, in_front: Sequence[pl.Series] = ()) -> pl.Series:
    """For each row the list of texts whose flag is set, in their order, behind those of other columns of lists."""
    cases, case = cases_of(list(flags.values()))
    told, text = np.nonzero(np.transpose(cases))
    lists = grouped(name_column(name, text, list(flags)), told, len(cases[0]))
    has_more = np.any([np.zeros(len(case)), *(floats_of(column.list.len()) for column in in_front)], axis=0)
    if not has_more.any():
        return taken(lists, case)
    whole = pl.DataFrame([*(column.alias(str(place)) for place, column in enumerate(in_front)), taken(lists, case)])
    chains = whole.filter(pl.Series(has_more)).select(pl.concat_list(pl.all()).alias(name)).to_series()
    return taken(pl.concat([lists, chains]), np.where(has_more, len(lists) + np.cumsum(has_more) - 1, case))
