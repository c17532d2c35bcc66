"""What the page reads for one view: the journal is opened, asked, and closed again, so that nothing old is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mm_pipeline.adapters.clock import SystemClock
from mm_pipeline.adapters.journal import DecisionRecord
from mm_pipeline.application.operator.grid_story import GridStory, grid_story
from mm_pipeline.application.operator.standing import Standing, standing_in, statuses_in
from mm_pipeline.cli.delivery_access import delivery_for
from mm_pipeline.cli.journal_access import check_grid, open_journal
from mm_pipeline.domain.errors import PipelineError, StorageError
from mm_pipeline.rendering.page.grid_pages import GridPages, urgent_first
from mm_pipeline.settings import Deployment


@dataclass(frozen=True)
class FrontView:
    """How the installation stands, and by grid what an answer would be about."""

    standing: Standing
    pages: Mapping[str, Sequence[DecisionRecord]]

    @property
    def cards(self) -> list[GridPages]:
        """What needs an operator first comes first."""
        return urgent_first([GridPages(one, self.pages[one.report.grid_id]) for one in self.standing.grids])


@dataclass(frozen=True)
class GridView:
    """One grid: how it stands, None where it is not watched any more, and its past.

    ``problem`` says why the moment that was asked for cannot be opened.
    """

    seen: GridPages | None
    story: GridStory
    problem: str


def read_grid(deployment: Deployment, grid_id: str, *, at: datetime | None) -> GridView:
    """A grid with its past.

    Raises
    ------
    ConfigError
        When the journal knows no such grid.
    PipelineError
        When the journal cannot be read.
    """
    now, history = SystemClock().now(), deployment.settings.page.history
    with open_journal(deployment) as journal:
        check_grid(journal, grid_id)
        status = next(iter(statuses_in(journal, deployment, now=now, only=grid_id)), None)
        pages = journal.notifications.standing(grid_id)
        try:
            story, problem = grid_story(journal, grid_id, since=now - history, until=now, at=at), ""
        except StorageError:
            raise
        except PipelineError as error:  # nothing was evaluated then
            story, problem = grid_story(journal, grid_id, since=now - history, until=now), error.problem
    return GridView(None if status is None else GridPages(status, pages), story, problem)


def read_front(deployment: Deployment) -> FrontView:
    """How every grid stands now.

    Raises
    ------
    PipelineError
        When the journal cannot be read.
    """
    with open_journal(deployment) as journal:
        failing = delivery_for(deployment.settings, journal).health.failing()
        standing = standing_in(journal, deployment, failing=failing, now=SystemClock().now())
        names = [one.report.grid_id for one in standing.grids]
        pages = {name: journal.notifications.standing(name) for name in names}
    return FrontView(standing, pages)
