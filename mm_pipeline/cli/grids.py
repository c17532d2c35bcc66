"""``mm grids check``: which grid files can be used, and what is wrong with the others."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mm_pipeline.cli.commands import REFUSED
from mm_pipeline.cli.options import json_option, settings_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from mm_pipeline.adapters.grid_files import GridFolder
    from mm_pipeline.domain.grid import Grid


@click.group()
def grids() -> None:
    """Check grid files."""


@grids.command()
@click.argument("paths", type=click.Path(exists=True, path_type=Path), nargs=-1, metavar="[FILE|FOLDER]...")
@settings_option
@json_option
@click.pass_context
def check(ctx: click.Context, *, paths: tuple[Path, ...], settings_file: Path | None, as_json: bool) -> None:
    """Read grid files as the pipeline does and tell every problem.

    Without FILE or FOLDER: the grid folder of the settings. Exit code 1 when any file cannot be used.
    """
    from mm_pipeline.cli.output import print_json
    from mm_pipeline.settings import load_deployment

    found = read_grids(paths or (load_deployment(settings_file).grids_folder,))
    if as_json:
        print_json(as_data(found))
    else:
        _print(found)
    if found.problems:
        ctx.exit(REFUSED)


def read_grids(paths: Sequence[Path]) -> GridFolder:
    """Grids and problems of files and folders together; an id that two of them declare is a problem of the later."""
    from mm_pipeline.adapters.grid_files import GridFolder, GridProblem, check_grid_file, load_grids
    from mm_pipeline.domain.errors import ConfigError

    grids: list[Grid] = []
    problems: list[GridProblem] = []
    for path in paths:
        if path.is_dir():
            folder = load_grids(path)
            grids += folder.grids
            problems += folder.problems
            continue
        try:
            grids.append(check_grid_file(path))
        except ConfigError as error:
            problems.append(GridProblem(str(path), None, error))
    for grid_id, count in Counter(grid.id for grid in grids).items():
        if count > 1:
            names = ", ".join(map(str, paths))
            twice = ConfigError(f"{count} files declare the id {grid_id}.", "Give each grid its own id.", file=names)
            problems.append(GridProblem(names, grid_id, twice))
    return GridFolder(tuple(grids), tuple(problems))


def as_data(found: GridFolder) -> dict[str, Any]:
    """Grids and problems as JSON values."""
    return {
        "grids": [grid.model_dump(mode="json") | {"version": grid.version_hash} for grid in found.grids],
        "problems": [
            {
                "file": problem.file,
                "grid": problem.grid_id,
                "key": problem.error.key,
                "problem": problem.error.problem.removeprefix(f"{problem.file}: ").removeprefix(
                    f"{problem.error.key}: "
                ),
                "mend": problem.error.mend,
            }
            for problem in found.problems
        ],
    }


def _print(found: GridFolder) -> None:
    from rich.text import Text

    from mm_pipeline.cli.output import stdout

    console = stdout()
    if found.grids:
        console.print(_table(found.grids))
    for problem in found.problems:
        console.print(Text.assemble(("problem ", "bold red"), problem.error.problem), soft_wrap=True)
        console.print(Text(f"  {problem.error.mend}"), soft_wrap=True)
    good, bad = len(found.grids), len(found.problems)
    console.print(f"{good} grid{'s' * (good != 1)} can be used, {bad} problem{'s' * (bad != 1)}.", highlight=False)


def _table(grids: Sequence[Grid]) -> Table:
    from rich import box
    from rich.table import Table

    from mm_pipeline.reporting.tables import price_text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("grid", "market", "watched", "range", "levels", "stop", "capital", "started"):
        table.add_column(heading, justify="right" if heading in ("levels", "stop", "capital") else "left", no_wrap=True)
    for grid in grids:
        table.add_row(
            grid.id,
            str(grid.market),
            "for its exit" if grid.enabled else "for its entry",
            f"{price_text(grid.lower)} to {price_text(grid.upper)}",
            f"{grid.levels} {grid.spacing.value}",
            price_text(grid.stop_loss),
            f"{grid.capital:,.0f}",
            f"{grid.started_at:%Y-%m-%d %H:%M}",
        )
    return table
