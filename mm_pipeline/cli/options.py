"""Options and parameter types that several subcommands share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


FIRST_YEAR, LAST_YEAR = 2010, 2099
"""Of any time on the command line: no exchange had candles before, and later years are slips."""


class UtcTime(click.ParamType[datetime]):
    """A date or time in UTC: ``2025-01-31``, ``2025-01-31T12:15``, ``2025-01-31T12:15:00Z``."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Read ISO 8601; without an offset it is UTC. Times finer than a millisecond are refused."""
        if isinstance(value, datetime):
            return value
        try:
            time = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a time; write 2025-01-31 or 2025-01-31T12:15Z.", param, ctx)
        if time.microsecond % 1000:
            self.fail(f"{value!r} is finer than a millisecond.", param, ctx)
        if not FIRST_YEAR <= time.year <= LAST_YEAR:
            self.fail(f"{value!r} is not between {FIRST_YEAR} and {LAST_YEAR}; check the year.", param, ctx)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


UTC_TIME = UtcTime()


def settings_option(command: F) -> F:
    """``--settings FILE``: the installation to speak of."""
    return click.option(
        "--settings",
        "settings_file",
        type=EXISTING_FILE,
        envvar="MM_SETTINGS",
        show_envvar=True,
        metavar="FILE",
        help="Settings file; else settings.yaml of the home, that of the project, or the defaults.",
    )(command)


def policy_option(command: F) -> F:
    """``--policy NAME``: judge by another policy than the settings name."""
    return click.option("--policy", metavar="NAME", help="Policy (seed, calibrated ...); else that of the settings.")(
        command
    )


def json_option(command: F) -> F:
    """``--json``: print data for programs."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")(command)
