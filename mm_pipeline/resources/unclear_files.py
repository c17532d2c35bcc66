"""Grid files of which nobody knows what they say: a lost folder, or a broken edit of a grid that was switched off.

A broken edit of an enabled grid is UNKNOWN and paged as such. A disabled grid pages no UNKNOWN, but its file may say by
now that the grid runs.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from mm_pipeline.adapters.journal import Journal

_MOMENT = timedelta(milliseconds=1)


def unclear_files(journal: Journal, at: datetime) -> dict[str, str]:
    """What was wrong at an evaluation with files that no grid's own state tells of.

    Returns
    -------
    By subject, a grid's id or ``the grid folder``: the error with file, key and what to write.
    """
    from mm_pipeline.resources.watch import GRID_FILE, PIPELINE, grid_subject

    found: dict[str, str] = {}
    for grid in journal.known_grids():
        version = journal.grid_in_force(grid, at)
        if version is not None and not version.grid.enabled:
            for notice in journal.notices(grid_subject(grid), since=at, until=at + _MOMENT):
                if notice.code == GRID_FILE:
                    found[grid] = notice.message
    for notice in journal.notices(PIPELINE, since=at, until=at + _MOMENT):
        if notice.code == GRID_FILE:
            found["the grid folder"] = notice.message
    return found
