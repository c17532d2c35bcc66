"""What an operator has done, noted in the journal: the one way for commands and the operator's page.

An acknowledgement is no exit; both are kept. How an answer is worded belongs to whoever took it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mm_pipeline.adapters.journal import DecisionRecord, Journal, ResponseRecord
from mm_pipeline.application.delivery import Answers
from mm_pipeline.application.operator.answer_checks import (
    check_is_meant,
    check_moment,
    check_nothing_newer,
    moment_to_record,
    range_closed_by,
)
from mm_pipeline.domain.notifications import Response, ResponseKind


@dataclass(frozen=True, kw_only=True)
class Author:
    """Whose answer it is; all of it is kept beside the answer.

    Attributes
    ----------
    by_whom
        The person.
    source
        Through what it came: a command, the page.
    written_by
        Settings and code that took it.
    """

    by_whom: str
    source: str
    written_by: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Acknowledgement:
    """What became of one grid's acknowledgement.

    Attributes
    ----------
    answered
        What is acknowledged by it, or was before; empty where there was nothing.
    newer
        What stands and was not shown to whoever answered, so it is not acknowledged.
    is_new
        Whether it answered anything that had no answer.
    """

    grid: str
    answered: tuple[DecisionRecord, ...]
    newer: tuple[DecisionRecord, ...]
    is_new: bool


@dataclass(frozen=True, kw_only=True)
class FlatReport:
    """When positions were closed, and by grid the start of the range that this closes; None where none is known."""

    closed_at: datetime
    ranges: Mapping[str, datetime | None]


@dataclass(frozen=True, kw_only=True)
class EndedAlarms:
    """Grids whose alarms were ended at the provider, and notes about those that ring on for now."""

    grids: frozenset[str]
    notes: tuple[str, ...]


def acknowledge(
    journal: Journal, grids: Sequence[str], author: Author, *, now: datetime, shown: Collection[str] | None = None
) -> list[Acknowledgement]:
    """Note that what stands about each grid was seen.

    Parameters
    ----------
    shown
        Ids of the pages that were before the operator; what stands beside them is newer and stays unanswered. None:
        all that stands is meant.

    Raises
    ------
    ConfigError
        When nothing can be noted now, for the journal holds rows of a later time.
    """
    known_at = moment_to_record(journal, grids, now=now)
    return [_acknowledged(journal, grid, author, known_at=known_at, shown=shown) for grid in dict.fromkeys(grids)]


def report_flat(
    journal: Journal,
    grids: Sequence[str],
    author: Author,
    *,
    now: datetime,
    at: datetime | None = None,
    new_range: bool = False,
    shown: Collection[str] | None = None,
) -> FlatReport:
    """Note that the position of each grid is closed; all of them, or none where one may not be.

    Parameters
    ----------
    at
        When it was closed; None: now.
    new_range
        Whether the present range is meant although nothing was paged in it yet.
    shown
        As in :func:`acknowledge`; something newer refuses the word, for whoever said it did not know of it.

    Raises
    ------
    PipelineError
        When the word would close nothing, or something else than is meant.
    """
    check_moment(at, now)
    known_at = moment_to_record(journal, grids, now=now)
    closed_at = at or known_at
    if shown is not None:
        for grid in grids:
            check_nothing_newer(journal, grid, shown)
    ranges = {grid: range_closed_by(journal, grid, closed_at) for grid in grids}
    if at is None and not new_range:
        for grid, started_at in ranges.items():
            check_is_meant(journal, grid, started_at)
    said = [Response(grid=grid, at=closed_at, kind=ResponseKind.FLAT) for grid in ranges]
    _record(journal, said, author, known_at=known_at)
    return FlatReport(closed_at=closed_at, ranges=ranges)


def reopen(journal: Journal, grids: Sequence[str], author: Author, *, now: datetime) -> datetime:
    """Take back that the position of each grid is closed; the moment from which it is open again."""
    known_at = moment_to_record(journal, grids, now=now)
    said = [Response(grid=grid, at=known_at, kind=ResponseKind.REOPENED) for grid in dict.fromkeys(grids)]
    _record(journal, said, author, known_at=known_at)
    return known_at


def end_alarms(journal: Journal, answers: Answers, grids: Collection[str], *, now: datetime) -> EndedAlarms:
    """End the alarms that need not ring any more, as far as the provider can be reached now.

    One about these grids that could not be ended here has a note; the receipts sensor ends it.
    """
    heard = answers.follow()
    notes = [f"an alarm rings on for now, the watch will end it: {problem}" for problem in heard.problems]
    ringing = {one.channel for one in journal.outbox.open_receipts(now=now) if set(one.page.grids) <= set(grids)}
    if ringing and not heard.problems:
        asked = f"{', '.join(sorted(ringing))} cannot be asked from this shell (are its keys set?)"
        notes.append(f"an alarm may ring on for now, the watch will end it: {asked}")
    ended = (one.response for one in heard.answers)
    cancelled = frozenset(one.grid for one in ended if one.kind is ResponseKind.CANCELLED)
    return EndedAlarms(grids=cancelled, notes=tuple(notes))


def undelivered(journal: Journal, pages: Sequence[str], *, records: frozenset[str]) -> dict[str, str]:
    """Titles of those of these pages that no channel has put before a person yet, by their ids.

    Parameters
    ----------
    records
        Channels whose acceptance is no delivery.
    """
    seen = journal.outbox.delivered(pages, records=records)
    unseen = [page for page in pages if page not in seen]
    return {page.page: page.title for page in journal.notifications.pages(ids=unseen)} if unseen else {}


def _acknowledged(
    journal: Journal, grid: str, author: Author, *, known_at: datetime, shown: Collection[str] | None
) -> Acknowledgement:
    standing = journal.notifications.standing(grid)
    answered = tuple(one for one in standing if shown is None or one.decision.page in shown)
    said = [
        Response(grid=grid, at=known_at, kind=ResponseKind.ACKNOWLEDGED, page=one.decision.page) for one in answered
    ]
    return Acknowledgement(
        grid=grid,
        answered=answered,
        newer=tuple(one for one in standing if one not in answered),
        is_new=bool(_record(journal, said, author, known_at=known_at)),
    )


def _record(
    journal: Journal, responses: Sequence[Response], author: Author, *, known_at: datetime
) -> list[ResponseRecord]:
    """Those that were new."""
    made = [
        ResponseRecord(
            response=one, source=author.source, by_whom=author.by_whom, recorded_at=known_at, **author.written_by
        )
        for one in responses
    ]
    return [answer for answer in made if journal.responses.record([answer])]
