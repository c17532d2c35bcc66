"""Answers as the operator's page gives them: bound to the pages that were shown, never to one that came after."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mm_pipeline.adapters.journal import Journal, sqlite_url
from mm_pipeline.application.operator.answers import Author, acknowledge, report_flat
from mm_pipeline.domain.errors import PipelineError
from mm_pipeline.domain.notifications import Notice
from mm_pipeline_tests.journal_samples import grid
from mm_pipeline_tests.operator_samples import BY, commit, decision

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
ANN = Author(by_whom="ann", source="mm page", written_by=BY)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(sqlite_url(tmp_path / "journal.db")) as opened:
        opened.observe_grids([grid("eth", started_at=AT - timedelta(days=2))], AT - timedelta(days=1))
        yield opened


def told(journal: Journal, notice: Notice, at: datetime) -> str:
    return commit(journal, decision(notice, at), decided_at=at + timedelta(minutes=1))


def test_page_that_was_shown_is_acknowledged_and_a_newer_one_is_named(journal: Journal) -> None:
    shown = told(journal, Notice.WARNING, AT)
    newer = told(journal, Notice.MANDATORY_EXIT, AT + QUARTER)
    (done,) = acknowledge(journal, ["eth"], ANN, now=AT + 2 * QUARTER, shown=[shown])
    assert (done.answered, done.is_new) == ((), False)
    assert [one.decision.page for one in done.newer] == [newer]
    assert journal.responses.select("eth") == []


def test_page_that_stands_and_was_shown_is_acknowledged_once(journal: Journal) -> None:
    shown = told(journal, Notice.MANDATORY_EXIT, AT)
    (done,) = acknowledge(journal, ["eth"], ANN, now=AT + QUARTER, shown=[shown])
    assert (done.is_new, done.newer) == (True, ())
    (again,) = acknowledge(journal, ["eth"], ANN, now=AT + QUARTER, shown=[shown])
    assert not again.is_new
    (answer,) = journal.responses.select("eth")
    assert (answer.source, answer.by_whom, answer.response.page) == ("mm page", "ann", shown)


def test_flat_is_refused_while_something_newer_was_not_shown(journal: Journal) -> None:
    shown = told(journal, Notice.MANDATORY_EXIT, AT)
    told(journal, Notice.UNKNOWN, AT + QUARTER)
    with pytest.raises(PipelineError, match=r"UNKNOWN of 2026-03-02 12:15 UTC is newer than what you saw"):
        report_flat(journal, ["eth"], ANN, now=AT + 2 * QUARTER, shown=[shown])
    assert journal.responses.select("eth") == []


def test_flat_of_what_was_shown_closes_the_range(journal: Journal) -> None:
    shown = told(journal, Notice.MANDATORY_EXIT, AT)
    noted = report_flat(journal, ["eth"], ANN, now=AT + QUARTER, shown=[shown])
    assert noted.ranges == {"eth": AT - timedelta(days=2)}
    (answer,) = journal.responses.select("eth")
    assert (answer.response.kind.value, answer.response.at) == ("flat", noted.closed_at)
