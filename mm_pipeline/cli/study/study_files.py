"""What every study command shares: its candle files, its settings, and the folder that it writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mm_pipeline.cli.options import EXISTING_FILE, json_option, settings_option

if TYPE_CHECKING:
    from mm_pipeline.application.replay.inputs import RecordedMarket

Command = TypeVar("Command", bound=Callable[..., Any])

SUMMARY = "summary.json"
EVERY = click.option(
    "--every",
    type=click.IntRange(1, 95),
    default=7,
    show_default=True,
    help="15m bars between two evaluations; no common factor with 96 sees every time of day.",
)


def study_options(command: Command) -> Command:
    """``--candles FILE...``, ``--out DIR``, ``--settings``, ``--json``."""
    for option in reversed(
        (
            click.option(
                "--candles", "first_candles", type=EXISTING_FILE, required=True, multiple=True, metavar="FILE..."
            ),
            click.argument("more_candles", type=EXISTING_FILE, nargs=-1, metavar=""),
            click.option(
                "--out",
                type=click.Path(file_okay=False, path_type=Path),
                help="Folder for summary.json, the table and the charts.",
            ),
            settings_option,
            json_option,
        )
    ):
        command = option(command)
    return command


def candle_files(*groups: tuple[Path, ...]) -> list[Path]:
    """The files, each once, in an order that does not hang on how they were typed."""
    return sorted(dict.fromkeys(path for group in groups for path in group), key=lambda path: (path.name, str(path)))


def read_candles(path: Path) -> RecordedMarket:
    """The market and 15m bars of a candle file."""
    from mm_pipeline.application.replay.inputs import read_market

    return read_market([path], None)


def save_study(folder: Path, summary: Mapping[str, Any], files: Mapping[str, bytes | str]) -> None:
    """Write ``summary.json`` and what else there is into a folder.

    Raises
    ------
    StorageError
        Where the folder cannot be written.
    """
    from mm_pipeline.cli.output import as_json_text
    from mm_pipeline.domain.errors import StorageError

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in {SUMMARY: as_json_text(summary) + "\n", **files}.items():
            data = content.encode() if isinstance(content, str) else content
            (folder / name).write_bytes(data)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error}.", "Choose another folder with --out.") from error
