"""Whether somebody has answered a page: what was told of its grids since, and what operators did."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mm_pipeline.adapters.journal import Answer, Decided, Journal, Page
from mm_pipeline.domain.notifications import ASKS_FOR_EXIT, FLATS, Notice, ResponseKind

_ENDED_BY_FLAT = frozenset({*ASKS_FOR_EXIT, Notice.WARNING})


@dataclass(frozen=True)
class PageAnswers:
    """Told decisions and answers by grid, of a stretch of time that holds the pages asked about."""

    told: Mapping[str, Sequence[Decided]]
    answers: Mapping[str, Sequence[Answer]]

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
        told: dict[str, list[Decided]] = {}
        answers: dict[str, list[Answer]] = {}
        for grid in grids:
            decisions = [one for one in journal.notifications.decisions(grid, since=since) if one.decision.is_told]
            for one in decisions:
                told.setdefault(one.decision.grid, []).append(one)
            # A closed position answers a whole episode, whose first page may be older.
            first = min((one.decision.episode_at for one in decisions), default=since)
            for answer in journal.responses.select(grid, since=min(first, since)):
                answers.setdefault(answer.response.grid, []).append(answer)
        return cls(told, answers)

    def newer(self, grid: str, page: Page, *, before: datetime | None = None) -> list[Decided]:
        """What was told of a grid in the page's place, decided before a moment.

        That a grid is UNKNOWN takes nothing back.
        """
        return [
            one
            for one in self.told.get(grid, ())
            if one.decision.evaluated_at > page.evaluated_at
            and (before is None or one.decided_at < before)
            and (one.decision.notice is not Notice.UNKNOWN or page.notice == Notice.UNKNOWN)
        ]

    def is_answered(self, grid: str, page: Page, *, by: datetime | None = None) -> bool:
        """Whether an operator knows of the page, or has nothing to exit any more, at a moment.

        Acknowledged by its name, by none, or by that of a newer page about the grid. A page that a closed position
        takes the reason from also by the report that it is closed, since the first page that told the same, unless the
        page was decided in spite of that report; and the grid was not seen trading again since.
        """
        names = {"", page.page, *(one.decision.page for one in self.newer(grid, page))}
        began = self._episode_at(grid, page)
        given = [
            answer
            for answer in self.answers.get(grid, ())
            if answer.response.at >= began and (by is None or answer.response.at <= by)
        ]
        return _is_acknowledged(given, names) or (page.notice in _ENDED_BY_FLAT and _is_flat(given, page.decided_at))

    def is_answered_whole(self, page: Page) -> bool:
        """Whether the page is answered for each of its grids; never where it tells of none."""
        return bool(page.grids) and all(self.is_answered(grid, page) for grid in page.grids)

    def _episode_at(self, grid: str, page: Page) -> datetime:
        of_page = (one.decision for one in self.told.get(grid, ()) if one.decision.page == page.page)
        return min((decision.episode_at for decision in of_page), default=page.evaluated_at)


def _is_acknowledged(given: Sequence[Answer], pages: Collection[str]) -> bool:
    return any(answer.response.kind is ResponseKind.ACKNOWLEDGED and answer.response.page in pages for answer in given)


def _is_flat(given: Sequence[Answer], decided_at: datetime) -> bool:
    """Whether the newest word on it, after the page was decided, is that the position is closed."""
    words = [
        answer.response.kind
        for answer in sorted(given, key=lambda one: one.response.at)
        if answer.known_at > decided_at and answer.response.kind in {*FLATS, ResponseKind.REOPENED}
    ]
    return bool(words) and words[-1] in FLATS
