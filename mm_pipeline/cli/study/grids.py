"""``mm study grids``: place a declared grid anew each month or week, and see what its signals were worth."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mm_pipeline.cli.lazy_group import REFUSED
from mm_pipeline.cli.options import EXISTING_FILE, UTC_TIME, json_option, settings_option

if TYPE_CHECKING:
    from mm_pipeline.application.study_grids.study import Study


_SHOWN_NOTES: Final = 4
"""Dates without a grid that are told; a file may lack years."""


@click.command()
@click.option("--as", "name", required=True, metavar="NAME", help="Name of the study, under which all is kept.")
@click.option("--template", type=EXISTING_FILE, metavar="FILE", help="Study file; default: studies/NAME.yaml at home.")
@click.option(
    "--candles", "files", type=EXISTING_FILE, multiple=True, metavar="FILE...", help="15m candles; their markets alone."
)
@click.argument("more_files", type=EXISTING_FILE, nargs=-1, metavar="")
@click.option("--from", "start", type=UTC_TIME, help="First month; default: that of the study.")
@click.option("--to", "end", type=UTC_TIME, help="Day after the last month; default: now, or the last candle.")
@settings_option
@json_option
@click.pass_context
def grids(
    ctx: click.Context,
    *,
    name: str,
    template: Path | None,
    files: tuple[Path, ...],
    more_files: tuple[Path, ...],
    start: datetime | None,
    end: datetime | None,
    settings_file: Path | None,
    as_json: bool,
) -> None:
    """Place a study's grids, judge them, and keep the outcome of each signal.

    The study file says which grid is placed, when, on which markets, and by which policies it is judged. Every month is
    made anew under each policy. Nobody is paged, and nothing is written outside the study's own folder: `mm study
    outcomes NAME` exports what was found. Exit code 1 when a market could not be studied.
    """
    import time

    from mm_pipeline.application.study_grids.run import run_study
    from mm_pipeline.cli.output import print_json, steps

    study = _study(name, template, (*files, *more_files), settings_file)
    months = _months(study, start, end)
    begun = time.perf_counter()
    with steps(len(months)) as advance:
        result = run_study(study, months, advance)
    summary = _summary(study, months) | {
        "seconds": round(time.perf_counter() - begun, 1),
        "notes": result.notes,
        "problems": {where: str(problem) for where, problem in result.problems.items()},
    }
    if as_json:
        print_json(summary)
    else:
        _print(summary)
    if result.problems:
        ctx.exit(REFUSED)


def _study(name: str, template: Path | None, candles: tuple[Path, ...], settings_file: Path | None) -> Study:
    from mm_pipeline.adapters.config.study_files import read_study, with_candles
    from mm_pipeline.application.study_grids.study import Study
    from mm_pipeline.bootstrap import Overrides, installation
    from mm_pipeline.settings import load_deployment, policy_names

    opened = installation(Overrides(deployment=load_deployment(settings_file)))
    path = template or opened.studies_folder / f"{name}.yaml"
    file = read_study(path, policy_names(), name=name)
    return Study(with_candles(file, candles) if candles else file, opened)


def _months(study: Study, start: datetime | None, end: datetime | None) -> list[datetime]:
    from mm_pipeline.application.study_grids.markets import last_candle
    from mm_pipeline.domain.months import next_month

    until = min(one for one in (end, last_candle(study), study.installation.clock.now()) if one is not None)
    months = [month for month in study.months(until) if start is None or next_month(month) > start]
    if not months or months[0] >= until:
        first = study.declaration.first_month
        raise click.BadParameter(f"no month of the study lies between {first} and {until:%Y-%m-%d}.", param_hint="--to")
    return months


def _summary(study: Study, months: list[datetime]) -> dict[str, Any]:
    """What was made, counted over these months."""
    import polars as pl

    from mm_pipeline.application.study_grids.study import GRIDS, OUTCOMES
    from mm_pipeline.domain.study import scorecard

    def stored(dataset: str, policy: str) -> pl.DataFrame:
        frames = (study.frames.find(dataset, policy, month) for month in months)
        return pl.concat([frame for found in frames for frame in found.values()] or [pl.DataFrame()])

    policies = list(study.file.policies)
    grids = stored(GRIDS, policies[0])
    outcomes = pl.concat([stored(OUTCOMES, policy) for policy in policies], how="diagonal")
    return {
        "study": study.name,
        "folder": str(study.root),
        "from": f"{months[0]:%Y-%m}",
        "to": f"{months[-1]:%Y-%m}",
        "policies": policies,
        "grids": _counts(grids),
        "scorecard": scorecard(outcomes).rows(named=True) if outcomes.height else [],
    }


def _counts(grids: Any) -> list[dict[str, Any]]:
    """Grids by market and ending."""
    if not grids.height:
        return []
    counted = grids.group_by("market", "ending").len("grids").sort("market", "ending")
    return [dict(row) for row in counted.rows(named=True)]


def _print(summary: dict[str, Any]) -> None:
    from mm_pipeline.cli.output import stdout
    from mm_pipeline.rendering.terminal.study_tables import scorecard_table

    console = stdout()
    console.print(f"Study {summary['study']}, {summary['from']} to {summary['to']}", soft_wrap=True)
    markets = dict.fromkeys(row["market"] for row in summary["grids"])
    for market in markets:
        found = ", ".join(f"{row['grids']} {row['ending']}" for row in summary["grids"] if row["market"] == market)
        console.print(f"{market}: grids that ended by {found}", soft_wrap=True)
    if summary["scorecard"]:
        console.print(scorecard_table(summary["scorecard"]))
    else:
        console.print("No grid was placed: the candles do not reach back far enough, or are not there.")
    for note in summary["notes"][:_SHOWN_NOTES]:
        console.print(f"no grid {note}", soft_wrap=True)
    if (more := len(summary["notes"]) - _SHOWN_NOTES) > 0:
        console.print(f"no grid at {more} more dates: --json lists them")
    for where, problem in summary["problems"].items():
        click.echo(f"problem: {where}: {problem}", err=True)
    console.print(f"{summary['seconds']:.1f} s -> {summary['folder']}", soft_wrap=True)
