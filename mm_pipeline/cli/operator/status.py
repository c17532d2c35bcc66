"""``mm status``: how each grid stands, what was told of it, who answered, and what is due; read from the journal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mm_pipeline.cli.lazy_group import REFUSED
from mm_pipeline.cli.options import json_option, settings_option

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mm_pipeline.application.operator.standing import Standing
    from mm_pipeline.settings import Deployment

UNKNOWN: Final = "UNKNOWN"


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
        for line in standing_lines(seen, console.width):
            console.print(line, soft_wrap=True)
    if any(one.report.state == UNKNOWN for one in seen.grids):
        ctx.exit(REFUSED)


def standing_lines(seen: Standing, width: int) -> list[RenderableType]:
    """What a terminal of so many columns shows, from the top."""
    from rich.text import Text

    from mm_pipeline.rendering.terminal.operator_tables import alarm_lines, pulse_line, status_table

    unreached = [Text(f"nobody is reached through {name}: {problem}") for name, problem in seen.failing.items()]
    table = status_table(seen.grids, now=seen.now, width=width)
    return [table, pulse_line(seen.pulse), *alarm_lines(seen.alarms), *unreached]


def standing(deployment: Deployment) -> Standing:
    """How the installation stands now, by its journal."""
    from mm_pipeline.adapters.clock import SystemClock
    from mm_pipeline.application.operator.standing import standing_in
    from mm_pipeline.cli.delivery_access import delivery_for
    from mm_pipeline.cli.journal_access import open_journal

    with open_journal(deployment) as journal:
        failing = delivery_for(deployment.settings, journal).health.failing()
        return standing_in(journal, deployment, failing=failing, now=SystemClock().now())
