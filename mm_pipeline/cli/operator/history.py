"""``mm history``: the strip of a grid's states, with triggers and pages."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import click

from mm_pipeline.cli.options import UTC_TIME, json_option, settings_option

_LOOK_BACK: Final = timedelta(days=7)
_MOMENT: Final = timedelta(milliseconds=1)


@click.command()
@click.argument("grid_id", metavar="GRID")
@click.option("--since", type=UTC_TIME, help="From then on; default: a week before the end.")
@click.option("--until", type=UTC_TIME, help="Before then; default: now.")
@settings_option
@json_option
def history(
    *, grid_id: str, since: datetime | None, until: datetime | None, settings_file: Path | None, as_json: bool
) -> None:
    """Tell a GRID's states in the order of time: how long each lasted, why, and what was paged.

    Read from the journal; `mm why GRID --at TIME` explains any moment of it.
    """
    from mm_pipeline.adapters.clock import SystemClock
    from mm_pipeline.application.operator.past import state_runs
    from mm_pipeline.cli.journal_access import check_grid, open_journal
    from mm_pipeline.cli.output import print_json, stdout
    from mm_pipeline.rendering.terminal.history_tables import history_table
    from mm_pipeline.settings import load_deployment

    deployment, now = load_deployment(settings_file), SystemClock().now()
    end = until or now + _MOMENT
    begin = since or end - _LOOK_BACK
    if begin >= end:
        raise click.BadParameter(f"{begin:%Y-%m-%d %H:%M} is not before --until.", param_hint="--since")
    with open_journal(deployment) as journal:
        check_grid(journal, grid_id)
        runs = state_runs(journal, grid_id, since=begin, until=end)
    if as_json:
        print_json([run.as_json() for run in runs])
        return
    title = f"{grid_id} from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
    stdout().print(history_table(runs, title=title) if runs else f"{title}: not evaluated")
