"""What is wrong with grid files at a live evaluation, journalled with what the files declare."""

from __future__ import annotations

from datetime import datetime

from mm_pipeline.adapters.config.grid_files import GridFolder
from mm_pipeline.adapters.journal import Incident, Journal
from mm_pipeline.application.subjects import GRID_FILE, GRID_START, PIPELINE, grid_subject
from mm_pipeline.domain.grid import GridVersion, unwatched


def observe_folder(journal: Journal, folder: GridFolder, evaluated_at: datetime, *, now: datetime) -> None:
    """Journal the grid files as they stand, for an evaluation and those after it.

    What was already decided stays: where that evaluation is journalled, a change counts from ``now``.
    """
    is_decided = bool(journal.evaluations(since=evaluated_at))
    unreadable = {problem.grid_id: problem for problem in folder.problems if problem.grid_id is not None}
    watched = {grid for grid in journal.known_grids() if journal.grid_history(grid)[-1].grid is not None}
    unclear = [problem for problem in folder.problems if problem.grid_id not in watched]
    if unclear:  # a lost folder, or a file that may declare any grid that is missing now: none of them has ended
        missing = sorted(watched - {grid.id for grid in folder.grids})
        unreadable = dict.fromkeys(missing, unclear[0]) | unreadable
    journal.observe_grids(folder.grids, now if is_decided else evaluated_at, unreadable=list(unreadable))
    # An earlier run of this evaluation may have noted what is well now; the rest is noted again.
    named = [grid_subject(grid_id) for grid_id in (*journal.known_grids(), *unreadable)]
    journal.end_notices(named, tick_at=evaluated_at)
    journal.end_notices([PIPELINE], tick_at=evaluated_at, codes=[GRID_FILE])
    journal.record_notices(
        Incident(market=grid_subject(grid_id), tick_at=evaluated_at, code=GRID_FILE, message=str(problem.error))
        for grid_id, problem in unreadable.items()
    )
    journal.record_notices(
        Incident(market=PIPELINE, tick_at=evaluated_at, code=GRID_FILE, message=str(problem.error))
        for problem in folder.problems
        if problem.grid_id is None
    )
    journal.record_notices(
        Incident(
            market=grid_subject(grid.id),
            tick_at=evaluated_at,
            code=GRID_START,
            message=f"{folder.files.get(grid.id, 'its file')}: started_at: it is after this evaluation.",
        )
        for grid in folder.grids
        if unwatched(GridVersion(grid, evaluated_at), evaluated_at) is not None
    )
