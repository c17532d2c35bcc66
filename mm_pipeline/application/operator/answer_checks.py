"""What is checked before an answer is noted: a word that changes nothing is refused, never confirmed."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from mm_pipeline.domain.errors import ConfigError, PipelineError
from mm_pipeline.domain.notifications import ASKS_FOR_EXIT, SEEN_OPEN

if TYPE_CHECKING:
    from mm_pipeline.adapters.journal import Journal

_MOMENT: Final = timedelta(milliseconds=1)
_DECIDED_WITHIN: Final = timedelta(days=1)
"""Far longer than a decision comes after its evaluation."""


def moment_to_record(journal: Journal, grids: Iterable[str], *, now: datetime) -> datetime:
    """When an answer counts as known: now, and later than every page and word of the grids that it answers.

    Another machine's clock may be ahead by less than the journal's tolerance; its rows are believed.

    Raises
    ------
    ConfigError
        When the journal holds rows of a later time still: the answer would take its place before what it answers.
    """
    future = journal.future_rows()
    if future.latest is not None:
        raise ConfigError(
            f"nothing was noted, since {future.problem}. If it is this one, it is behind by {future.latest - now}.",
            "Put this machine's clock right, then repeat. Rows of a clock that was ahead leave at the next evaluation.",
        )
    known_at = now
    for grid in grids:
        answers = journal.responses.select(grid, known_since=now)
        decisions = journal.notifications.decisions(grid, since=now - _DECIDED_WITHIN)
        newest = [*(one.recorded_at for one in answers), *(one.decided_at for one in decisions)]
        known_at = max([known_at, *(at + _MOMENT for at in newest)])
    return known_at


def check_moment(at: datetime | None, now: datetime) -> None:
    """Refuse a moment that has not come; None is now.

    Raises
    ------
    ConfigError
        When it lies in the future.
    """
    if at is not None and at > now:
        raise ConfigError(f"{at.isoformat()} is in the future.", "Give a moment that has passed.")


def check_nothing_newer(journal: Journal, grid: str, shown: Collection[str]) -> None:
    """Refuse a word about a grid of which something stands that was not shown to whoever says it.

    Raises
    ------
    PipelineError
        Naming what is newer.
    """
    standing = [one.decision for one in journal.notifications.standing(grid)]
    newer = [one for one in standing if one.page not in shown]
    if newer:
        told = " and ".join(f"{one.notice.value} of {_time(one.evaluated_at)}" for one in newer)
        raise PipelineError(f"{grid}: nothing was noted, for {told} is newer than what you saw.", "Look at it first.")


def range_closed_by(journal: Journal, grid: str, closed_at: datetime) -> datetime | None:
    """Start of the range that an exit at a moment closes; None where no declaration is known.

    Raises
    ------
    ConfigError
        When the exit closes nothing: it lies before the range, or before the position was seen open.
    """
    started_at = _range_start(journal, grid)
    if started_at is not None and closed_at < started_at:
        raise ConfigError(
            f"{grid}: {_time(closed_at)} lies before its present range, which began at {_time(started_at)} "
            "(started_at). That exit closed another range, and the present one would be muted.",
            f"Where the present position is closed, give --at {started_at:%Y-%m-%dT%H:%MZ} or later, or leave it out. "
            f"The range before asks for no word; `mm ack {grid}` ends an alarm of its.",
        )
    opened = journal.responses.select(grid, kinds=SEEN_OPEN)
    newest = max(opened, key=lambda one: one.response.at, default=None)
    if newest is not None and closed_at < newest.response.at:
        raise ConfigError(
            f"{grid}: {_time(closed_at)} lies before {_time(newest.response.at)}, when {newest.source} said that the "
            "position is open.",
            "Give the moment after that at which you closed it, or leave --at out where it is closed now.",
        )
    return started_at


def check_is_meant(journal: Journal, grid: str, started_at: datetime | None) -> None:
    """Refuse a word without a moment where the newest exit that was paged is that of an earlier range.

    Raises
    ------
    ConfigError
        When nothing was paged in the present range: the operator may mean the position that was left.
    """
    told = [one.decision for one in journal.notifications.decisions(grid) if one.decision.is_told]
    exits = [one.evaluated_at for one in told if one.notice in ASKS_FOR_EXIT]
    if started_at is None or not exits or any(one.evaluated_at >= started_at for one in told):
        return
    raise ConfigError(
        f"{grid}: the newest exit was paged at {_time(max(exits))}, in an earlier range. The present one began at "
        f"{_time(started_at)}, and nothing was paged in it: the word would mute its exits.",
        "Nothing is to be said of the earlier range. Where the present position is closed, add --new-range, or --at "
        "with the moment.",
    )


def _range_start(journal: Journal, grid: str) -> datetime | None:
    """Start of the range that the grid's newest declaration names."""
    versions = journal.grid_versions(grid)
    return versions[-1].grid.started_at if versions else None


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
