"""``mm housekeep``: remove runs of the past from Dagster's storage."""

from __future__ import annotations

from pathlib import Path

import click

from mm_pipeline.cli.options import json_option, settings_option

_MB = 1e6


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@settings_option
@json_option
def housekeep(*, dry_run: bool, settings_file: Path | None, as_json: bool) -> None:
    """Remove runs of the past, so that the home stays bounded.

    A run stays while it is young, failed not long ago (settings, housekeeping), or was the newest to make a month or a
    check. Frames, journal, pages and the archive are not touched. A job does the same each night.
    """
    from mm_pipeline.bootstrap import Overrides, installation
    from mm_pipeline.cli.output import print_json
    from mm_pipeline.orchestration.housekeeping import clean_up, due_clean_up
    from mm_pipeline.orchestration.runs import dagster_instance
    from mm_pipeline.settings import load_deployment

    current = installation(Overrides(deployment=load_deployment(settings_file)))
    with dagster_instance(current.home) as instance:
        found = due_clean_up(instance, current.settings.housekeeping, current.clock.now())
        if not dry_run:
            for _step in clean_up(instance, found):
                pass
    if as_json:
        counts = {"runs": len(found.run_ids), "kept": found.kept, "left": found.left, "bytes": found.size_bytes}
        print_json(counts | {"is_dry_run": dry_run})
        return
    verb = "would be removed" if dry_run else "removed"
    click.echo(f"{len(found.run_ids)} runs {verb}, {found.size_bytes / _MB:,.1f} MB of files with them")
    click.echo(f"{found.kept} older ones stay: each is the newest that made a month or a check")
    if found.left:
        click.echo(f"{found.left} more are due: start this again, or wait for the next night")
