"""How a frame's promise is written down and held: columns with types, and rules that one pass over the frame tests.

Which frames promise what is in :mod:`mm_pipeline.contracts.states`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import polars as pl

from mm_pipeline.domain.errors import ContractError

if TYPE_CHECKING:
    from pandera.api.polars.types import PolarsData
    from pandera.polars import DataFrameSchema

FLOAT: Final = pl.Float64()
TOLERANCE: Final = 1e-9
"""Sums and shares are exact up to the rounding of floating point."""

Columns = Mapping[str, pl.DataType]


@dataclass(frozen=True)
class Contract:
    """What a frame promises.

    Attributes
    ----------
    columns
        Names and types, in order.
    rules
        By name, an aggregate that is true or null when the rule is kept.
    unbounded
        Columns that may be infinite; none may be NaN.
    """

    name: str
    columns: Columns
    rules: Mapping[str, pl.Expr]
    unbounded: frozenset[str] = frozenset()

    def check(self, frame: pl.DataFrame) -> None:
        """Refuse a frame that breaks the contract.

        One select says whether it is kept. Only where it is not does pandera go over the frame and report.

        Raises
        ------
        ContractError
            Naming everything that is broken.
        """
        try:
            if not self._broken(frame):
                return
        except pl.exceptions.PolarsError:
            pass  # pandera's report names it
        from pandera.errors import SchemaErrors

        try:
            self._schema.validate(frame, lazy=True)
        except (SchemaErrors, pl.exceptions.PolarsError) as error:  # it fails to join reports of several kinds
            problem = f"{self.name} breaks its contract: {'; '.join(self._broken(frame)) or error}."
            raise ContractError(problem, "It was not written; the rows that break it come from the stage.") from error

    def empty(self) -> pl.DataFrame:
        """A frame of this contract without rows."""
        return self._empty.clone()

    @cached_property
    def _empty(self) -> pl.DataFrame:
        return pl.DataFrame(schema=dict(self.columns))

    @cached_property
    def _schema(self) -> DataFrameSchema:
        import pandera.polars as pa

        def holds(data: PolarsData) -> bool:
            kept = data.lazyframe.select(**self._all_rules).collect().row(0)
            return all(value is not False for value in kept)

        columns = {name: pa.Column(kind, nullable=True) for name, kind in self.columns.items()}
        return pa.DataFrameSchema(columns, checks=[pa.Check(holds, name="rules")], strict=True, ordered=True)

    @cached_property
    def _all_rules(self) -> dict[str, pl.Expr]:
        floats = [name for name, kind in self.columns.items() if kind == FLOAT]
        bounded = [name for name in floats if name not in self.unbounded]
        return {
            **self.rules,
            "no NaN": pl.all_horizontal(pl.lit(True), *(~pl.col(name).is_nan().any() for name in floats)),
            "no infinity": pl.all_horizontal(pl.lit(True), *(~pl.col(name).is_infinite().any() for name in bounded)),
        }

    def _broken(self, frame: pl.DataFrame) -> list[str]:
        """Everything that is wrong with the columns, else the names of the rules that are broken."""
        found = dict(frame.schema)
        wrong = [f"{name} is missing" for name in self.columns if name not in found]
        wrong += [f"{name} is not a column of it" for name in found if name not in self.columns]
        wrong += [
            f"{name} is {found[name]}, not {kind}"
            for name, kind in self.columns.items()
            if name in found and found[name] != kind
        ]
        if wrong or list(found) != list(self.columns):
            return wrong or ["its columns are in another order"]
        kept = frame.select(**self._all_rules).row(0, named=True)
        return [name for name, value in kept.items() if value is False]


def between(low: float, high: float, *names: str) -> pl.Expr:
    """All values of the columns lie in ``[low, high]``."""
    return pl.all_horizontal(pl.col(name).is_between(low - TOLERANCE, high + TOLERANCE).all() for name in names)


def at_least(low: float, *names: str) -> pl.Expr:
    """No value of the columns is below ``low``."""
    return pl.all_horizontal((pl.col(name) >= low).all() for name in names)


def one_of(name: str, allowed: Iterable[str]) -> pl.Expr:
    """Every value is one of the allowed names."""
    return pl.col(name).is_in(list(allowed)).all()


def complete(*names: str) -> pl.Expr:
    """No value is missing."""
    return pl.all_horizontal(pl.col(name).is_not_null().all() for name in names)


def ascending(name: str) -> pl.Expr:
    """Every value is above the one before."""
    return (pl.col(name).to_physical().diff() > 0).all()


def aligned(name: str, step_ms: int) -> pl.Expr:
    """Every time is a multiple of the step (ms)."""
    return (pl.col(name).to_physical() % step_ms == 0).all()
