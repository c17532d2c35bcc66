"""``mm ack``, ``mm flat``, ``mm reopen``: what the operator has done. An acknowledgement is no exit; both are kept."""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mm_pipeline.cli.lazy_group import REFUSED
from mm_pipeline.cli.options import UTC_TIME, json_option, settings_option

if TYPE_CHECKING:
    from mm_pipeline.adapters.journal import Journal
    from mm_pipeline.application.operator.answers import Acknowledgement, Author
    from mm_pipeline.settings import Deployment


@click.command()
@click.argument("grid_ids", nargs=-1, required=True, metavar="GRID...")
@click.option("--by", metavar="NAME", help="Who acknowledges; default: the user of this shell.")
@settings_option
@json_option
@click.pass_context
def ack(
    ctx: click.Context, *, grid_ids: tuple[str, ...], by: str | None, settings_file: Path | None, as_json: bool
) -> None:
    """Acknowledge the newest page about each GRID: its alarms and repetitions end.

    Where that is UNKNOWN, what was told before the watch went blind is acknowledged with it. Pages that tell of a new
    reason still come. One that has reached nobody yet is shown here, counts as acknowledged, and is sent all the same.
    Exit code 1 where there was nothing to acknowledge.
    """
    from mm_pipeline.adapters.channels import records_of
    from mm_pipeline.adapters.clock import SystemClock
    from mm_pipeline.application.operator.answers import acknowledge, undelivered
    from mm_pipeline.cli.delivery_access import end_alarms
    from mm_pipeline.cli.journal_access import open_journal
    from mm_pipeline.settings import load_deployment

    deployment, now = load_deployment(settings_file), SystemClock().now()
    with open_journal(deployment) as journal:
        _check_grids(journal, grid_ids)
        done = acknowledge(journal, grid_ids, _author(deployment, "mm ack", by), now=now)
        answered = [one.decision.page for each in done for one in each.answered]
        unseen = undelivered(journal, answered, records=records_of(deployment.settings.channels))
        end_alarms(deployment.settings, journal, grid_ids)
    lines: list[str] = []
    for each in done:
        mine = [title for one in each.answered if (title := unseen.get(one.decision.page)) is not None]
        lines.append(_acknowledged(each))
        lines += [f"{each.grid}: this page has reached nobody yet and is sent all the same: {title}" for title in mine]
    data: list[dict[str, object]] = [
        {
            "grid": each.grid,
            "acknowledged": each.is_new,
            "undelivered": [one.decision.page for one in each.answered if one.decision.page in unseen],
        }
        for each in done
    ]
    _tell(data, lines, as_json=as_json)
    if not all(each.is_new for each in done):
        ctx.exit(REFUSED)


@click.command()
@click.argument("grid_ids", nargs=-1, required=True, metavar="GRID...")
@click.option("--at", type=UTC_TIME, help="When the position was closed; default: now.")
@click.option("--new-range", is_flag=True, help="Close the present range although nothing was paged in it yet.")
@click.option("--disable", is_flag=True, help="Also write `enabled: false` into the grid's file: no bot runs.")
@click.option("--by", metavar="NAME", help="Who says so; default: the user of this shell.")
@settings_option
@json_option
def flat(
    *,
    grid_ids: tuple[str, ...],
    at: datetime | None,
    new_range: bool,
    disable: bool,
    by: str | None,
    settings_file: Path | None,
    as_json: bool,
) -> None:
    """Report that the position of each GRID is closed: nothing is held and no order rests.

    Ends alarms and repetitions about it, and no exit is paged any more until a new `started_at` in the grid's file,
    `mm reopen`, or an account that shows the position open. After a day a quiet page tells that it is still enabled.
    """
    from mm_pipeline.adapters.clock import SystemClock
    from mm_pipeline.adapters.config.grid_switch import disable_grid
    from mm_pipeline.application.operator.answers import report_flat
    from mm_pipeline.cli.delivery_access import end_alarms
    from mm_pipeline.cli.journal_access import open_journal
    from mm_pipeline.settings import load_deployment

    deployment, now = load_deployment(settings_file), SystemClock().now()
    with open_journal(deployment) as journal:
        _check_grids(journal, grid_ids)
        author = _author(deployment, "mm flat", by)
        noted = report_flat(journal, grid_ids, author, now=now, at=at, new_range=new_range)
        end_alarms(deployment.settings, journal, grid_ids)
    closed_at, ranges = noted.closed_at, noted.ranges
    disabled = {grid: disable_grid(deployment.grids_folder, grid).name for grid in grid_ids} if disable else {}
    lines = [
        f"{grid}: flat since {closed_at:%Y-%m-%d %H:%M} UTC, noted{_of_range(ranges[grid])}. "
        f"{_what_follows(grid, disabled)}"
        for grid in grid_ids
    ]
    _tell(
        [
            {"grid": grid, "flat_at": closed_at, "range_started_at": ranges[grid], "disabled": grid in disabled}
            for grid in grid_ids
        ],
        lines,
        as_json=as_json,
    )


def _of_range(started_at: datetime | None) -> str:
    return "" if started_at is None else f" of the range that began at {started_at:%Y-%m-%d %H:%M} UTC"


def _what_follows(grid: str, disabled: Mapping[str, str]) -> str:
    if grid in disabled:
        return f"Disabled in {disabled[grid]}."
    return f"No exit is paged until a new started_at, or `mm reopen {grid}`."


@click.command()
@click.argument("grid_ids", nargs=-1, required=True, metavar="GRID...")
@click.option("--by", metavar="NAME", help="Who says so; default: the user of this shell.")
@settings_option
@json_option
def reopen(*, grid_ids: tuple[str, ...], by: str | None, settings_file: Path | None, as_json: bool) -> None:
    """Take back that the position of each GRID is closed: it holds something, or trades again in the same range.

    From the next evaluation on its exits are paged as if nothing had been told of them.
    """
    from mm_pipeline.adapters.clock import SystemClock
    from mm_pipeline.application.operator.answers import reopen as note_reopened
    from mm_pipeline.cli.delivery_access import end_alarms
    from mm_pipeline.cli.journal_access import open_journal
    from mm_pipeline.settings import load_deployment

    deployment, now = load_deployment(settings_file), SystemClock().now()
    with open_journal(deployment) as journal:
        _check_grids(journal, grid_ids)
        known_at = note_reopened(journal, grid_ids, _author(deployment, "mm reopen", by), now=now)
        end_alarms(deployment.settings, journal, grid_ids)
    lines = [
        f"{grid}: open again since {known_at:%Y-%m-%d %H:%M} UTC, noted. Its exits are paged." for grid in grid_ids
    ]
    _tell([{"grid": grid, "reopened_at": known_at} for grid in grid_ids], lines, as_json=as_json)


def _check_grids(journal: Journal, grids: Sequence[str]) -> None:
    from mm_pipeline.cli.journal_access import check_grid

    for grid in grids:
        check_grid(journal, grid)


def _author(deployment: Deployment, source: str, by: str | None) -> Author:
    from mm_pipeline.application.operator.answers import Author
    from mm_pipeline.cli.delivery_access import written_by

    return Author(by_whom=by or getpass.getuser(), source=source, written_by=written_by(deployment.settings))


def _acknowledged(done: Acknowledgement) -> str:
    if not done.answered:
        return f"{done.grid}: nothing was ever told of it, so there is nothing to acknowledge."
    decided = (one.decision for one in done.answered)
    told = " and ".join(f"{one.notice.value} of {one.evaluated_at:%Y-%m-%d %H:%M} UTC" for one in decided)
    return f"{done.grid}: {told} acknowledged." if done.is_new else f"{done.grid}: {told} had been acknowledged before."


def _tell(data: list[dict[str, object]], lines: list[str], *, as_json: bool) -> None:
    from mm_pipeline.cli.output import print_json

    if as_json:
        print_json({"grids": data})
        return
    for line in lines:
        click.echo(line)
