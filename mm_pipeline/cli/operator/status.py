"""``mm status``: how each grid stands, what was told of it, who answered, and what is due; read from the journal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mm_pipeline.cli.lazy_group import REFUSED
from mm_pipeline.cli.options import json_option, settings_option

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from rich.console import RenderableType

    from mm_pipeline.adapters.journal import Journal
    from mm_pipeline.application.operator.status import GridStatus, Pulse
    from mm_pipeline.settings import Deployment

UNKNOWN: Final = "UNKNOWN"
_ALARMS_OF: Final = timedelta(days=1)
"""How far back alarms about the watch itself are shown."""


@click.command()
@settings_option
@json_option
@click.pass_context
def status(ctx: click.Context, *, settings_file: Path | None, as_json: bool) -> None:
    """Tell each grid's state as it was decided last, what was sent about it, who answered, and what is due.

    Nothing is fetched or evaluated. An evaluation older than notify.max_lateness counts no more: its grid is UNKNOWN.
    Exit code 1 when a grid is.
    """
    from mm_pipeline.cli.output import print_json, stdout
    from mm_pipeline.settings import load_deployment

    seen = standing(load_deployment(settings_file))
    if as_json:
        print_json(seen.as_json())
    else:
        console = stdout()
        for line in seen.lines(console.width):
            console.print(line, soft_wrap=True)
    if any(one.report.state == UNKNOWN for one in seen.grids):
        ctx.exit(REFUSED)


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

    grids: list[GridStatus]
    pulse: Pulse
    alarms: list[tuple[datetime, str]]
    failing: Mapping[str, str]
    now: datetime

    def lines(self, width: int) -> list[RenderableType]:
        """What a terminal of so many columns shows, from the top."""
        from rich.text import Text

        from mm_pipeline.rendering.terminal.operator_tables import alarm_lines, pulse_line, status_table

        unreached = [Text(f"nobody is reached through {name}: {problem}") for name, problem in self.failing.items()]
        table = status_table(self.grids, now=self.now, width=width)
        return [table, pulse_line(self.pulse), *alarm_lines(self.alarms), *unreached]

    def as_json(self) -> dict[str, Any]:
        """What ``mm status --json`` prints."""
        from mm_pipeline.application.operator.status import by_urgency

        return {
            "evaluated_at": self.pulse.evaluated_at,
            "is_silent": self.pulse.is_silent,
            "grids": [one.as_json(now=self.now) for one in by_urgency(self.grids)],
            "alarms": [{"at": at, "title": title} for at, title in self.alarms],
            "unreached": self.failing,
        }


def standing(deployment: Deployment) -> Standing:
    """How the installation stands now, by its journal."""
    from mm_pipeline.adapters.clock import SystemClock
    from mm_pipeline.application.operator.status import pulse_of
    from mm_pipeline.cli.journal_access import open_journal

    now = SystemClock().now()
    with open_journal(deployment) as journal:
        found = statuses_in(journal, deployment, now)
        pulse = pulse_of(found, now=now, max_lateness=deployment.settings.notify.max_lateness)
        return Standing(found, pulse, _alarms(journal, now), _failing(journal, deployment), now)


def statuses_in(journal: Journal, deployment: Deployment, now: datetime) -> list[GridStatus]:
    """How every grid of an installation stands, by its journal."""
    from mm_pipeline.adapters.channels import records_of
    from mm_pipeline.adapters.config.grid_files import load_grids
    from mm_pipeline.application.operator.status import grid_statuses

    settings = deployment.settings
    return grid_statuses(
        journal,
        load_grids(deployment.grids_folder),
        now=now,
        max_lateness=settings.notify.max_lateness,
        overdue_after=settings.delivery.overdue_after,
        records=records_of(settings.channels),
    )


def _failing(journal: Journal, deployment: Deployment) -> dict[str, str]:
    """Why each channel that should reach a person does not, by its name."""
    from mm_pipeline.cli.delivery_access import delivery_for

    return delivery_for(deployment.settings, journal).health.failing()


def _alarms(journal: Journal, now: datetime) -> list[tuple[datetime, str]]:
    """When the watch raised alarms about itself of late, and their titles; and what is wrong with the clock now."""
    from mm_pipeline.application.delivery import ALARM

    raised = journal.notifications.pages(since=now - _ALARMS_OF, notice=ALARM)
    problem = journal.future_rows().problem
    return [(page.decided_at, page.title) for page in raised] + ([(now, f"CLOCK: {problem}")] if problem else [])
