"""``mm grids``: which grid files can be used, what is wrong with the others, and that a grid has ended for good."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mm_pipeline.cli.lazy_group import REFUSED
from mm_pipeline.cli.options import json_option, settings_option

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from rich.table import Table

    from mm_pipeline.adapters.config.grid_files import GridFolder
    from mm_pipeline.domain.grid import Grid, GridVersion
    from mm_pipeline.domain.market import Market
    from mm_pipeline.settings import Deployment


@click.group()
def grids() -> None:
    """Check grid files, and retire grids whose file is gone."""


@grids.command()
@click.argument("paths", type=click.Path(exists=True, path_type=Path), nargs=-1, metavar="[FILE|FOLDER]...")
@settings_option
@json_option
@click.pass_context
def check(ctx: click.Context, *, paths: tuple[Path, ...], settings_file: Path | None, as_json: bool) -> None:
    """Read grid files as the pipeline does and tell every problem.

    Without FILE or FOLDER: the grid folder of the settings, and the enabled grids of the journal whose file is gone.
    Each interval needs two price steps of its exchange, where a run has heard of them.
    Exit code 1 when any file cannot be used, or an enabled grid is not watched.
    """
    from mm_pipeline.adapters.clock import SystemClock
    from mm_pipeline.adapters.config.price_ticks import without_too_fine
    from mm_pipeline.cli.output import print_json
    from mm_pipeline.settings import load_deployment

    now = SystemClock().now()
    deployment = load_deployment(settings_file)
    if paths:
        found = with_unwatched(without_too_fine(read_grids(paths), known_ticks(deployment)), now)
    else:
        folder = without_too_fine(read_grids((deployment.grids_folder,)), known_ticks(deployment))
        found = with_unwatched(folder, now, journalled_grids(deployment, now))
    if as_json:
        print_json(as_data(found))
    else:
        _print(found)
    if found.problems:
        ctx.exit(REFUSED)


@grids.command()
@click.argument("grid_ids", nargs=-1, required=True, metavar="GRID...")
@click.option("--by", metavar="NAME", help="Who says so; default: the user of this shell.")
@settings_option
@json_option
def retire(*, grid_ids: tuple[str, ...], by: str | None, settings_file: Path | None, as_json: bool) -> None:
    """Say that each GRID has ended for good: its file was removed on purpose, and it is not evaluated any more.

    An enabled grid whose file is gone is UNKNOWN until then, and paged. Close its position first: nothing watches it
    afterwards, and alarms that ring about it end. A file with the same id begins it anew.
    """
    import getpass

    from mm_pipeline.adapters.clock import SystemClock
    from mm_pipeline.cli.delivery_access import end_alarms
    from mm_pipeline.cli.journal_access import check_grid, open_journal
    from mm_pipeline.cli.output import print_json
    from mm_pipeline.settings import load_deployment

    deployment, now = load_deployment(settings_file), SystemClock().now()
    _check_without_file(deployment, grid_ids)
    with open_journal(deployment) as journal:
        for grid_id in grid_ids:
            check_grid(journal, grid_id)
        new = {grid_id: journal.retire_grid(grid_id, now, by=by or getpass.getuser()) for grid_id in grid_ids}
        ended = end_alarms(deployment.settings, journal, grid_ids)
    if as_json:
        data = [{"grid": name, "retired": is_new, "alarm_ended": name in ended} for name, is_new in new.items()]
        print_json({"grids": data})
        return
    for grid_id, is_new in new.items():
        said = "retired, and not watched any more." if is_new else "was retired before."
        click.echo(f"{grid_id}: {said}{' Its alarm was ended.' if grid_id in ended else ''}")


def _check_without_file(deployment: Deployment, grid_ids: Sequence[str]) -> None:
    """Refuse to retire a grid that a file declares."""
    from mm_pipeline.adapters.config.grid_files import load_grids
    from mm_pipeline.domain.errors import ConfigError

    folder, place = load_grids(deployment.grids_folder), deployment.grids_folder
    is_empty = place.is_dir() and not any(place.iterdir())  # the last file was removed
    unclear = next((problem for problem in folder.problems if not problem.grid_id), None)
    if unclear is not None and not is_empty:
        raise ConfigError(
            f"the grid files cannot all be read, so one of them may be that of a grid to retire: {unclear.error}",
            "Put the folder and its files right first.",
        )
    named = {problem.grid_id: problem.file for problem in folder.problems if problem.grid_id} | dict(folder.files)
    for grid_id in grid_ids:
        if grid_id in named:
            problem = f"{named[grid_id]} declares {grid_id}."
            raise ConfigError(problem, "Write `enabled: false` there to end its watch, or remove the file first.")


def known_ticks(deployment: Deployment) -> dict[Market, float]:
    """Price steps (quote) that the installation's runs have heard of, by market; none of a home that is no place."""
    from mm_pipeline.adapters.config.home import data_home, frames_dir
    from mm_pipeline.adapters.config.price_ticks import PriceTicks
    from mm_pipeline.domain.errors import ConfigError

    try:
        return PriceTicks(str(frames_dir(data_home(is_paper=deployment.settings.is_paper)))).known()
    except ConfigError:
        return {}


def journalled_grids(deployment: Deployment, now: datetime) -> list[GridVersion]:
    """What the journal of an installation has in force; nothing where there is no journal yet."""
    from mm_pipeline.cli.journal_access import open_journal
    from mm_pipeline.domain.errors import StorageError

    try:
        with open_journal(deployment) as journal:
            found = [journal.grid_in_force(grid_id, now) for grid_id in journal.known_grids()]
    except StorageError:
        return []
    return [version for version in found if version is not None]


def with_unwatched(found: GridFolder, now: datetime, journalled: Sequence[GridVersion] = ()) -> GridFolder:
    """The folder with a problem for every enabled grid that is not watched.

    Parameters
    ----------
    journalled
        Versions in force; those without a file count as gone.
    """
    from dataclasses import replace

    from mm_pipeline.adapters.config.grid_files import GridProblem
    from mm_pipeline.domain.errors import ConfigError
    from mm_pipeline.domain.grid import GridVersion, unwatched

    named = {grid.id for grid in found.grids} | {problem.grid_id for problem in found.problems}
    is_unclear = any(problem.grid_id is None for problem in found.problems)
    gone = [] if is_unclear else [replace(one, is_gone=True) for one in journalled if one.grid.id not in named]
    problems = list(found.problems)
    for version in (*(GridVersion(grid, now) for grid in found.grids), *gone):
        why = unwatched(version, now)
        if why is not None:
            file, grid_id = found.files.get(version.grid.id, ""), version.grid.id
            said, write = why.split("; ", 1)
            place = {"file": file, "key": "started_at"} if file else {}
            error = ConfigError(f"{grid_id} {said}.", f"{write[0].upper()}{write[1:]}.", **place)
            problems.append(GridProblem(file, grid_id, error))
    return replace(found, problems=tuple(problems))


def read_grids(paths: Sequence[Path]) -> GridFolder:
    """Grids and problems of files and folders together; an id that two of them declare is a problem of the later."""
    from mm_pipeline.adapters.config.grid_files import GridFolder, GridProblem, check_grid_file, load_grids
    from mm_pipeline.domain.errors import ConfigError

    grids: list[Grid] = []
    problems: list[GridProblem] = []
    files: dict[str, str] = {}
    for path in paths:
        if path.is_dir():
            folder = load_grids(path)
            grids += folder.grids
            files |= folder.files
            problems += folder.problems
            continue
        try:
            grids.append(check_grid_file(path))
            files[grids[-1].id] = str(path)
        except ConfigError as error:
            problems.append(GridProblem(str(path), None, error))
    for grid_id, count in Counter(grid.id for grid in grids).items():
        if count > 1:
            names = ", ".join(map(str, paths))
            twice = ConfigError(f"{count} files declare the id {grid_id}.", "Give each grid its own id.", file=names)
            problems.append(GridProblem(names, grid_id, twice))
    return GridFolder(tuple(grids), tuple(problems), files)


def as_data(found: GridFolder) -> dict[str, Any]:
    """Grids and problems as JSON values; ``loss`` says what an interval pays that does not earn its fees."""
    from mm_pipeline.domain.grid import unprofitable

    return {
        "grids": [
            grid.model_dump(mode="json") | {"version": grid.version_hash, "loss": unprofitable(grid)}
            for grid in found.grids
        ],
        "problems": [
            {
                "file": problem.file,
                "grid": problem.grid_id,
                "key": problem.error.key,
                "problem": problem.error.problem.removeprefix(f"{problem.file}: ").removeprefix(
                    f"{problem.error.key}: "
                ),
                "hint": problem.error.hint,
            }
            for problem in found.problems
        ],
    }


def _print(found: GridFolder) -> None:
    from rich.text import Text

    from mm_pipeline.cli.output import stdout
    from mm_pipeline.domain.grid import unprofitable

    console = stdout()
    if found.grids:
        console.print(_table(found.grids))
    for grid in found.grids:
        if (loss := unprofitable(grid)) is not None:
            console.print(Text.assemble(("note ", "bold yellow"), f"{grid.id}: {loss}."), soft_wrap=True)
    for problem in found.problems:
        console.print(Text.assemble(("problem ", "bold red"), problem.error.problem), soft_wrap=True)
        console.print(Text(f"  {problem.error.hint}"), soft_wrap=True)
    good, bad = len(found.grids), len(found.problems)
    console.print(f"{good} grid{'s' * (good != 1)} can be used, {bad} problem{'s' * (bad != 1)}.", highlight=False)


def _table(grids: Sequence[Grid]) -> Table:
    from rich import box
    from rich.table import Table

    from mm_pipeline.reporting.price_words import price_text, stop_text

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
            stop_text(grid.stop_loss),
            f"{grid.capital:,.0f}",
            f"{grid.started_at:%Y-%m-%d %H:%M}",
        )
    return table
