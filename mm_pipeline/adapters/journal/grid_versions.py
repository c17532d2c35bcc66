"""Effective-dated grids: which declaration was in force when. Rows are added, never changed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from pydantic import ValidationError

from mm_pipeline.adapters.journal import schema
from mm_pipeline.adapters.journal.records import GridHistoryRow
from mm_pipeline.adapters.journal.valid import grid_versions as table
from mm_pipeline.adapters.journal.valid import limit_now
from mm_pipeline.domain.errors import StorageError
from mm_pipeline.domain.grid import Grid, GridVersion

_MOMENT: Final = timedelta(milliseconds=1)


def observe(
    connection: sa.Connection, grids: Collection[Grid], now: datetime, *, unreadable: Collection[str]
) -> list[str]:
    """Add a version for every grid that is new, changed or gone; ids of these. See ``Journal.observe_grids``.

    Nobody can date a change of a grid of which something is journalled for a time later than now: a clock was ahead,
    or ours is behind. It is added once the clock has been confirmed, or has caught up. No version counts from before
    what was seen or decided of its grid, so that it never decides that again.
    """
    if connection.dialect.name == "postgresql":
        # Two daemons that see a change at once: the second must read what the first added.
        connection.exec_driver_sql("LOCK TABLE grid_versions IN SHARE ROW EXCLUSIVE MODE")
    newest = _newest_by_grid(connection, schema.grid_versions)
    rows: list[dict[str, Any]] = []
    for grid in grids:
        last = newest.get(grid.id)
        if last is None:
            rows.append(_row(grid.id, grid.version_hash, min(grid.started_at, now), now, grid.model_dump_json()))
        elif last.is_removed or last.version_hash != grid.version_hash:
            valid_from = _counts_from(connection, grid.id, now)
            if valid_from is not None:
                rows.append(_row(grid.id, grid.version_hash, valid_from, now, grid.model_dump_json()))
    present = {grid.id for grid in grids} | set(unreadable)
    for grid_id, last in newest.items():
        if not last.is_removed and grid_id not in present:
            valid_from = _counts_from(connection, grid_id, now)
            if valid_from is not None:
                rows.append(_row(grid_id, last.version_hash, valid_from, now, None))
    rows.sort(key=lambda row: str(row["grid"]))
    if rows:
        connection.execute(schema.grid_versions.insert(), rows)
    return [row["grid"] for row in rows]


def history(connection: sa.Connection, grid_id: str) -> list[GridHistoryRow]:
    """Everything seen of the grid's file, oldest first."""
    rows = connection.execute(sa.select(table).where(table.c.grid == grid_id).order_by(table.c.id))
    return [
        GridHistoryRow(
            grid_id=row.grid,
            version_hash=row.version_hash,
            valid_from=row.valid_from,
            seen_at=row.seen_at,
            grid=None if row.definition is None else _parse(row.grid, row.definition),
            retired_by=row.retired_by,
        )
        for row in rows
    ]


def as_versions(rows: Sequence[GridHistoryRow]) -> tuple[GridVersion, ...]:
    """What each row of a history declares, oldest first.

    Where the file is gone it is the declaration before; switched off where the grid was retired.
    """
    versions: list[GridVersion] = []
    for row in rows:
        if row.grid is not None:
            versions.append(GridVersion(row.grid, row.valid_from))
        elif versions:
            last = versions[-1].grid
            is_retired = row.retired_by is not None
            kept = last.model_copy(update={"enabled": False}) if is_retired else last
            versions.append(GridVersion(kept, row.valid_from, is_gone=True, is_retired=is_retired))
    return tuple(versions)


def in_force(connection: sa.Connection, grid_id: str, at: datetime) -> GridVersion | None:
    """The version an evaluation at ``at`` uses: of those valid by then the one seen last.

    None where the file of a disabled grid is gone, or the grid was retired; an enabled one without its file is in
    force still, and says so.
    """
    versions = as_versions([row for row in history(connection, grid_id) if row.valid_from <= at])
    if not versions or (versions[-1].is_gone and not versions[-1].grid.enabled):
        return None
    return versions[-1]


def retire(connection: sa.Connection, grid_id: str, now: datetime, *, by: str) -> bool:
    """Record that a grid without a file was meant to end; whether that is new. See ``Journal.retire_grid``."""
    last = _newest_by_grid(connection, schema.grid_versions).get(grid_id)
    if last is None or last.retired_by is not None:
        return False
    valid_from = _counts_from(connection, grid_id, now)
    if valid_from is None:
        raise StorageError(
            f"something is journalled of grid {grid_id} for a time later than now, so its end cannot be dated.",
            "Set this machine's clock right; if it is, wait for a run that an exchange tells the time.",
        )
    row = _row(grid_id, last.version_hash, valid_from, now, None) | {"retired_by": by}
    connection.execute(schema.grid_versions.insert(), [row])
    return True


def retired(connection: sa.Connection) -> dict[str, datetime]:
    """When each grid was retired that has not come back since, by id."""
    newest = _newest_by_grid(connection)
    return {grid_id: row.valid_from for grid_id, row in newest.items() if row.retired_by is not None}


def known_grids(connection: sa.Connection) -> list[str]:
    """Ids of every grid ever seen, removed ones included, sorted."""
    return list(connection.scalars(sa.select(table.c.grid).distinct().order_by(table.c.grid)))


def _newest_by_grid(connection: sa.Connection, rows_of: sa.FromClause = table) -> dict[str, sa.Row[Any]]:
    newest = sa.select(sa.func.max(rows_of.c.id)).group_by(rows_of.c.grid)
    rows = connection.execute(sa.select(rows_of).where(rows_of.c.id.in_(newest)))
    return {row.grid: row for row in rows}


def _counts_from(connection: sa.Connection, grid_id: str, now: datetime) -> datetime | None:
    """When a change seen now counts from: after all that is journalled of the grid; None where that is ahead."""
    versions, decided = schema.grid_versions, schema.evaluations
    seen = sa.select(sa.func.max(versions.c.valid_from), sa.func.max(versions.c.seen_at))
    valid_from, seen_at = connection.execute(seen.where(versions.c.grid == grid_id)).one()
    evaluated_at = connection.scalar(sa.select(sa.func.max(decided.c.evaluated_at)).where(decided.c.grid == grid_id))
    journalled = [at for at in (valid_from, seen_at, evaluated_at) if at is not None]
    if max(journalled, default=now) > limit_now():
        return None
    begins: list[datetime] = [now] if valid_from is None else [now, valid_from]
    return max(begins if evaluated_at is None else [*begins, evaluated_at + _MOMENT])


def _row(
    grid_id: str, version_hash: str, valid_from: datetime, now: datetime, definition: str | None
) -> dict[str, Any]:
    return {
        "grid": grid_id,
        "version_hash": version_hash,
        "valid_from": valid_from,
        "seen_at": now,
        "is_removed": definition is None,
        "definition": definition,
        "retired_by": None,
    }


def _parse(grid_id: str, definition: str) -> Grid:
    try:
        return Grid.model_validate_json(definition)
    except ValidationError as error:
        raise StorageError(
            f"a journalled version of grid {grid_id} cannot be read by this version: {error}.",
            "Use the mm_pipeline that wrote it, or a newer one.",
        ) from error
