"""``mm watch``: ``mm status`` that stays on the screen and follows the journal."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mm_pipeline.cli.options import settings_option

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mm_pipeline.settings import Deployment


@click.command()
@click.option(
    "--every", type=click.FloatRange(0.2, 3600), default=2.0, show_default=True, help="Seconds between looks."
)
@settings_option
def watch(*, every: float, settings_file: Path | None) -> None:
    """Show mm status and keep it up to date, until Ctrl-C.

    Nothing is fetched or evaluated: mm up does that. What cannot be read is said in its place, and is read again.
    """
    from rich.live import Live

    from mm_pipeline.cli.output import stdout
    from mm_pipeline.settings import load_deployment

    deployment, console = load_deployment(settings_file), stdout()
    try:
        with Live(console=console, auto_refresh=False, vertical_overflow="visible") as screen:
            while True:
                screen.update(_seen(deployment, console.width), refresh=True)
                time.sleep(every)
    except KeyboardInterrupt:
        click.echo("Stopped looking. The watch itself runs on where it was started.")


def _seen(deployment: Deployment, width: int) -> RenderableType:
    """How the installation stands now, or why that cannot be read."""
    from rich.console import Group
    from rich.text import Text

    from mm_pipeline.cli.operator.status import standing, standing_lines
    from mm_pipeline.domain.errors import PipelineError

    try:
        return Group(*standing_lines(standing(deployment), width))
    except PipelineError as error:
        return Text(f"UNKNOWN: {error}", style="bold red")
