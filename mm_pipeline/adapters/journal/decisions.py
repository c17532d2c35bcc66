"""Pages and decisions in the journal: committed together with the first deliveries that are due, or not at all."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from mm_pipeline.adapters.journal import schema
from mm_pipeline.adapters.journal.database import Database
from mm_pipeline.adapters.journal.insertion import insert_new
from mm_pipeline.adapters.journal.page_records import DecisionRecord, Page
from mm_pipeline.adapters.journal.schema import UtcMillis, outbox
from mm_pipeline.adapters.journal.valid import decisions, pages
from mm_pipeline.domain.notifications import (
    TAKES_NOTHING_BACK,
    Cause,
    Decision,
    HeldBack,
    Notice,
    is_over_after,
    replaces,
)

_DECISION = tuple(field.name for field in fields(Decision))
_PAGE = tuple(field.name for field in fields(Page))
_BY = ("grid_version", "settings_hash", "code_version", "decided_at")


_MINE: Final = (
    (decisions.c.grid == sa.bindparam("grid"))
    & (decisions.c.kind == sa.bindparam("kind"))
    & (decisions.c.evaluated_at >= sa.bindparam("since", type_=UtcMillis))
    & (decisions.c.evaluated_at < sa.bindparam("until", type_=UtcMillis))
)
_SINCE: Final = sa.select(decisions).where(_MINE & (decisions.c.evaluated_at > sa.bindparam("after", type_=UtcMillis)))
_NEWEST_OF_EACH: Final = sa.select(decisions).where(
    decisions.c.id.in_(
        sa.select(sa.func.max(decisions.c.id)).where(_MINE).group_by(decisions.c.notice, decisions.c.held_back)
    )
)


class _Overtaken(Exception):
    """Another process decided about one of these grids in the meantime."""


class JournalNotifications:
    """What was decided to tell, and the pages that tell it; append-only.

    Raises
    ------
    StorageError
        From every method, when the database fails.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def commit(
        self,
        decided: Sequence[DecisionRecord],
        told: Sequence[Page],
        *,
        channels: Mapping[str, int],
        due_at: datetime,
        channels_of: Mapping[str, Mapping[str, int]] | None = None,
    ) -> bool:
        """Keep decisions and their pages, and make each page due on the channels: everything or nothing.

        Parameters
        ----------
        channels
            Rank by name of the channels that are tried first.
        channels_of
            The same for single pages, by page, where they go elsewhere.

        Returns
        -------
        bool
            False, and nothing kept, where a decision about one of the grids at one of the evaluations is there already:
            the caller decides anew.
        """
        try:
            with self._database.writing() as connection:
                rows = [_decision_row(one) for one in decided]
                if insert_new(connection, schema.decisions, ("grid", "evaluated_at", "kind"), rows) != len(rows):
                    raise _Overtaken
                for page in told:
                    own = (channels_of or {}).get(page.page, channels)
                    add_page(connection, page, channels=own, due_at=due_at)
        except _Overtaken:
            return False
        return True

    def raise_alarm(self, page: Page, *, channels: Mapping[str, int], due_at: datetime) -> bool:
        """Keep a page about the watch itself; False where one of its name is there already."""
        with self._database.writing() as connection:
            return add_page(connection, page, channels=channels, due_at=due_at)

    def decisions(
        self,
        grid: str | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        page: str | None = None,
    ) -> list[DecisionRecord]:
        """Decisions with ``since <= evaluated_at < until``, oldest first."""
        query = sa.select(*(decisions.c[name] for name in (*_DECISION, *_BY)))
        if grid is not None:
            query = query.where(decisions.c.grid == grid)
        if since is not None:
            query = query.where(decisions.c.evaluated_at >= since)
        if until is not None:
            query = query.where(decisions.c.evaluated_at < until)
        if page is not None:
            query = query.where(decisions.c.page == page)
        query = query.order_by(decisions.c.evaluated_at, decisions.c.id)
        with self._database.reading() as connection:
            return [_decided_of(row) for row in connection.execute(query)]

    def that_matter(
        self, grid: str, kind: str, *, since: datetime, until: datetime, within: timedelta
    ) -> list[DecisionRecord]:
        """Decisions that deciding anew depends on, between ``since`` (included) and ``until``, oldest first.

        The newest of each notice, told or held back for each reason, and all from ``within`` before the newest told on.
        """
        values = {"grid": grid, "kind": kind, "since": since, "until": until}
        with self._database.reading() as connection:
            newest = connection.execute(_NEWEST_OF_EACH, values).all()
            told = (row.evaluated_at for row in newest if row.held_back is None)
            begins = max(told, default=since) - within
            recent = connection.execute(_SINCE, values | {"after": begins}).all()
        rows = {row.id: row for row in (*newest, *recent)}
        return [_decided_of(rows[number]) for number in sorted(rows, key=lambda one: (rows[one].evaluated_at, one))]

    def standing(self, grid: str) -> list[DecisionRecord]:
        """What an acknowledgement of a grid answers, newest first: the newest told decision.

        Where that takes nothing back (UNKNOWN, a reminder), the one that stood before too, and the emergency that
        nothing has ended. Empty where nothing was told.
        """
        found = [self.newest_told(grid), self.newest_told(grid, but=TAKES_NOTHING_BACK), self._emergency(grid)]
        pages = {one.decision.page: one for one in found if one is not None}
        return sorted(pages.values(), key=lambda one: one.decision.evaluated_at, reverse=True)

    def _emergency(self, grid: str) -> DecisionRecord | None:
        """The newest emergency page of a grid, where neither an all-clear nor a sold-out was decided after it."""
        found = self.newest_told(grid, but=frozenset(Notice) - {Notice.MANDATORY_EXIT})
        if found is None:
            return None
        return None if is_over_after(one.decision for one in self._after(grid, found)) else found

    def _after(self, grid: str, found: DecisionRecord) -> list[DecisionRecord]:
        at = found.decision.evaluated_at
        return [one for one in self.decisions(grid, since=at) if one.decision.evaluated_at > at]

    def newest_told(
        self, grid: str, *, but: Notice | Collection[Notice] = (), kind: str | None = None
    ) -> DecisionRecord | None:
        """The newest decision about a grid that has a page, of one ``kind`` if asked; ``but`` leaves out notices."""
        query = sa.select(*(decisions.c[name] for name in (*_DECISION, *_BY)))
        query = query.where((decisions.c.grid == grid) & decisions.c.held_back.is_(None))
        if kind is not None:
            query = query.where(decisions.c.kind == kind)
        left_out = [but] if isinstance(but, Notice) else list(but)
        if left_out:
            query = query.where(decisions.c.notice.not_in([notice.value for notice in left_out]))
        query = query.order_by(decisions.c.evaluated_at.desc(), decisions.c.id.desc()).limit(1)
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else _decided_of(row)

    def pages(
        self,
        *,
        ids: Collection[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        about: tuple[datetime, datetime] | None = None,
        notice: str | None = None,
        with_image: bool = False,
    ) -> list[Page]:
        """Pages with ``since <= decided_at < until``, oldest first; without their pictures unless asked for.

        ``about`` ``(after, until)`` keeps those with ``after < evaluated_at <= until``.
        """
        query = _select_pages(with_image=with_image)
        if ids is not None:
            query = query.where(pages.c.page.in_(ids))
        if since is not None:
            query = query.where(pages.c.decided_at >= since)
        if until is not None:
            query = query.where(pages.c.decided_at < until)
        if about is not None:
            query = query.where((pages.c.evaluated_at > about[0]) & (pages.c.evaluated_at <= about[1]))
        if notice is not None:
            query = query.where(pages.c.notice == notice)
        with self._database.reading() as connection:
            return [page_of(row) for row in connection.execute(query.order_by(pages.c.decided_at, pages.c.id))]


def add_page(connection: sa.Connection, page: Page, *, channels: Mapping[str, int], due_at: datetime) -> bool:
    """Add a page and make it due; False where it is there already."""
    row = asdict(page) | {"grids": list(page.grids)}
    if not insert_new(connection, schema.pages, ("page",), [row]):
        return False
    due = [
        {"page": page.page, "channel": name, "rank": rank, "is_due": True, "due_at": due_at, "attempts": 0}
        for name, rank in channels.items()
    ]
    if due:
        connection.execute(outbox.insert(), due)
    return True


def select_page(connection: sa.Connection, page: str) -> Page:
    """A page with its picture; whenever it was decided, for what was sent must be followed."""
    every = schema.pages
    return page_of(connection.execute(sa.select(*(every.c[name] for name in _PAGE)).where(every.c.page == page)).one())


def page_of(row: sa.Row[Any]) -> Page:
    """A page as it was kept."""
    values = dict(row._mapping)
    return Page(**(values | {"grids": tuple(values["grids"])}))


def superseding(connection: sa.Connection, page: Page) -> bool:
    """Whether something newer was told about every grid of a page.

    That a grid is UNKNOWN takes nothing back of what was said before it was blind, nothing milder an emergency.
    """
    own = connection.execute(
        sa.select(decisions.c.grid, decisions.c.kind, decisions.c.evaluated_at).where(decisions.c.page == page.page)
    ).all()
    if not own:
        return False
    replacing = [notice.value for notice in Notice if replaces(notice, Notice(page.notice))]
    newer = decisions.c.held_back.is_(None) & decisions.c.notice.in_(replacing)
    counts = [
        connection.scalar(
            sa.select(sa.func.count()).where(
                newer & (decisions.c.grid == grid) & (decisions.c.kind == kind) & (decisions.c.evaluated_at > at)
            )
        )
        for grid, kind, at in own
    ]
    return all(counts)


def _select_pages(*, with_image: bool) -> sa.Select[Any]:
    return sa.select(*(pages.c[name] for name in _PAGE if with_image or name != "image"))


def _decision_row(one: DecisionRecord) -> dict[str, Any]:
    row = {name: getattr(one.decision, name) for name in _DECISION} | {name: getattr(one, name) for name in _BY}
    row |= {"notice": str(row["notice"]), "cause": str(row["cause"]), "triggers": list(row["triggers"])}
    row["held_back"] = None if one.decision.held_back is None else str(one.decision.held_back)
    return row


def _decided_of(row: sa.Row[Any]) -> DecisionRecord:
    values = dict(row._mapping)
    values |= {
        "notice": Notice(values["notice"]),
        "cause": Cause(values["cause"]),
        "triggers": tuple(values["triggers"]),
        "held_back": None if values["held_back"] is None else HeldBack(values["held_back"]),
    }
    return DecisionRecord(
        decision=Decision(**{name: values[name] for name in _DECISION}), **{name: values[name] for name in _BY}
    )
