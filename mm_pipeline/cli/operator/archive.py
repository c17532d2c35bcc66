"""``mm archive``: what the evaluation archive holds and waits for, and its states read back and replayed."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mm_pipeline.cli.options import FOLDER, UTC_TIME, json_option, settings_option

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from mm_pipeline.adapters.archive import ArchiveRepository
    from mm_pipeline.contracts.contract import Contract
    from mm_pipeline.domain.grid import Grid
    from mm_pipeline.settings import Deployment


@click.group()
def archive() -> None:
    """Evaluations as YAML in a Git repository, pushed to the remote that a variable names (archive.remote_env)."""


@archive.command()
@settings_option
@json_option
def status(*, settings_file: Path | None, as_json: bool) -> None:
    """Tell where the clone is, and how many commits the remote does not have yet."""
    from mm_pipeline.adapters.archive import RECORDED
    from mm_pipeline.cli.output import print_json
    from mm_pipeline.settings import load_deployment

    deployment = load_deployment(settings_file)
    repository = _repository(deployment)
    waiting = repository.waiting() if (repository.folder / ".git").is_dir() else 0
    marks = repository.marks()
    newest = max((at for name, at in marks.items() if not name.endswith(RECORDED)), default=None)
    if as_json:
        print_json({"clone": str(repository.folder), "waiting": waiting, "archived_to": newest, "series": marks})
        return
    told = "nothing is archived yet" if newest is None else f"archived to {newest:%Y-%m-%d %H:%M} UTC"
    click.echo(f"{repository.folder}: {told}, {waiting} commits wait for the remote.")


@archive.command()
@settings_option
def push(*, settings_file: Path | None) -> None:
    """Push what waits, now."""
    from mm_pipeline.settings import load_deployment

    deployment = load_deployment(settings_file)
    repository = _repository(deployment, needs_remote=True)
    repository.open()
    click.echo(f"{repository.push()} commits pushed.")


@archive.command()
@click.option("--from", "since", type=UTC_TIME, required=True, help="Evaluations from then on.")
@click.option("--to", "until", type=UTC_TIME, required=True, help="Evaluations before then.")
@click.option("--grid", "grid_id", metavar="ID", help="This grid alone.")
@click.option("--clone", type=FOLDER, help="A clone of the archive; default: that of this installation.")
@click.option("--out", type=FOLDER, required=True, help="Folder for the Parquet files.")
@settings_option
@json_option
def read(
    *,
    since: datetime,
    until: datetime,
    grid_id: str | None,
    clone: Path | None,
    out: Path,
    settings_file: Path | None,
    as_json: bool,
) -> None:
    """Read archived states back, and replay what they would have paged with nobody answering.

    Writes exit_states.parquet, entry_states.parquet and notifications.parquet.
    """
    from mm_pipeline.adapters.archive import read_grids, read_rows
    from mm_pipeline.cli.output import print_json
    from mm_pipeline.contracts import states as contracts
    from mm_pipeline.domain.errors import ConfigError
    from mm_pipeline.reporting.notification_frame import GridStates, replayed_notifications
    from mm_pipeline.settings import load_deployment

    deployment = load_deployment(settings_file)
    folder = clone or _repository(deployment).folder
    if not (folder / "grids").is_dir():
        raise ConfigError(f"{folder} is no clone of an archive.", "Name one with --clone.")
    span = {"since": since, "until": until, "grid": grid_id}
    frames = {
        kind: read_rows(folder, f"{kind}_states", contract.columns, **span)  # type: ignore[arg-type]
        for kind, contract in (("exit", contracts.EXIT), ("entry", contracts.ENTRY))
    }
    grids = read_grids(folder)
    for kind, contract in (("exit", contracts.EXIT), ("entry", contracts.ENTRY)):
        _check(frames[kind], contract, grids, folder)
    states = [
        GridStates(rows=rows, grids=grids, kind=kind)
        for kind, frame in frames.items()
        for rows in frame.partition_by("grid", maintain_order=True)
    ]
    notifications = replayed_notifications(states, [], deployment.settings.notify)
    out.mkdir(parents=True, exist_ok=True)
    for kind, frame in frames.items():
        frame.write_parquet(out / f"{kind}_states.parquet")
    notifications.write_parquet(out / "notifications.parquet")
    told = {"exit_states": frames["exit"].height, "entry_states": frames["entry"].height}
    told |= {"notifications": notifications.height}
    if as_json:
        print_json(told)
    else:
        click.echo(", ".join(f"{count} {name.replace('_', ' ')}" for name, count in told.items()) + f" in {out}.")


def _check(frame: pl.DataFrame, contract: Contract, grids: Mapping[str, Grid], folder: Path) -> None:
    """Refuse rows that break the contract of their frame, or name a declaration that is not archived."""
    from mm_pipeline.domain.errors import ContractError, StorageError

    for rows in frame.partition_by("grid", maintain_order=True):
        grid = rows["grid"][0]
        try:
            contract.check(rows)
        except ContractError as error:
            raise StorageError(
                f"{folder}, {grid}: {error.problem}", "Restore it from the archive's history."
            ) from error
        unknown = sorted(set(rows["grid_version"].drop_nulls()) - set(grids))
        if unknown:
            raise StorageError(
                f"{folder}, {grid}: there is no declaration {', '.join(unknown)} in grids/{grid}.",
                "Restore it from the archive's history.",
            )


def _repository(deployment: Deployment, *, needs_remote: bool = False) -> ArchiveRepository:
    from mm_pipeline.adapters.archive import ArchiveRepository
    from mm_pipeline.adapters.config.home import archive_dir, data_home
    from mm_pipeline.bootstrap import variable
    from mm_pipeline.domain.errors import ConfigError

    settings = deployment.settings
    remote = variable(settings.archive.remote_env)
    if needs_remote and not remote:
        raise ConfigError("the archive has no remote.", f"Set ${settings.archive.remote_env} to its address.")
    return ArchiveRepository(archive_dir(data_home(is_paper=settings.is_paper)), remote, settings.archive_policy)
