"""``mm frames``: what is stored, and what made it."""

from __future__ import annotations

from pathlib import Path

import click

from mm_pipeline.cli.options import json_option, settings_option


@click.group()
def frames() -> None:
    """Look at the stored frames."""


@frames.command()
@settings_option
@json_option
def status(*, settings_file: Path | None, as_json: bool) -> None:
    """List the months that other settings, code or candles made than those of today.

    A month is mixed where its rows or files were made by several settings or codes. `mm backfill` over a month makes
    it anew. Exit code 1 when a month is stale or mixed.
    """
    from dataclasses import asdict

    from mm_pipeline.application.frames_status import CURRENT, frames_status
    from mm_pipeline.application.watch import Watch
    from mm_pipeline.bootstrap import Overrides, installation
    from mm_pipeline.cli.output import print_json
    from mm_pipeline.settings import load_deployment

    watch = Watch(installation(Overrides(deployment=load_deployment(settings_file))))
    try:
        found = frames_status(watch)
    finally:
        watch.close()
    other, current = [month for month in found if month.state != CURRENT], sum(one.state == CURRENT for one in found)
    if as_json:
        print_json({"months": len(found), "current": current, "other": [asdict(month) for month in other]})
    else:
        for month in other:
            why = f"other {', '.join(month.changed)}" if month.changed else "rows of several"
            click.echo(f"{month.month}  {month.dataset:<22}  {month.frames:>3} frames  {month.state:<5}  {why}")
        click.echo(f"{len(found)} months of datasets: {current} current, {len(other)} stale or mixed")
        if other:
            click.echo("mm backfill over a month makes it anew.")
    if other:
        raise SystemExit(1)
