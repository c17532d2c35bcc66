"""Installations whose operator's page tests look at: one grid or several, with what was told of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from mm_pipeline.adapters.journal import Journal
from mm_pipeline.domain.grid import Grid
from mm_pipeline_tests.journal_samples import evaluation
from mm_pipeline_tests.journal_samples import grid as sample_grid
from mm_pipeline_tests.operator_samples import OperatedHome

MINUTE = timedelta(minutes=1)
BAR = 15 * MINUTE
AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
NOW = AT + 4 * MINUTE


def declared(home: OperatedHome, journal: Journal, *names: str, at: datetime, **changes: Any) -> list[Grid]:
    """Grids that began two days before, in files and in the journal."""
    grids = [sample_grid(name, started_at=at - timedelta(days=2), **changes) for name in names]
    home.declare(*grids)
    journal.observe_grids(grids, at - timedelta(days=1))
    return grids


def judged(journal: Journal, state: str, *, at: datetime, name: str = "eth", **changes: Any) -> None:
    """One evaluation of a grid."""
    values = {"fired": (), "triggers": {}, "as_of": at, "recorded_at": at + MINUTE} | changes
    journal.record_evaluations([replace(evaluation(), grid=name, evaluated_at=at, state=state, **values)])
