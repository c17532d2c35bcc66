"""What was decided, by (grid, bar, kind, input hash). Rows are added, never changed; a second daemon's are ignored."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from mm_pipeline.adapters.journal.insertion import insert_new
from mm_pipeline.adapters.journal.records import Evaluation, EvaluationKind
from mm_pipeline.adapters.journal.schema import evaluations as table

MANDATORY_EXIT = "MANDATORY_EXIT"
UNKNOWN = "UNKNOWN"

_KEY = ("grid", "evaluated_at", "kind", "input_hash")
_COLUMNS = tuple(field.name for field in fields(Evaluation))


def record(connection: sa.Connection, evaluations: Iterable[Evaluation]) -> int:
    """Add those that are new; how many were. See ``Journal.record_evaluations``."""
    return insert_new(connection, table, _KEY, [_row_of(evaluation) for evaluation in evaluations])


def select(
    connection: sa.Connection,
    *,
    grid: str | None = None,
    kind: EvaluationKind | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Evaluation]:
    """Evaluations with ``since <= evaluated_at < until``, oldest bar first; of one bar in the order of recording."""
    query = _query(grid=grid, kind=kind, since=since, until=until).order_by(table.c.evaluated_at, table.c.id)
    return [_evaluation_of(row) for row in connection.execute(query)]


def last(
    connection: sa.Connection,
    grid: str,
    *,
    kind: EvaluationKind | None = None,
    since: datetime | None = None,
    before: datetime | None = None,
    is_known: bool = False,
    versions: Collection[str] | None = None,
) -> Evaluation | None:
    """The newest bar's evaluation, of one bar the one recorded last.

    ``is_known`` passes over UNKNOWN, ``versions`` over those under any other declaration.
    """
    query = _query(grid=grid, kind=kind, since=since, until=before)
    if is_known:
        query = query.where(table.c.state != UNKNOWN)
    if versions is not None:
        query = query.where(table.c.grid_version.in_(versions))
    row = connection.execute(query.order_by(table.c.evaluated_at.desc(), table.c.id.desc()).limit(1)).first()
    return None if row is None else _evaluation_of(row)


def newest(connection: sa.Connection, grid: str, count: int) -> list[Evaluation]:
    """Evaluations of the newest ``count`` bars, newest first; of one bar the one recorded last."""
    later = table.alias("later")
    is_same_bar = (later.c.grid == table.c.grid) & (later.c.evaluated_at == table.c.evaluated_at)
    is_overwritten = sa.exists().where(is_same_bar & (later.c.id > table.c.id))
    query = _query(grid=grid, kind=None, since=None, until=None).where(~is_overwritten)
    rows = connection.execute(query.order_by(table.c.evaluated_at.desc()).limit(count))
    return [_evaluation_of(row) for row in rows]


def _query(
    *, grid: str | None, kind: EvaluationKind | None, since: datetime | None, until: datetime | None
) -> sa.Select[Any]:
    query = sa.select(*(table.c[column] for column in _COLUMNS))
    if grid is not None:
        query = query.where(table.c.grid == grid)
    if kind is not None:
        query = query.where(table.c.kind == kind.value)
    if since is not None:
        query = query.where(table.c.evaluated_at >= since)
    if until is not None:
        query = query.where(table.c.evaluated_at < until)
    return query


def _row_of(evaluation: Evaluation) -> dict[str, Any]:
    row = {column: getattr(evaluation, column) for column in _COLUMNS}
    row["kind"] = evaluation.kind.value
    row["state"] = str(evaluation.state)
    if evaluation.price is not None and math.isnan(evaluation.price):
        row["price"] = None
    return row


def _evaluation_of(row: sa.Row[Any]) -> Evaluation:
    values = dict(row._mapping)
    values["kind"] = EvaluationKind(values["kind"])
    values["fired"] = tuple(values["fired"])
    values["reasons"] = tuple(values["reasons"])
    return Evaluation(**values)
