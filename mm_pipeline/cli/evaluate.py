"""``mm evaluate``: one evaluation of every grid, through the same Dagster job as the schedule."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mm_pipeline.cli.lazy_group import REFUSED
from mm_pipeline.cli.options import UTC_TIME, json_option, policy_option, settings_option

if TYPE_CHECKING:
    from mm_pipeline.orchestration.runs import GridEvaluation
    from mm_pipeline.reporting.grid_report import GridReport
    from mm_pipeline.settings import Deployment

UNKNOWN = "UNKNOWN"


@click.command()
@click.option("--grid", "grid_ids", multiple=True, metavar="ID", help="Show this grid, with all its triggers.")
@click.option("--at", type=UTC_TIME, help="Evaluate as of then; nothing is journalled.")
@settings_option
@policy_option
@json_option
@click.pass_context
def evaluate(
    ctx: click.Context,
    *,
    grid_ids: tuple[str, ...],
    at: datetime | None,
    settings_file: Path | None,
    policy: str | None,
    as_json: bool,
) -> None:
    """Fetch candles, judge every grid, and tell each one's state and why.

    The evaluation is journalled and paged as the schedule's are; one --at a moment, or by another --policy than the
    settings name, is a trial that leaves no trace. Exit code 1 when a grid is UNKNOWN.
    """
    from mm_pipeline.adapters.clock import SystemClock
    from mm_pipeline.cli.output import print_json, stdout, steps
    from mm_pipeline.rendering.terminal.evaluation_tables import evaluation_table, explanation
    from mm_pipeline.settings import load_deployment

    deployment = load_deployment(settings_file, policy=policy)
    if at is None and policy not in (None, load_deployment(settings_file).settings.policy):
        at = SystemClock().now()
    with steps(1) as advance:
        advance("evaluating")
        reports = evaluated(deployment, at=at, grid_ids=grid_ids)
    now = SystemClock().now() if at is None else at
    if as_json:
        newest = max((report.evaluated_at for report in reports), default=None)
        print_json({"evaluated_at": newest, "grids": [report.as_json(now=now) for report in reports]})
    else:
        console = stdout()
        for report in reports if grid_ids else ():
            console.print(explanation(report, now=now, width=console.width))
        if not grid_ids:
            console.print(evaluation_table(reports, now=now, width=console.width))
    if any(report.state == UNKNOWN for report in reports):
        ctx.exit(REFUSED)


def evaluated(deployment: Deployment, *, at: datetime | None, grid_ids: Sequence[str] = ()) -> list[GridReport]:
    """Evaluate every grid and report those asked for (none: all), most urgent first.

    Raises
    ------
    ConfigError
        When a grid is asked for that there is none of.
    PipelineError
        When no grid could be evaluated at all.
    """
    from mm_pipeline.adapters.config.grid_files import load_grids
    from mm_pipeline.domain.errors import PipelineError
    from mm_pipeline.orchestration.runs import evaluate_now
    from mm_pipeline.reporting.grid_report import by_severity

    _check_ids(deployment, grid_ids)
    evaluations = evaluate_now(deployment, at)
    chosen = [found for found in evaluations if not grid_ids or found.grid_id in grid_ids]
    missing = [grid_id for grid_id in grid_ids if grid_id not in {found.grid_id for found in chosen}]
    if missing:
        raise PipelineError(f"there is no evaluation of {', '.join(missing)} then.", "See started_at in its file.")
    if not chosen:
        problems = " ".join(str(problem.error) for problem in load_grids(deployment.grids_folder).problems)
        problem = f"no grid of {deployment.grids_folder} was evaluated. {problems}".strip()
        raise PipelineError(problem, "" if problems else "A grid is evaluated from its started_at on.")
    return by_severity([report_of_evaluation(found) for found in chosen])


def report_of_evaluation(found: GridEvaluation) -> GridReport:
    """What the tables read, of what a run decided."""
    from mm_pipeline.reporting.grid_report import report_of

    return report_of(found.grid, found.rows)


def _check_ids(deployment: Deployment, grid_ids: Sequence[str]) -> None:
    """Refuse an id that no file declares before anything is fetched."""
    from mm_pipeline.adapters.clock import SystemClock
    from mm_pipeline.adapters.config.grid_files import load_grids
    from mm_pipeline.cli.grids import journalled_grids
    from mm_pipeline.domain.errors import ConfigError

    if not grid_ids:
        return
    folder = load_grids(deployment.grids_folder)
    known = {grid.id for grid in folder.grids} | {problem.grid_id for problem in folder.problems if problem.grid_id}
    known |= {version.grid.id for version in journalled_grids(deployment, SystemClock().now())}
    wrong = [grid_id for grid_id in grid_ids if grid_id not in known]
    if wrong:
        there = ", ".join(sorted(known)) or "none"
        raise ConfigError(f"there is no grid {', '.join(wrong)} in {deployment.grids_folder}.", f"There are: {there}.")
