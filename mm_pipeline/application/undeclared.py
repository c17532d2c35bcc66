"""Stored frames of grids that nothing declares in their month."""

from collections import defaultdict
from datetime import datetime
from typing import NamedTuple

from mm_pipeline.adapters.frames.store import FrameStore
from mm_pipeline.application.plan import floor_to_evaluation
from mm_pipeline.application.planned_keys import grid_assets, planned_keys
from mm_pipeline.application.watch import Watch
from mm_pipeline.domain.months import next_month


class Undeclared(NamedTuple):
    """A month of a grid with rows, although no grid of that name is declared in it."""

    asset: str
    grid: str
    month: str


def undeclared_frames(watch: Watch) -> list[Undeclared]:
    """Every such month, oldest first; a grid whose file cannot be read counts as declared."""
    store, stored = FrameStore(watch.frames_root), defaultdict[datetime, set[tuple[str, str]]](set)
    for asset in grid_assets():
        for grid in store.keys(asset):
            for month in store.months(asset, grid):
                stored[month].add((asset, grid))
    unread = {problem.grid_id for problem in watch.grid_folder().problems}
    newest_ms = floor_to_evaluation(watch.now())
    found = []
    for month in sorted(stored):
        plan = watch.plan(start=month, end=next_month(month), evaluated_ms=newest_ms, is_live=False)
        for asset, grid in sorted(stored[month]):
            is_declared = grid in unread or grid in (planned_keys(asset, plan) or ())
            if not is_declared and store.read(asset, grid, start=month, end=next_month(month)).height:
                found.append(Undeclared(asset, grid, f"{month:%Y-%m}"))
    return found
