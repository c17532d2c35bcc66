"""``mm ack``, ``mm flat``, ``mm reopen``: what the operator has done. An acknowledgement is no exit; both are kept."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mm_pipeline.cli.lazy_group import REFUSED
from mm_pipeline.cli.options import UTC_TIME, json_option, settings_option

if TYPE_CHECKING:
    from mm_pipeline.adapters.journal import DecisionRecord, Journal, ResponseRecord
    from mm_pipeline.domain.notifications import Response
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
    from mm_pipeline.adapters.clock import SystemClock
    from mm_pipeline.cli.journal_access import open_journal
    from mm_pipeline.cli.operator.answer_checks import moment_to_record
    from mm_pipeline.domain.notifications import Response, ResponseKind
    from mm_pipeline.settings import load_deployment

    deployment, now = load_deployment(settings_file), SystemClock().now()
    with open_journal(deployment) as journal:
        known_at = moment_to_record(journal, grid_ids, now=now)
        told = {grid: _standing(journal, grid) for grid in grid_ids}
        answered = [
            Response(grid=grid, at=known_at, kind=ResponseKind.ACKNOWLEDGED, page=one.decision.page)
            for grid, standing in told.items()
            for one in standing
        ]
        unseen = _undelivered(deployment, journal, [one.page for one in answered])
        recorded = _record(deployment, journal, answered, source="mm ack", by=by, known_at=known_at)
    new = {answer.response.grid for answer in recorded}
    lines: list[str] = []
    for grid, standing in told.items():
        mine = [title for one in standing if (title := unseen.get(one.decision.page)) is not None]
        lines.append(_acknowledged(grid, standing, is_new=grid in new))
        lines += [f"{grid}: this page has reached nobody yet and is sent all the same: {title}" for title in mine]
    data: list[dict[str, object]] = [
        {
            "grid": grid,
            "acknowledged": grid in new,
            "undelivered": [one.decision.page for one in told[grid] if one.decision.page in unseen],
        }
        for grid in grid_ids
    ]
    _tell(data, lines, as_json=as_json)
    if len(new) < len(set(grid_ids)):
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
    from mm_pipeline.cli.journal_access import check_grid, open_journal
    from mm_pipeline.cli.operator.answer_checks import check_is_meant, moment_to_record, range_closed_by
    from mm_pipeline.domain.errors import ConfigError
    from mm_pipeline.domain.notifications import Response, ResponseKind
    from mm_pipeline.settings import load_deployment

    deployment, now = load_deployment(settings_file), SystemClock().now()
    if at is not None and at > now:
        raise ConfigError(f"{at.isoformat()} is in the future.", "Give a moment that has passed.")
    with open_journal(deployment) as journal:
        known_at = moment_to_record(journal, grid_ids, now=now)
        for grid in grid_ids:
            check_grid(journal, grid)
        closed_at = at or known_at
        ranges = {grid: range_closed_by(journal, grid, closed_at) for grid in grid_ids}
        if at is None and not new_range:
            for grid, started_at in ranges.items():
                check_is_meant(journal, grid, started_at)
        said = [Response(grid=grid, at=closed_at, kind=ResponseKind.FLAT) for grid in dict.fromkeys(grid_ids)]
        _record(deployment, journal, said, source="mm flat", by=by, known_at=known_at)
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
    from mm_pipeline.cli.journal_access import check_grid, open_journal
    from mm_pipeline.cli.operator.answer_checks import moment_to_record
    from mm_pipeline.domain.notifications import Response, ResponseKind
    from mm_pipeline.settings import load_deployment

    deployment, now = load_deployment(settings_file), SystemClock().now()
    with open_journal(deployment) as journal:
        known_at = moment_to_record(journal, grid_ids, now=now)
        for grid in grid_ids:
            check_grid(journal, grid)
        said = [Response(grid=grid, at=known_at, kind=ResponseKind.REOPENED) for grid in dict.fromkeys(grid_ids)]
        _record(deployment, journal, said, source="mm reopen", by=by, known_at=known_at)
    lines = [
        f"{grid}: open again since {known_at:%Y-%m-%d %H:%M} UTC, noted. Its exits are paged." for grid in grid_ids
    ]
    _tell([{"grid": grid, "reopened_at": known_at} for grid in grid_ids], lines, as_json=as_json)


def _standing(journal: Journal, grid: str) -> list[DecisionRecord]:
    from mm_pipeline.cli.journal_access import check_grid

    check_grid(journal, grid)
    return journal.notifications.standing(grid)


def _undelivered(deployment: Deployment, journal: Journal, pages: list[str]) -> dict[str, str]:
    """Titles of those of these pages that no channel has put before a person yet, by their ids."""
    from mm_pipeline.adapters.channels import records_of

    seen = journal.outbox.delivered(pages, records=records_of(deployment.settings.channels))
    unseen = [page for page in pages if page not in seen]
    return {page.page: page.title for page in journal.notifications.pages(ids=unseen)} if unseen else {}


def _record(
    deployment: Deployment,
    journal: Journal,
    responses: list[Response],
    *,
    source: str,
    by: str | None,
    known_at: datetime,
) -> list[ResponseRecord]:
    """Journal responses, and end the alarms that they answer as far as the provider can be reached now.

    Returns
    -------
    Those that were new. An alarm that could not be ended here is ended by the receipts sensor.
    """
    from mm_pipeline.adapters.journal import ResponseRecord
    from mm_pipeline.cli.delivery_access import end_alarms, written_by

    made_by = written_by(deployment.settings)
    answers = [
        ResponseRecord(response=one, source=source, by_whom=by or getpass.getuser(), recorded_at=known_at, **made_by)
        for one in responses
    ]
    new = [answer for answer in answers if journal.responses.record([answer])]
    end_alarms(deployment.settings, journal, {one.grid for one in responses})
    return new


def _acknowledged(grid: str, standing: list[DecisionRecord], *, is_new: bool) -> str:
    if not standing:
        return f"{grid}: nothing was ever told of it, so there is nothing to acknowledge."
    told = [f"{one.decision.notice.value} of {one.decision.evaluated_at:%Y-%m-%d %H:%M} UTC" for one in standing]
    page = " and ".join(told)
    return f"{grid}: {page} acknowledged." if is_new else f"{grid}: {page} had been acknowledged before."


def _tell(data: list[dict[str, object]], lines: list[str], *, as_json: bool) -> None:
    from mm_pipeline.cli.output import print_json

    if as_json:
        print_json({"grids": data})
        return
    for line in lines:
        click.echo(line)
