"""How an installation stands at a moment, by its journal: grids, the watch's pulse, its alarms, and who is not reached.

How it is shown belongs to ``rendering``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from mm_pipeline.adapters.channels import records_of
from mm_pipeline.adapters.config.grid_files import load_grids
from mm_pipeline.adapters.journal import Journal
from mm_pipeline.application.delivery import ALARM
from mm_pipeline.application.operator.status import GridStatus, Pulse, by_urgency, grid_statuses, pulse_of
from mm_pipeline.settings import Deployment

_ALARMS_OF: Final = timedelta(days=1)
"""How far back alarms about the watch itself are shown."""


@dataclass(frozen=True)
class Standing:
    """How an installation stands at a moment.

    Attributes
    ----------
    alarms
        When the watch raised alarms about itself of late, and their titles.
    failing
        Why each channel that should reach a person does not, by its name.
    """

    grids: Sequence[GridStatus]
    pulse: Pulse
    alarms: Sequence[tuple[datetime, str]]
    failing: Mapping[str, str]
    now: datetime

    def as_json(self) -> dict[str, Any]:
        """What ``mm status --json`` prints."""
        return {
            "evaluated_at": self.pulse.evaluated_at,
            "is_silent": self.pulse.is_silent,
            "grids": [one.as_json(now=self.now) for one in by_urgency(self.grids)],
            "alarms": [{"at": at, "title": title} for at, title in self.alarms],
            "unreached": self.failing,
        }


def standing_in(journal: Journal, deployment: Deployment, *, failing: Mapping[str, str], now: datetime) -> Standing:
    """How the installation of a journal stands.

    Parameters
    ----------
    failing
        See :class:`Standing`; the channels know it.
    """
    found = statuses_in(journal, deployment, now=now)
    pulse = pulse_of(found, now=now, max_lateness=deployment.settings.notify.max_lateness)
    return Standing(found, pulse, _alarms(journal, now), failing, now)


def statuses_in(
    journal: Journal, deployment: Deployment, *, now: datetime, only: str | None = None
) -> list[GridStatus]:
    """How each grid of an installation stands, or the one that is asked about."""
    settings = deployment.settings
    return grid_statuses(
        journal,
        load_grids(deployment.grids_folder),
        now=now,
        max_lateness=settings.notify.max_lateness,
        overdue_after=settings.delivery.overdue_after,
        records=records_of(settings.channels),
        only=only,
    )


def _alarms(journal: Journal, now: datetime) -> list[tuple[datetime, str]]:
    """When the watch raised alarms about itself of late, and their titles; and what is wrong with the clock now."""
    raised = journal.notifications.pages(since=now - _ALARMS_OF, notice=ALARM)
    problem = journal.future_rows().problem
    return [(page.decided_at, page.title) for page in raised] + ([(now, f"CLOCK: {problem}")] if problem else [])
