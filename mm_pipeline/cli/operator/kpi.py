"""``mm kpi``: how operators are served and how they answer, per grid and notice."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import click

from mm_pipeline.cli.options import UTC_TIME, json_option, settings_option

_LOOK_BACK: Final = timedelta(days=30)
_MOMENT: Final = timedelta(milliseconds=1)


@click.command()
@click.option("--grid", "grid_id", metavar="ID", help="This grid alone.")
@click.option("--since", type=UTC_TIME, help="Evaluations from then on; default: 30 days before the end.")
@click.option("--until", type=UTC_TIME, help="Evaluations before then; default: now.")
@settings_option
@json_option
def kpi(
    *, grid_id: str | None, since: datetime | None, until: datetime | None, settings_file: Path | None, as_json: bool
) -> None:
    """Tell pages, times to acknowledge and to flat, windows missed, and the share of advice that held.

    Times run from the first successful delivery. Answers are counted with the page they answer, also when they came
    after the stretch that is asked for.
    """
    from mm_pipeline.adapters.clock import SystemClock
    from mm_pipeline.adapters.journal.operator_queries import OperatorQueries
    from mm_pipeline.cli.journal_access import check_grid, open_journal
    from mm_pipeline.cli.output import print_json, stdout
    from mm_pipeline.domain.errors import ConfigError
    from mm_pipeline.domain.kpis import kpis
    from mm_pipeline.rendering.terminal.operator_tables import kpi_table
    from mm_pipeline.settings import load_deployment

    deployment, now = load_deployment(settings_file), SystemClock().now()
    end = until or now + _MOMENT
    start = since or end - _LOOK_BACK
    if start >= end:
        raise ConfigError(f"{start.isoformat()} is not before {end.isoformat()}.", "Give the earlier time as --since.")
    with open_journal(deployment) as journal:
        check_grid(journal, grid_id)
        facts = OperatorQueries(journal).facts(since=start, until=end, as_of=now, grid=grid_id)
    late = deployment.settings.notify.max_lateness
    frame = kpis(facts, since=start, until=end, as_of=now, max_lateness=late)
    if as_json:
        print_json({"since": start, "until": end, "kpis": frame.to_dicts()})
        return
    console = stdout()
    title = f"Notifications of evaluations from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
    console.print(kpi_table(frame, title=title, width=console.width))
    if frame.is_empty():
        console.print("Nothing was told, or held back.")
