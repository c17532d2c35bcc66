"""What was journalled of a grid's position before a frame of its states begins."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from mm_pipeline.adapters.journal import Evaluation, Journal
from mm_pipeline.domain.account import PositionSource
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.notifications import EarlierPosition, Notice
from mm_pipeline.domain.notifications.judgement import ABOVE_GRID
from mm_pipeline.reporting.notification_frame import GridStates

_NEWEST: Final = 2
"""Rows of which one must say something else than NORMAL."""
_STRETCH: Final = timedelta(days=7)
"""What is read at once, going back; no bound of what is found."""
_READ: Final = frozenset({PositionSource.EXCHANGE.value, PositionSource.IMPORT.value})


def earlier_positions(journal: Journal, grid_id: str, states: GridStates) -> list[EarlierPosition]:
    """Positions before the first row, back to what an account or import showed last in the grid's range.

    A frame begins with its month, and that of a grid that cannot be decided with its newest row: an unanswered
    emergency must not fall silent there. Nothing is read while a grid is NORMAL: what is held matters to an exit.
    """
    rows = states.rows
    if not rows.height or set(rows["state"].tail(_NEWEST)) == {Notice.NORMAL.value}:
        return []
    declared = states.grids.get(rows["grid_version"][-1] or "")
    begin = min((grid.started_at for grid in states.grids.values()), default=None)
    start, end = begin if declared is None else declared.started_at, rows["evaluated_at"][0]
    found: list[Evaluation] = []
    while start is not None and end > start:
        since = max(start, end - _STRETCH)
        was_read = _is_read(found)
        found = [*journal.evaluations(grid_id, kind=EvaluationKind.EXIT, since=since, until=end), *found]
        if was_read:  # one stretch more: whether that reading fell into an emergency
            break
        end = since
    seen = journal.grid_versions(grid_id) if found else []
    declarations = {version.grid.version_hash: version.grid for version in seen} | dict(states.grids)
    return [_position(one, declarations.get(one.grid_version)) for one in found]


def _is_read(evaluations: list[Evaluation]) -> bool:
    return any((one.risk or {}).get("source") in _READ for one in evaluations)


def _position(one: Evaluation, grid: Grid | None) -> EarlierPosition:
    known = one.risk or {}
    is_above = grid is not None and one.price is not None and one.price > grid.upper
    return EarlierPosition(
        state=one.state,
        grid_version=one.grid_version,
        inventory_base=known.get("inventory_base"),
        source=known.get("source"),
        position_health=ABOVE_GRID if is_above else None,
    )
