"""A group that loads a subcommand when it is used, and tells an operator's errors in the same way everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from mm_pipeline.domain.errors import CandleFileError, ConfigError, FillsFileError, PipelineError

REFUSED = 1
BAD_USAGE = 2


class LazyGroup(click.Group):
    """Subcommands by name, each at ``module:attribute``.

    ``--help`` loads the modules for their first lines, so they import nothing heavy at the top.
    """

    def __init__(self, *args: Any, commands_at: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._commands_at = commands_at

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order given, not sorted."""
        return list(self._commands_at)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of the command; None where there is no such command."""
        if cmd_name not in self._commands_at:
            return None
        module, _, attribute = self._commands_at[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name near commands when there is none of this name."""
        if args and args[0] not in self._commands_at and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], self._commands_at)
            hint = f"Did you mean {' or '.join(near)}?" if near else "See mm --help."
            ctx.fail(f"There is no command {args[0]!r}. {hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of the pipeline becomes its message and an exit code, never a traceback."""
        try:
            return super().invoke(ctx)
        except PipelineError as error:
            tell(error)
            # A file of candles or fills is named on the command line: an unusable one is wrong usage, like settings.
            is_usage = isinstance(error, ConfigError | CandleFileError | FillsFileError)
            ctx.exit(BAD_USAGE if is_usage else REFUSED)


def tell(error: PipelineError) -> None:
    """Print problem and hint to standard error."""
    click.echo(f"{click.style('error:', fg='red', bold=True)} {error.problem}", err=True)
    if error.hint:
        click.echo(f"  {error.hint}", err=True)
