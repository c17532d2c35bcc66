"""``mm why``: one evaluation of a grid as it was decided, with every trigger and what was paged."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from mm_pipeline.cli.options import UTC_TIME, json_option, settings_option


@click.command()
@click.argument("grid_id", metavar="GRID")
@click.option("--at", type=UTC_TIME, help="The evaluation at or before then; default: the newest.")
@settings_option
@json_option
def why(*, grid_id: str, at: datetime | None, settings_file: Path | None, as_json: bool) -> None:
    """Explain a GRID's state: every trigger against its threshold, the reasons, and what was paged.

    Read from the journal, so it is what was decided then; nothing is fetched or evaluated.
    """
    from mm_pipeline.adapters.clock import SystemClock
    from mm_pipeline.application.operator.past import evaluation_at
    from mm_pipeline.cli.journal_access import check_grid, open_journal
    from mm_pipeline.cli.output import print_json, stdout
    from mm_pipeline.rendering.terminal.evaluation_tables import explanation
    from mm_pipeline.rendering.terminal.history_tables import decision_lines
    from mm_pipeline.settings import load_deployment

    deployment, now = load_deployment(settings_file), SystemClock().now()
    with open_journal(deployment) as journal:
        check_grid(journal, grid_id)
        found = evaluation_at(journal, grid_id, at or now)
    if as_json:
        print_json(found.as_json(now=now))
        return
    console = stdout()
    console.print(explanation(found.report, now=now, width=console.width))
    for line in decision_lines(found.decisions):
        console.print(line, soft_wrap=True)
