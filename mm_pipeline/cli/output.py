"""How commands speak: data to standard output, progress to standard error and only to a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

Advance = Callable[[str], None]
"""Says what is done now; called once at the start of each step."""


def print_json(data: Any) -> None:
    """Print as JSON; times as ISO 8601 with Z."""
    click.echo(as_json_text(data))


def as_json_text(data: Any) -> str:
    """As :func:`print_json` prints it."""
    return json.dumps(data, indent=2, default=_as_json, allow_nan=False)


def iso(at: datetime | None) -> str | None:
    """``2025-01-31T12:15:00Z``."""
    return None if at is None else at.isoformat(timespec="seconds").replace("+00:00", "Z")


def stdout() -> Console:
    """Console for tables: as wide as the terminal, and wide enough for any table where there is none."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=160)


@contextmanager
def steps(total: int) -> Iterator[Advance]:
    """A progress bar over named steps.

    Parameters
    ----------
    total
        Number of steps.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (BarColumn(bar_width=24), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total)
        begun = False

        def advance(description: str) -> None:
            nonlocal begun
            progress.update(task, description=description, advance=1 if begun else 0)
            begun = True

        yield advance


@contextmanager
def progress_bar(first: str) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar for work that says itself what it has done: name, steps done, steps in all."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(first, total=None)

        def on_progress(name: str, done: int, total: int) -> None:
            progress.update(task, description=name, completed=done, total=total)

        yield on_progress


def _as_json(value: object) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
