"""``mm status``: how each grid stands, what was told of it, who answered, and what is due; read from the journal."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mm_pipeline.cli.lazy_group import REFUSED
from mm_pipeline.cli.options import json_option, settings_option

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from mm_pipeline.adapters.journal import Journal
    from mm_pipeline.application.operator.status import GridStatus
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
    from mm_pipeline.adapters.clock import SystemClock
    from mm_pipeline.cli.journal_access import open_journal
    from mm_pipeline.settings import load_deployment

    deployment, now = load_deployment(settings_file), SystemClock().now()
    with open_journal(deployment) as journal:
        found = statuses_in(journal, deployment, now)
        alarms = _alarms(journal, now)
        failing = _failing(journal, deployment)
    _tell(found, alarms, failing, now, as_json=as_json)
    if any(one.report.state == UNKNOWN for one in found):
        ctx.exit(REFUSED)


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


def _tell(
    found: list[GridStatus],
    alarms: list[tuple[datetime, str]],
    failing: Mapping[str, str],
    now: datetime,
    *,
    as_json: bool,
) -> None:
    from mm_pipeline.application.operator.status import by_urgency
    from mm_pipeline.cli.output import print_json, stdout
    from mm_pipeline.rendering.terminal.operator_tables import alarm_lines, status_table

    if as_json:
        newest = max((one.report.evaluated_at for one in found if one.is_evaluated), default=None)
        grids = [one.as_json(now=now) for one in by_urgency(found)]
        told = [{"at": at, "title": title} for at, title in alarms]
        print_json({"evaluated_at": newest, "grids": grids, "alarms": told, "unreached": failing})
        return
    console = stdout()
    console.print(status_table(found, now=now, width=console.width))
    for line in alarm_lines(alarms):
        console.print(line, soft_wrap=True)
    for name, problem in failing.items():
        console.print(f"nobody is reached through {name}: {problem}", soft_wrap=True, markup=False, highlight=False)
