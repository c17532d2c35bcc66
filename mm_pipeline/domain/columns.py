"""Between frames and arrays: null is NaN in floats and -1 in codes and row numbers, both ways.

Calculations work on arrays and build each frame once, from columns: an expression costs polars about a tenth of a
millisecond however short the frame is, a column a two-hundredth.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mm_pipeline.domain.indicators.windows import Floats

Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]
Type = pl.DataType | type[pl.DataType]

TIME = pl.Datetime("ms", "UTC")


def floats_of(column: pl.Series) -> Floats:
    """Numbers or booleans, null as NaN; perhaps a view of the column, so not to be written to."""
    return column.cast(pl.Float64).to_numpy()


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
    return pl.Series(name, values, dtype=pl.Float64, nan_to_null=True)


def integer_column(name: str, values: Floats) -> pl.Series:
    """Whole numbers, null where NaN."""
    return float_column(name, values).cast(pl.Int64)


def flag_column(name: str, flags: Bools, is_there: Bools) -> pl.Series:
    """Booleans, null where none is there."""
    return float_column(name, np.where(is_there, flags, np.nan)).cast(pl.Boolean)


def name_column(name: str, codes: Integers, names: Sequence[str]) -> pl.Series:
    """The names that codes stand for, null at -1."""
    return pl.Series(name, [*names, None], dtype=pl.String)[codes]


def constant_column(name: str, value: object, length: int, dtype: Type) -> pl.Series:
    """One value throughout."""
    return pl.Series(name, [value], dtype=dtype).new_from_index(0, length)


def picked(column: pl.Series, index: Integers) -> pl.Series:
    """Values at row numbers, null at -1."""
    return pl.concat([column, pl.Series(column.name, [None], dtype=column.dtype)])[index]
