"""What was decided, by (grid, bar, kind, input hash). Rows are added, never changed; a second daemon's are ignored."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from mm_pipeline.adapters.journal import schema
from mm_pipeline.adapters.journal.insertion import insert_new
from mm_pipeline.adapters.journal.records import Evaluation
from mm_pipeline.adapters.journal.setting_aside import MADE_AGAIN, set_aside
from mm_pipeline.adapters.journal.valid import evaluations as table
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.market import Timeframe

MANDATORY_EXIT = "MANDATORY_EXIT"
UNKNOWN = "UNKNOWN"

_KEY = ("grid", "evaluated_at", "kind", "input_hash")
_WORDS = ("state", "fired", "reasons")
"""What an evaluation says; the same input may say something else when an error ends."""
_COLUMNS = tuple(field.name for field in fields(Evaluation))


def record(connection: sa.Connection, evaluations: Iterable[Evaluation], *, again_at: datetime | None) -> int:
    """Add those that are new; how many were. See ``Journal.record_evaluations``."""
    rows = [_row_of(evaluation) for evaluation in evaluations]
    for row in rows:
        if row["evaluated_at"] == again_at:
            _replace(connection, row)
    return insert_new(connection, schema.evaluations, _KEY, rows)


def _replace(connection: sa.Connection, row: dict[str, Any]) -> None:
    """Set aside an evaluation of the same bar and input that says no longer what is true.

    Its words are others (an error that ended, or began), or the bar was evaluated from other input in between. One
    that is the bar's newest and says the same stays: a second daemon has journalled it.
    """
    every = schema.evaluations
    is_same_bar = sa.and_(*(every.c[name] == row[name] for name in ("grid", "evaluated_at", "kind")))
    found = connection.execute(sa.select(every).where(is_same_bar).order_by(every.c.id)).all()
    same = [one for one in found if one.input_hash == row["input_hash"]]
    if not same or (same[-1].id == found[-1].id and all(getattr(same[-1], name) == row[name] for name in _WORDS)):
        return
    set_aside(connection, every, every.c.id == same[-1].id, reason=MADE_AGAIN, at=row["recorded_at"])


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


def counts() -> sa.ColumnElement[bool]:
    """Whether an evaluation counts towards how long a state has lasted: one of each bar does.

    Of those that were made while their bar was the newest it is the last, else the first. What a later run says of the
    bar, as its candles were revised, is no evaluation more: one answer of an exchange says nothing twice.
    """
    other = table.alias("other")
    is_same_bar = (other.c.grid == table.c.grid) & (other.c.evaluated_at == table.c.evaluated_at)
    is_before = ~_is_of_newest_bar(table) & (other.c.id < table.c.id)
    is_over = _is_of_newest_bar(other) & (other.c.id > table.c.id)
    return ~sa.exists().where(is_same_bar & (is_before | is_over))


def _is_of_newest_bar(rows: sa.FromClause) -> sa.ColumnElement[bool]:
    """Whether an evaluation was made before the bar after its own had closed."""
    made_ms, closed_ms = (sa.type_coerce(rows.c[name], sa.BigInteger) for name in ("recorded_at", "evaluated_at"))
    return made_ms - closed_ms < Timeframe.M15.ms


def newest(connection: sa.Connection, grid: str, count: int) -> list[Evaluation]:
    """Evaluations of the newest ``count`` bars that count, newest first."""
    query = _query(grid=grid, kind=None, since=None, until=None).where(counts())
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
    row |= {"fired": list(evaluation.fired), "reasons": list(evaluation.reasons)}
    if evaluation.price is not None and math.isnan(evaluation.price):
        row["price"] = None
    return row


def _evaluation_of(row: sa.Row[Any]) -> Evaluation:
    values = dict(row._mapping)
    values["kind"] = EvaluationKind(values["kind"])
    values["fired"] = tuple(values["fired"])
    values["reasons"] = tuple(values["reasons"])
    return Evaluation(**values)
