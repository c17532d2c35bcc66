"""``mm journal``: everything that was seen, decided, sent and answered, in the order of time."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import click

from mm_pipeline.cli.options import UTC_TIME, json_option, settings_option

_KINDS: Final = (*("grid", "notice", "evaluation", "change", "decision", "page", "delivery", "response", "circuit"),)
_LOOK_BACK: Final = timedelta(days=7)
_LINES: Final = 50
_MOMENT: Final = timedelta(milliseconds=1)


@click.command()
@click.option("--grid", "grid_id", metavar="ID", help="What concerns this grid.")
@click.option("--since", type=UTC_TIME, help="From then on; default: a week before the end.")
@click.option("--until", type=UTC_TIME, help="Before then; default: now.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(_KINDS),
    help="This kind alone; may be repeated. Default: all but evaluation, which is every evaluation.",
)
@click.option("--limit", type=click.IntRange(min=1), default=_LINES, show_default=True, help="The newest so many.")
@settings_option
@json_option
def journal(
    *,
    grid_id: str | None,
    since: datetime | None,
    until: datetime | None,
    kinds: tuple[str, ...],
    limit: int,
    settings_file: Path | None,
    as_json: bool,
) -> None:
    """Tell what happened, newest last: changes of state, decisions, pages, deliveries, answers, problems.

    A change is an evaluation with another state or other triggers than the one before.
    """
    from mm_pipeline.adapters.clock import SystemClock
    from mm_pipeline.application.operator.journal_line import LineKind
    from mm_pipeline.application.operator.journal_story import DEFAULT_KINDS, Span, journal_lines
    from mm_pipeline.cli.journal_access import check_grid, open_journal
    from mm_pipeline.cli.output import print_json, stdout
    from mm_pipeline.rendering.terminal.operator_tables import journal_table
    from mm_pipeline.settings import load_deployment

    deployment, now = load_deployment(settings_file), SystemClock().now()
    end = until or now + _MOMENT
    span = Span(since=since or end - _LOOK_BACK, until=end, grid=grid_id, limit=limit)
    wanted = {LineKind(kind) for kind in kinds} or DEFAULT_KINDS
    with open_journal(deployment) as opened:
        check_grid(opened, grid_id)
        lines = journal_lines(opened, span, wanted)
    if as_json:
        print_json([line.as_json() for line in lines])
        return
    console = stdout()
    title = f"{len(lines)} line{'s' * (len(lines) != 1)} from {span.since:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
    console.print(journal_table(lines, title=title, width=console.width))
