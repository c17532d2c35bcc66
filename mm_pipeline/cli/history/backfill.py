"""``mm backfill``: materialize the months of a range, a run a month."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from mm_pipeline.cli.options import UTC_TIME, json_option, policy_option, settings_option


@click.command()
@click.option("--from", "start", type=UTC_TIME, required=True, help="First day.")
@click.option("--to", "end", type=UTC_TIME, required=True, help="Day after the last.")
@click.option("--refetch", is_flag=True, help="Ask for all candles of these months again.")
@settings_option
@policy_option
@json_option
def backfill(
    *, start: datetime, end: datetime, refetch: bool, settings_file: Path | None, policy: str | None, as_json: bool
) -> None:
    """Materialize every month that the range touches.

    Candles are fetched where they are missing; bars that no answer brought are asked for once more. What was decided
    at the time stays: a backfill journals nothing, and nobody is notified. Exit code 1 when a market or
    grid could not be judged.
    """
    import time

    from mm_pipeline.cli.output import print_json, progress_bar
    from mm_pipeline.orchestration.runs import backfill as run_backfill
    from mm_pipeline.settings import load_deployment

    if start >= end:
        raise click.BadParameter(f"{start:%Y-%m-%d} is not before --to.", param_hint="--from")
    deployment = load_deployment(settings_file, policy=policy)
    begun = time.perf_counter()
    with progress_bar("candles") as on_progress:
        problems: list[str] = []
        months = run_backfill(deployment, start, end, on_progress, is_refetch=refetch, on_problem=problems.append)
    seconds = round(time.perf_counter() - begun, 1)
    if as_json:
        print_json({"months": months, "seconds": seconds, "problems": problems})
    else:
        counted = "1 month" if len(months) == 1 else f"{len(months)} months"
        click.echo(f"{counted}, {months[0]} to {months[-1]}, in {seconds:.1f} s")
        for problem in problems:
            click.echo(f"problem: {problem}", err=True)
    if problems:
        raise SystemExit(1)
