"""Pages that are due on a channel: claimed by a lease, tried outside any transaction, and recorded.

``outbox`` holds what is still to do and changes; ``delivery_events`` what was done, and is never changed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from mm_pipeline.adapters.journal import receipts
from mm_pipeline.adapters.journal.database import Database
from mm_pipeline.adapters.journal.decisions import select_page, superseding
from mm_pipeline.adapters.journal.insertion import insert_new
from mm_pipeline.adapters.journal.page_records import (
    Claim,
    DeliveryEvent,
    DeliveryOutcome,
    OpenReceipt,
    Page,
    Waiting,
)
from mm_pipeline.adapters.journal.schema import delivery_events as events
from mm_pipeline.adapters.journal.schema import outbox
from mm_pipeline.adapters.journal.undelivered import unsent_pages
from mm_pipeline.adapters.journal.valid import LIMIT, pages

_EVENT = tuple(field.name for field in fields(DeliveryEvent))
_EVENT_KEY = ("page", "channel", "attempt", "event")
_ENDED = frozenset(
    {DeliveryOutcome.SENT, DeliveryOutcome.REFUSED, DeliveryOutcome.SUPERSEDED, DeliveryOutcome.ANSWERED}
)
_OUTCOMES = (DeliveryOutcome.SENT, DeliveryOutcome.FAILED, DeliveryOutcome.UNCLEAR, DeliveryOutcome.REFUSED)


class JournalOutbox:
    """What is still to be delivered, and what came of each attempt.

    Raises
    ------
    StorageError
        From every method, when the database fails.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._written_by = {"settings_hash": "", "code_version": ""}

    def sign(self, written_by: Mapping[str, str]) -> None:
        """Settings hash and code version that stand beside everything recorded from now on."""
        self._written_by = dict(written_by)

    def claim(self, *, owner: str, now: datetime, lease: timedelta, channels: Collection[str]) -> Claim | None:
        """Take the most urgent page that is due on one of the channels; None where there is none.

        Emergencies come first, then what has waited longest. The attempt is on record before it is made: one of which
        nothing more is heard may have reached the operator. A claim that ends more than a lease later than one made now
        was made by a clock that was ahead, and holds nothing; a moment's difference between two relays is none. What
        an attempt of such a clock put off is due at once.
        """
        is_free = outbox.c.leased_until.is_(None) | (outbox.c.leased_until <= now)
        is_free |= outbox.c.leased_until > now + 2 * lease
        is_now = (outbox.c.due_at <= now) | ((outbox.c.due_at > LIMIT) & _is_put_off_ahead())
        is_wanted = outbox.c.is_due & is_now & is_free & outbox.c.channel.in_(channels)
        query = (
            sa.select(outbox)
            .join(pages, pages.c.page == outbox.c.page)
            .where(is_wanted)
            .order_by(pages.c.priority.desc(), outbox.c.due_at, outbox.c.rank, outbox.c.page)
            .limit(1)
            .with_for_update(skip_locked=True, of=outbox)
        )
        with self._database.writing() as connection:
            row = connection.execute(query).first()
            if row is None:
                return None
            attempt = row.attempts + 1
            connection.execute(
                _of(row.page, row.channel).values(owner=owner, leased_until=now + lease, attempts=attempt)
            )
            may_be_duplicate = _is_unclear(connection, row.page, row.channel)
            self._add(connection, DeliveryOutcome.STARTED, row.page, row.channel, attempt, at=now)
            return Claim(
                page=select_page(connection, row.page),
                channel=row.channel,
                rank=row.rank,
                attempt=attempt,
                owner=owner,
                may_be_duplicate=may_be_duplicate,
            )

    def renew(self, claim: Claim, *, until: datetime) -> bool:
        """Hold a claim longer; False where it was lost."""
        mine = _of(claim.page.page, claim.channel).where(outbox.c.owner == claim.owner)
        with self._database.writing() as connection:
            return bool(connection.execute(mine.values(leased_until=until)).rowcount)

    def is_superseded(self, page: Page) -> bool:
        """Whether something newer was told about every grid of the page."""
        with self._database.reading() as connection:
            return superseding(connection, page)

    def end(
        self, claim: Claim, event: DeliveryOutcome, *, at: datetime, detail: str = "", receipt: str | None = None
    ) -> None:
        """Record how an attempt ended for good, and give up the claim.

        Also when the claim was lost meanwhile: that it is done keeps another from doing it again.
        """
        if event not in _ENDED:
            raise ValueError(f"{event} ends no delivery")
        with self._database.writing() as connection:
            self._add_of(connection, claim, event, at=at, detail=detail, receipt=receipt)
            connection.execute(_of(claim.page.page, claim.channel).values(is_due=False, owner=None, leased_until=None))

    def put_off(self, claim: Claim, event: DeliveryOutcome, *, at: datetime, due_at: datetime, detail: str) -> None:
        """Record a failed attempt, and when the next may be made."""
        mine = _of(claim.page.page, claim.channel).where(outbox.c.owner == claim.owner)
        with self._database.writing() as connection:
            self._add_of(connection, claim, event, at=at, detail=detail)
            connection.execute(mine.values(due_at=due_at, owner=None, leased_until=None))

    def escalate(self, page: str, channel: str, rank: int, *, at: datetime, detail: str) -> bool:
        """Make a page due on a further channel; False where it is, or was, due there already."""
        with self._database.writing() as connection:
            return self._make_due(connection, page, channel, rank, at=at, detail=detail)

    def _make_due(
        self, connection: sa.Connection, page: str, channel: str, rank: int, *, at: datetime, detail: str
    ) -> bool:
        row = {"page": page, "channel": channel, "rank": rank, "is_due": True, "due_at": at, "attempts": 0}
        dialect = sqlite if self._database.dialect == "sqlite" else postgresql
        insertion = dialect.insert(outbox).on_conflict_do_nothing(index_elements=["page", "channel"])
        is_new = bool(connection.execute(insertion.returning(outbox.c.page), [row]).all())
        if is_new:
            self._add(connection, DeliveryOutcome.ESCALATED, page, channel, 0, at=at, detail=detail)
        return is_new

    def channels(self, page: str) -> frozenset[str]:
        """Channels on which a page is, or was, due."""
        with self._database.reading() as connection:
            return frozenset(connection.scalars(sa.select(outbox.c.channel).where(outbox.c.page == page)))

    def hand_over(self, page: str, channel: str, to: tuple[str, int] | None, *, at: datetime, detail: str) -> bool:
        """Take a page off a channel, and make it due on another in its place; False where somebody is sending it now.

        Parameters
        ----------
        to
            Name and rank of the other; None where it is due on another already.
        """
        mine = _of(page, channel).where(
            outbox.c.is_due & (outbox.c.leased_until.is_(None) | (outbox.c.leased_until <= at))
        )
        with self._database.writing() as connection:
            taken = mine.values(is_due=False, owner=None, leased_until=None).returning(outbox.c.attempts)
            row = connection.execute(taken).first()
            if row is None:
                return False
            self._add(connection, DeliveryOutcome.REFUSED, page, channel, row.attempts, at=at, detail=detail)
            if to is not None:
                self._make_due(connection, page, *to, at=at, detail=detail)
            return True

    def give_up(self, page: str, *, at: datetime, detail: str) -> bool:
        """Record that no channel took a page; False where that is known."""
        with self._database.writing() as connection:
            return self._add(connection, DeliveryOutcome.UNDELIVERABLE, page, "", 0, at=at, detail=detail)

    def waiting(self) -> list[Waiting]:
        """What is due, or will be, oldest first."""
        query = sa.select(outbox.c.page, outbox.c.channel, outbox.c.rank, outbox.c.attempts, outbox.c.due_at).where(
            outbox.c.is_due
        )
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(outbox.c.due_at, outbox.c.page, outbox.c.rank))
            return [Waiting(**row._mapping) for row in rows]

    def ask_again(self, page: str, channel: str, *, at: datetime, refused_before: datetime) -> bool:
        """Make a page due again on a channel that refused it before a moment; False where it did not."""
        mine = (events.c.page == page) & (events.c.channel == channel)
        last = sa.select(sa.func.max(events.c.at)).where(mine & (events.c.event == DeliveryOutcome.REFUSED.value))
        with self._database.writing() as connection:
            refused_at: datetime | None = connection.scalar(last)
            if refused_at is None or refused_at > refused_before:
                return False
            idle = _of(page, channel).where(~outbox.c.is_due)
            return bool(connection.execute(idle.values(is_due=True, due_at=at)).rowcount)

    def last_outcomes(self, channels: Collection[str]) -> dict[str, DeliveryEvent]:
        """The newest attempt of each channel that ended, well or not."""
        ended = [one.value for one in _OUTCOMES]
        is_one = events.c.channel.in_(channels) & events.c.event.in_(ended) & (events.c.attempt > 0)
        newest = sa.select(sa.func.max(events.c.id)).where(is_one).group_by(events.c.channel)
        query = sa.select(*(events.c[name] for name in _EVENT)).where(events.c.id.in_(newest))
        with self._database.reading() as connection:
            return {row.channel: _event_of(row) for row in connection.execute(query)}

    def unsent(
        self,
        *,
        decided_before: datetime,
        not_due_on: Collection[str] | None = None,
        records: Collection[str] = (),
    ) -> list[Page]:
        """Pages older than this that no channel took, nobody answered and nothing superseded.

        What one of the ``records`` took is among them for a day: it was put before nobody.

        One that was given up is among them until it is no news: a later page about one of its grids was taken, somebody
        acknowledged it or closed the position, or it has been there for a day and later pages were taken since (one
        about the watch itself: in any case). With ``not_due_on`` only those that are due
        on none of these channels.
        """
        with self._database.reading() as connection:
            return unsent_pages(connection, decided_before=decided_before, not_due_on=not_due_on, records=records)

    def events(
        self, *, page: str | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> list[DeliveryEvent]:
        """What happened to pages with ``since <= at < until``, in the order of recording."""
        query = sa.select(*(events.c[name] for name in _EVENT))
        if page is not None:
            query = query.where(events.c.page == page)
        if since is not None:
            query = query.where(events.c.at >= since)
        if until is not None:
            query = query.where(events.c.at < until)
        with self._database.reading() as connection:
            return [_event_of(row) for row in connection.execute(query.order_by(events.c.id))]

    def first_sent(self, *, since: datetime, records: Collection[str] = ()) -> dict[str, datetime]:
        """When a channel that is none of the ``records`` first took each page, of those taken at ``since`` or later."""
        query = sa.select(events.c.page, sa.func.min(events.c.at)).group_by(events.c.page)
        query = query.where((events.c.event == DeliveryOutcome.SENT.value) & (events.c.at >= since))
        query = query.where(events.c.channel.not_in(records))
        with self._database.reading() as connection:
            return dict(connection.execute(query).tuples().all())

    def delivered(self, pages: Collection[str], *, records: Collection[str] = ()) -> frozenset[str]:
        """Which of these pages a channel that is none of the ``records`` has taken."""
        is_taken = (events.c.event == DeliveryOutcome.SENT.value) & events.c.channel.not_in(records)
        query = sa.select(events.c.page).distinct().where(events.c.page.in_(pages) & is_taken)
        with self._database.reading() as connection:
            return frozenset(connection.scalars(query))

    def open_receipts(self, *, now: datetime) -> list[OpenReceipt]:
        """Emergencies of the last week, each on each channel, that are not closed."""
        with self._database.reading() as connection:
            return receipts.open_ones(connection, now=now)

    def unclear_emergencies(self, *, since: datetime, now: datetime) -> list[OpenReceipt]:
        """Attempts at emergencies decided at ``since`` or later that may ring without a receipt, and are not closed."""
        with self._database.reading() as connection:
            return receipts.unclear_ones(connection, since=since, now=now)

    def close_receipt(self, receipt: OpenReceipt, *, at: datetime, detail: str) -> bool:
        """Record that an emergency rings no more on its channel; False where that is known."""
        of = (receipt.page.page, receipt.channel, receipt.attempt)
        with self._database.writing() as connection:
            return self._add(connection, DeliveryOutcome.CLOSED, *of, at=at, detail=detail)

    def _add_of(self, connection: sa.Connection, claim: Claim, event: DeliveryOutcome, **said: Any) -> bool:
        return self._add(connection, event, claim.page.page, claim.channel, claim.attempt, **said)

    def _add(
        self, connection: sa.Connection, event: DeliveryOutcome, page: str, channel: str, attempt: int, **said: Any
    ) -> bool:
        content: dict[str, Any] = {**self._written_by, **said}
        made = DeliveryEvent(page=page, channel=channel, attempt=attempt, event=event, **content)
        return bool(insert_new(connection, events, _EVENT_KEY, [asdict(made) | {"event": event.value}]))


def _event_of(row: sa.Row[Any]) -> DeliveryEvent:
    return DeliveryEvent(**(dict(row._mapping) | {"event": DeliveryOutcome(row.event)}))


def _is_put_off_ahead() -> sa.ColumnElement[bool]:
    """Whether the newest attempt at a page on a channel bears a time that has not come."""
    is_same = (events.c.page == outbox.c.page) & (events.c.channel == outbox.c.channel)
    is_newest = events.c.attempt == outbox.c.attempts
    return sa.exists().where(is_same & is_newest & (events.c.at > LIMIT)).correlate(outbox)


def _of(page: str, channel: str) -> sa.Update:
    return outbox.update().where((outbox.c.page == page) & (outbox.c.channel == channel))


def _is_unclear(connection: sa.Connection, page: str, channel: str) -> bool:
    """Whether an attempt was begun and never ended, or ended without an answer."""
    mine = (events.c.page == page) & (events.c.channel == channel)
    seen: dict[int, set[str]] = {}
    for attempt, event in connection.execute(sa.select(events.c.attempt, events.c.event).where(mine)):
        seen.setdefault(attempt, set()).add(event)
    lost = {DeliveryOutcome.STARTED.value}
    return any(found == lost or DeliveryOutcome.UNCLEAR.value in found for found in seen.values())
