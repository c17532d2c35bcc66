"""``mm backfill``: materialize the months of a range, a run a month."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from mm_pipeline.cli.options import UTC_TIME, json_option, policy_option, settings_option

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mm_pipeline.application.backfill import BackfillPlan, MonthMade
    from mm_pipeline.settings import Deployment


@click.command()
@click.option("--from", "start", type=UTC_TIME, required=True, help="First day.")
@click.option("--to", "end", type=UTC_TIME, required=True, help="Day after the last.")
@click.option("--again", is_flag=True, help="Make months anew that are current too.")
@click.option("--refetch", is_flag=True, help="Ask for all candles of these months again; includes --again.")
@click.option("--yes", is_flag=True, help="Ask nothing before a long backfill.")
@settings_option
@policy_option
@json_option
def backfill(
    *,
    start: datetime,
    end: datetime,
    again: bool,
    refetch: bool,
    yes: bool,
    settings_file: Path | None,
    policy: str | None,
    as_json: bool,
) -> None:
    """Materialize the months of the range that are missing or stale.

    Shows expected rows, time and disk first. A backfill that was ended goes on with what is missing.
    Candles are fetched where they are missing; bars that no answer brought are asked for once more. What was decided
    at the time stays: a backfill journals nothing, and nobody is notified. Exit code 1 when a market or grid could not
    be judged, or an hour differs from the exchange's own 1h candle.
    """
    from mm_pipeline.cli.output import print_json
    from mm_pipeline.orchestration.runs import plan_backfill
    from mm_pipeline.rendering.terminal.backfill_lines import end_lines, plan_lines
    from mm_pipeline.settings import load_deployment

    if start >= end:
        raise click.BadParameter(f"{start:%Y-%m-%d} is not before --to.", param_hint="--from")
    deployment = load_deployment(settings_file, policy=policy)
    plan = plan_backfill(deployment, start, end, is_again=again or refetch)
    for line in plan_lines(plan):
        click.echo(line, err=as_json)
    if not yes:
        _ask_before_long(plan, deployment)
    problems: list[str] = []
    made = _made(deployment, plan, is_refetch=refetch, on_problem=problems.append)
    seconds = round(sum(month.seconds for month in made), 1)
    if as_json:
        print_json(_as_json(plan, made, problems, seconds))
    elif made:
        for line in end_lines(made, seconds):
            click.echo(line)
        for problem in problems:
            click.echo(f"problem: {problem}", err=True)
    if problems or any(month.hours_differing for month in made):
        raise SystemExit(1)


def _ask_before_long(plan: BackfillPlan, deployment: Deployment) -> None:
    """Ask whoever sits at a terminal; a script is never kept waiting."""
    is_long = plan.estimate.seconds > deployment.settings.backfill.ask_after.total_seconds()
    if is_long and _is_terminal("stdin"):
        click.confirm("Begin?", abort=True, err=True)


def _is_terminal(stream: Literal["stdin", "stderr"]) -> bool:
    import sys

    return (sys.stdin if stream == "stdin" else sys.stderr).isatty()


def _made(
    deployment: Deployment, plan: BackfillPlan, *, is_refetch: bool, on_problem: Callable[[str], None]
) -> list[MonthMade]:
    """Make the months, with a bar on a terminal and a line a month elsewhere."""
    from mm_pipeline.cli.output import progress_bar
    from mm_pipeline.orchestration.runs import backfill as run_backfill
    from mm_pipeline.rendering.terminal.backfill_lines import month_line

    if not plan.months:
        return []
    made = 0

    def tell(month: MonthMade) -> None:
        nonlocal made
        made += 1
        if not _is_terminal("stderr"):
            click.echo(month_line(month, made, len(plan.months)), err=True)

    with progress_bar("candles") as on_progress:
        return run_backfill(
            deployment, list(plan.months), on_progress, is_refetch=is_refetch, on_problem=on_problem, on_month=tell
        )


def _as_json(plan: BackfillPlan, made: Sequence[MonthMade], problems: Sequence[str], seconds: float) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "months": [month.month for month in made],
        "current": plan.current,
        "empty": plan.empty,
        "why": plan.months,
        "expected": asdict(plan.estimate),
        "rows": sum(month.rows for month in made),
        "seconds": seconds,
        "hours_compared": sum(month.hours_compared for month in made),
        "hours_differing": [line for month in made for line in month.hours_differing],
        "not_compared": [f"{month.month} {line}" for month in made for line in month.not_compared],
        "problems": problems,
    }
