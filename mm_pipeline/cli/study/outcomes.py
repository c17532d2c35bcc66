"""``mm study outcomes``: one tidy table of what came after each signal of a study's grids."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mm_pipeline.cli.options import json_option, settings_option

if TYPE_CHECKING:
    import polars as pl


@click.command()
@click.argument("name", required=False)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="File to write, .csv or .parquet; else a scorecard is printed.",
)
@click.option("--columns", is_flag=True, help="Say what each column holds, with its unit, instead.")
@settings_option
@json_option
def outcomes(*, name: str | None, out: Path | None, columns: bool, settings_file: Path | None, as_json: bool) -> None:
    """Export the outcomes of the study NAME, a row an episode.

    An episode is an unbroken run of one state on one grid. Its row says what was known when it began, what leaving,
    waiting and holding made of it, and whether anybody was paged.
    """
    from mm_pipeline.application.study_grids.export import SUFFIXES, all_outcomes, write_table
    from mm_pipeline.bootstrap import Overrides, installation
    from mm_pipeline.cli.output import print_json
    from mm_pipeline.domain.study import scorecard
    from mm_pipeline.settings import load_deployment

    if columns:
        _print_columns(as_json=as_json)
        return
    if name is None:
        raise click.BadParameter("write the name of a study, or --columns.", param_hint="NAME")
    if out is not None and out.suffix not in SUFFIXES:
        raise click.BadParameter(f"{out.name} ends with neither {' nor '.join(SUFFIXES)}.", param_hint="--out")
    found = all_outcomes(installation(Overrides(deployment=load_deployment(settings_file))), name)
    rows = found.rows
    if out is not None:
        write_table(rows, out)
    if found.mixed:
        names = " and ".join(found.mixed)
        click.echo(f"note: months differ in {names}; mm study grids --as {name} makes them alike", err=True)
    if as_json:
        mixed = {"mixed": list(found.mixed)}
        print_json(_summary(name, rows, out) | mixed | {"scorecard": scorecard(rows).rows(named=True)})
    else:
        _print(name, rows, out)


def _summary(name: str, rows: pl.DataFrame, out: Path | None) -> dict[str, object]:
    return {
        "study": name,
        "rows": rows.height,
        "months": rows["month"].unique().sort().to_list(),
        "markets": rows["market"].unique().sort().to_list(),
        "policies": rows["policy"].unique().sort().to_list(),
        "file": None if out is None else str(out),
    }


def _print(name: str, rows: pl.DataFrame, out: Path | None) -> None:
    from mm_pipeline.cli.output import stdout
    from mm_pipeline.domain.study import scorecard
    from mm_pipeline.rendering.terminal.study_tables import scorecard_table

    console = stdout()
    months = rows["month"].n_unique()
    console.print(f"Study {name}: {rows.height:,} episodes of {months} months with grids", soft_wrap=True)
    console.print(scorecard_table(scorecard(rows).rows(named=True)))
    if out is not None:
        console.print(f"{rows.height:,} rows of {rows.width} columns -> {out}", soft_wrap=True)


def _print_columns(*, as_json: bool) -> None:
    from mm_pipeline.application.study_grids.export import EXPORT_COLUMNS
    from mm_pipeline.cli.output import print_json

    if as_json:
        columns = [{"name": name, "unit": column.unit, "says": column.says} for name, column in EXPORT_COLUMNS.items()]
        print_json(columns)
        return
    for name, column in EXPORT_COLUMNS.items():
        click.echo(f"{name}{f' [{column.unit}]' if column.unit else ''}\n    {column.says}")
