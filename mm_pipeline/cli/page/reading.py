"""What the page reads for one view: the journal is opened, asked, and closed again, so that nothing old is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mm_pipeline.adapters.clock import SystemClock
from mm_pipeline.application.operator.standing import Standing, standing_in
from mm_pipeline.application.operator.status import GridStatus, by_urgency
from mm_pipeline.cli.delivery_access import delivery_for
from mm_pipeline.cli.journal_access import open_journal
from mm_pipeline.settings import Deployment


@dataclass(frozen=True)
class FrontView:
    """How the installation stands, and by grid the ids of the pages that an answer would be about."""

    standing: Standing
    shown: Mapping[str, tuple[str, ...]]

    @property
    def ordered(self) -> list[GridStatus]:
        """What needs an operator first comes first."""
        return by_urgency(self.standing.grids)


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
        shown = {name: tuple(one.decision.page for one in journal.notifications.standing(name)) for name in names}
    return FrontView(standing, shown)
