"""Whether somebody has answered a page: what was told of its grids since, and what operators did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from mm_pipeline.adapters.journal import DecisionRecord, Journal, Page, ResponseRecord, words_in_force
from mm_pipeline.adapters.journal.grid_versions import as_versions
from mm_pipeline.adapters.journal.page_records import ALARM
from mm_pipeline.domain.grid import GridVersion
from mm_pipeline.domain.grid_history import by_valid_from
from mm_pipeline.domain.notifications import ASKS_FOR_EXIT, FLATS, SEEN_OPEN, Notice, ResponseKind, replaces

_MOMENT: Final = timedelta(milliseconds=1)
_ENDED_BY_FLAT = frozenset({*ASKS_FOR_EXIT, Notice.WARNING})


@dataclass(frozen=True)
class PageAnswers:
    """Told decisions and answers by grid, of a stretch of time that holds the pages asked about.

    That a position was seen open is among the answers however old it is: no exit before it closes anything.
    ``versions`` are the declarations of grids with a word that they are closed. ``retired`` says when each grid was
    retired whose watch has ended: its operator has said that nothing is left.
    """

    told: Mapping[str, Sequence[DecisionRecord]]
    answers: Mapping[str, Sequence[ResponseRecord]]
    retired: Mapping[str, datetime] = field(default_factory=dict)
    versions: Mapping[str, Sequence[GridVersion]] = field(default_factory=dict)

    @classmethod
    def about(cls, journal: Journal, page: Page) -> PageAnswers:
        """What is known of the grids of one page.

        Raises
        ------
        StorageError
            When the journal fails.
        """
        return cls._read(journal, list(page.grids), since=page.evaluated_at)

    @classmethod
    def since(cls, journal: Journal, since: datetime) -> PageAnswers:
        """What is known of every grid, for pages of evaluations at ``since`` or later.

        Raises
        ------
        StorageError
            When the journal fails.
        """
        return cls._read(journal, [None], since=since)

    @classmethod
    def _read(cls, journal: Journal, grids: Sequence[str | None], *, since: datetime) -> PageAnswers:
        told: dict[str, list[DecisionRecord]] = {}
        answers: dict[str, list[ResponseRecord]] = {}
        for grid in grids:
            decisions = [one for one in journal.notifications.decisions(grid, since=since) if one.decision.is_told]
            for one in decisions:
                told.setdefault(one.decision.grid, []).append(one)
            opened = journal.responses.select(grid, until=since, kinds=SEEN_OPEN)
            before = [one for one in opened if one.recorded_at < since]
            for answer in [*before, *journal.responses.select(grid, known_since=since)]:
                answers.setdefault(answer.response.grid, []).append(answer)
        closed = [one for one, given in answers.items() if any(word.response.kind in FLATS for word in given)]
        versions = {one: by_valid_from(as_versions(journal.grid_history(one))) for one in closed}
        return cls(told, answers, journal.retired_grids(), versions)

    def newer(self, grid: str, page: Page, *, before: datetime | None = None) -> list[DecisionRecord]:
        """What was told of a grid in the page's place, decided before a moment."""
        notice = None if page.notice == ALARM else Notice(page.notice)
        return [
            one
            for one in self.told.get(grid, ())
            if one.decision.evaluated_at > page.evaluated_at
            and (before is None or one.decided_at < before)
            and (notice is None or replaces(one.decision.notice, notice))
        ]

    def is_answered(self, grid: str, page: Page, *, by: datetime | None = None) -> bool:
        """Whether an operator knows of the page, or has nothing to exit any more, at a moment.

        Acknowledged by its name, by none, or by that of a newer page about the grid. What was known before the page
        was decided is no answer to it: a clock that was ahead made one of the same name.
        """
        known_from = {one.decision.page: one.decided_at for one in self.newer(grid, page)}
        known_from |= {page.page: page.decided_at, "": page.decided_at + _MOMENT}
        is_known = any(
            answer.response.kind is ResponseKind.ACKNOWLEDGED
            and answer.response.page in known_from
            and answer.known_at >= known_from[answer.response.page]
            for answer in self._given(grid, by)
        )
        return is_known or self.is_moot(grid, page, by=by)

    def is_moot(self, grid: str, page: Page, *, by: datetime | None = None) -> bool:
        """Whether the page has lost its reason at a moment, whoever knows of it.

        Every page has by retiring its grid. One whose reason a closed position takes also by a word, known after the
        page was decided, that it is closed, by the rule of decisions (``words_in_force``); and the grid was not seen
        trading again since.
        """
        retired_at = self.retired.get(grid)
        if retired_at is not None and (by is None or retired_at <= by):
            return True
        return page.notice in _ENDED_BY_FLAT and self._is_flat(grid, page, by)

    def _is_flat(self, grid: str, page: Page, by: datetime | None) -> bool:
        """Whether the newest word on it, known after the page was decided, is that the position is closed."""
        words = words_in_force(self._given(grid, by), started_at=self._range_start(grid, page))
        after = [one for one in words if one.known_at > page.decided_at]
        return bool(after) and after[-1].response.kind in FLATS

    def _range_start(self, grid: str, page: Page) -> datetime | None:
        """Start of the range that a page is about; None where it is not known, or the grid is disabled."""
        known = [one.grid for one in self.versions.get(grid, ()) if one.valid_from <= page.evaluated_at]
        return known[-1].started_at if known and known[-1].enabled else None

    def _given(self, grid: str, by: datetime | None) -> list[ResponseRecord]:
        return [answer for answer in self.answers.get(grid, ()) if by is None or answer.response.at <= by]

    def is_answered_whole(self, page: Page) -> bool:
        """Whether the page is answered for each of its grids; never where it tells of none."""
        return bool(page.grids) and all(self.is_answered(grid, page) for grid in page.grids)

    def is_moot_whole(self, page: Page) -> bool:
        """Whether the page has lost its reason for each of its grids; never where it tells of none."""
        return bool(page.grids) and all(self.is_moot(grid, page) for grid in page.grids)
