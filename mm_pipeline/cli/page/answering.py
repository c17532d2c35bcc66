"""Answers that come from the page, and what the person who gave them reads then; noted as the commands note them."""

from __future__ import annotations

from dataclasses import dataclass

from mm_pipeline.adapters.channels import records_of
from mm_pipeline.adapters.clock import SystemClock
from mm_pipeline.adapters.journal import DecisionRecord, Journal
from mm_pipeline.application.operator.answers import (
    Acknowledgement,
    Author,
    acknowledge,
    end_alarms,
    report_flat,
    undelivered,
)
from mm_pipeline.cli.delivery_access import delivery_for, written_by
from mm_pipeline.cli.journal_access import check_grid, open_journal
from mm_pipeline.cli.page.forms import PageForm
from mm_pipeline.settings import Deployment

SOURCE = "mm page"


@dataclass(frozen=True)
class AnswerReply:
    """What is read after an answer: a title, lines, and whether all of it was noted."""

    title: str
    lines: tuple[str, ...]
    is_noted: bool


def acknowledge_shown(deployment: Deployment, grid: str, form: PageForm, *, by_whom: str) -> AnswerReply:
    """Acknowledge the pages about a grid that were shown beside the form.

    Raises
    ------
    PipelineError
        When nothing can be noted.
    """
    with open_journal(deployment) as journal:
        check_grid(journal, grid)
        author, now = _author(deployment, by_whom), SystemClock().now()
        (done,) = acknowledge(journal, [grid], author, now=now, shown=form.pages)
        pages = [one.decision.page for one in done.answered]
        unseen = undelivered(journal, pages, records=records_of(deployment.settings.channels))
        notes = _end_alarms(deployment, journal, grid) if done.answered else ()
    reached = [f"This page has reached nobody yet and is sent all the same: {title}." for title in unseen.values()]
    lines = [*_acknowledged(done), *_newer(done.newer), *reached, *notes]
    title = f"{grid}: acknowledged" if done.answered and not done.newer else f"{grid}: NOT ALL ANSWERED"
    return AnswerReply(title, tuple(lines), is_noted=bool(done.answered) and not done.newer)


def report_shown_flat(deployment: Deployment, grid: str, form: PageForm, *, by_whom: str) -> AnswerReply:
    """Report that the position of a grid is closed.

    Raises
    ------
    PipelineError
        When the word is refused: something newer stands, or it would close nothing.
    """
    with open_journal(deployment) as journal:
        check_grid(journal, grid)
        noted = report_flat(
            journal,
            [grid],
            _author(deployment, by_whom),
            now=SystemClock().now(),
            new_range=form.is_new_range,
            shown=form.pages,
        )
        notes = _end_alarms(deployment, journal, grid)
    said = f"Flat since {noted.closed_at:%Y-%m-%d %H:%M} UTC, noted."
    follows = f"No exit is paged until a new started_at, or mm reopen {grid}."
    return AnswerReply(f"{grid}: flat", (said, follows, *notes), is_noted=True)


def _author(deployment: Deployment, by_whom: str) -> Author:
    return Author(by_whom=by_whom, source=SOURCE, written_by=written_by(deployment.settings))


def _end_alarms(deployment: Deployment, journal: Journal, grid: str) -> tuple[str, ...]:
    answers = delivery_for(deployment.settings, journal).answers
    ended = end_alarms(journal, answers, [grid], now=SystemClock().now())
    return tuple(f"Note: {note}." for note in ended.notes)


def _acknowledged(done: Acknowledgement) -> list[str]:
    if not done.answered:
        return [] if done.newer else ["Nothing was paged of it, so there is nothing to acknowledge."]
    end = "acknowledged." if done.is_new else "had been acknowledged before."
    return [f"{_pages_of(done.answered)} {end} This closes no position: report flat once you are out."]


def _newer(newer: tuple[DecisionRecord, ...]) -> list[str]:
    if not newer:
        return []
    return [f"NOT answered, for it is newer than what you saw: {_pages_of(newer)}. Go back and look at it."]


def _pages_of(records: tuple[DecisionRecord, ...]) -> str:
    decided = (one.decision for one in records)
    return " and ".join(
        f"{one.notice.value.replace('_', ' ')} of {one.evaluated_at:%Y-%m-%d %H:%M} UTC" for one in decided
    )
