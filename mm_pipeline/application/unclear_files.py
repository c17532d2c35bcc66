"""Grid files of which nobody knows what they say: a lost folder, or a file that no grid's own state tells of.

A broken edit of an enabled grid is UNKNOWN and paged as such, and so is a removed file. A disabled grid pages no
UNKNOWN, but its file may say by now that the grid runs. A grid without a file whose stop is breached is an emergency,
and its state says nothing of the file.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from mm_pipeline.adapters.journal import Journal
from mm_pipeline.application.subjects import GRID_FILE, PIPELINE, grid_subject
from mm_pipeline.domain.grid import GridVersion, unwatched
from mm_pipeline.domain.notifications import Notice

_MOMENT = timedelta(milliseconds=1)


def unclear_files(journal: Journal, at: datetime) -> dict[str, str]:
    """What was wrong at an evaluation with files that no grid's own state tells of.

    Returns
    -------
    By subject, a grid's id or ``the grid folder``: the error with file, key and what to write.
    """
    found: dict[str, str] = {}
    for grid in journal.known_grids():
        version = journal.grid_in_force(grid, at)
        if version is None:
            continue
        if version.is_gone and _is_emergency(journal, version, at):
            found[grid] = f"{grid} {unwatched(version, at)}"
        if not version.grid.enabled:
            for notice in journal.notices(grid_subject(grid), since=at, until=at + _MOMENT):
                if notice.code == GRID_FILE:
                    found[grid] = notice.message
    for notice in journal.notices(PIPELINE, since=at, until=at + _MOMENT):
        if notice.code == GRID_FILE:
            found["the grid folder"] = notice.message
    return found


def _is_emergency(journal: Journal, version: GridVersion, at: datetime) -> bool:
    made = journal.evaluations(version.grid.id, since=at, until=at + _MOMENT)
    return bool(made) and made[-1].state == Notice.MANDATORY_EXIT
