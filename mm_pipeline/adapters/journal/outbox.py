"""Pages that are due on a channel: claimed by a lease, tried outside any transaction, and recorded.

``outbox`` holds what is still to do and changes; ``delivery_events`` what was done, and is never changed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from mm_pipeline.adapters.journal.database import Database
from mm_pipeline.adapters.journal.insertion import insert_new
from mm_pipeline.adapters.journal.notification_records import (
    Claim,
    DeliveryEvent,
    DeliveryOutcome,
    OpenReceipt,
    Page,
    Waiting,
)
from mm_pipeline.adapters.journal.notifications import page_of, select_page, superseding
from mm_pipeline.adapters.journal.schema import delivery_events as events
from mm_pipeline.adapters.journal.schema import outbox, pages, responses
from mm_pipeline.domain.notifications import ResponseKind

_EVENT = tuple(field.name for field in fields(DeliveryEvent))
_EVENT_KEY = ("page", "channel", "attempt", "event")
_UNPICTURED = tuple(field.name for field in fields(Page) if field.name != "image")
_ENDED = frozenset({DeliveryOutcome.SENT, DeliveryOutcome.REFUSED, DeliveryOutcome.SUPERSEDED})
_CLOSED = (ResponseKind.EXPIRED.value, ResponseKind.CANCELLED.value)
_BY_RECEIPT = "receipt"
_RECEIPTS_KEPT = timedelta(days=7)
"""Pushover keeps a receipt for a week."""


class JournalOutbox:
    """What is still to be delivered, and what came of each attempt.

    Raises
    ------
    StorageError
        From every method, when the database fails.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, *, owner: str, now: datetime, lease: timedelta, channels: Collection[str]) -> Claim | None:
        """Take the most urgent page that is due on one of the channels; None where there is none.

        Emergencies come first, then what has waited longest. The attempt is on record before it is made: one of which
        nothing more is heard may have reached the operator.
        """
        is_free = outbox.c.leased_until.is_(None) | (outbox.c.leased_until <= now)
        is_wanted = outbox.c.is_due & (outbox.c.due_at <= now) & is_free & outbox.c.channel.in_(channels)
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
            started = DeliveryEvent(
                page=row.page, channel=row.channel, attempt=attempt, event=DeliveryOutcome.STARTED, at=now
            )
            _add(connection, started)
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
            _add(connection, _outcome(claim, event, at=at, detail=detail, receipt=receipt))
            connection.execute(_of(claim.page.page, claim.channel).values(is_due=False, owner=None, leased_until=None))

    def put_off(self, claim: Claim, event: DeliveryOutcome, *, at: datetime, due_at: datetime, detail: str) -> None:
        """Record a failed attempt, and when the next may be made."""
        mine = _of(claim.page.page, claim.channel).where(outbox.c.owner == claim.owner)
        with self._database.writing() as connection:
            _add(connection, _outcome(claim, event, at=at, detail=detail))
            connection.execute(mine.values(due_at=due_at, owner=None, leased_until=None))

    def escalate(self, page: str, channel: str, rank: int, *, at: datetime, detail: str) -> bool:
        """Make a page due on a further channel; False where it is, or was, due there already."""
        row = {"page": page, "channel": channel, "rank": rank, "is_due": True, "due_at": at, "attempts": 0}
        dialect = sqlite if self._database.dialect == "sqlite" else postgresql
        insertion = dialect.insert(outbox).on_conflict_do_nothing(index_elements=["page", "channel"])
        with self._database.writing() as connection:
            is_new = bool(connection.execute(insertion.returning(outbox.c.page), [row]).all())
            if is_new:
                escalated = DeliveryEvent(
                    page=page, channel=channel, attempt=0, event=DeliveryOutcome.ESCALATED, at=at, detail=detail
                )
                _add(connection, escalated)
            return is_new

    def withdraw(self, page: str, *, at: datetime, detail: str) -> None:
        """Take a page off every channel on which nobody is sending it now."""
        idle = (outbox.c.page == page) & outbox.c.is_due
        idle &= outbox.c.leased_until.is_(None) | (outbox.c.leased_until <= at)
        with self._database.writing() as connection:
            rows = connection.execute(sa.select(outbox).where(idle)).all()
            for row in rows:
                ended = DeliveryEvent(
                    page=page,
                    channel=row.channel,
                    attempt=row.attempts,
                    event=DeliveryOutcome.SUPERSEDED,
                    at=at,
                    detail=detail,
                )
                _add(connection, ended)
                connection.execute(_of(page, row.channel).values(is_due=False, owner=None, leased_until=None))

    def give_up(self, page: str, *, at: datetime, detail: str) -> bool:
        """Record that no channel took a page; False where that is known."""
        event = DeliveryEvent(
            page=page, channel="", attempt=0, event=DeliveryOutcome.UNDELIVERABLE, at=at, detail=detail
        )
        with self._database.writing() as connection:
            return _add(connection, event)

    def waiting(self) -> list[Waiting]:
        """What is due, or will be, oldest first."""
        query = sa.select(outbox.c.page, outbox.c.channel, outbox.c.rank, outbox.c.attempts, outbox.c.due_at).where(
            outbox.c.is_due
        )
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(outbox.c.due_at, outbox.c.page, outbox.c.rank))
            return [Waiting(**row._mapping) for row in rows]

    def unsent(self, *, decided_before: datetime) -> list[Page]:
        """Pages older than this that no channel took and nothing superseded; undeliverable ones are among them."""
        ended = (DeliveryOutcome.SENT.value, DeliveryOutcome.SUPERSEDED.value)
        has_ended = sa.exists().where((events.c.page == pages.c.page) & events.c.event.in_(ended))
        query = sa.select(*(pages.c[name] for name in _UNPICTURED))
        query = query.where((pages.c.decided_at < decided_before) & ~has_ended).order_by(pages.c.id)
        with self._database.reading() as connection:
            rows = connection.execute(query)
            return [page_of(row) for row in rows]

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
            return [
                DeliveryEvent(**(dict(row._mapping) | {"event": DeliveryOutcome(row.event)}))
                for row in connection.execute(query.order_by(events.c.id))
            ]

    def open_receipts(self, *, now: datetime) -> list[OpenReceipt]:
        """Emergencies of the last week of whose end the provider has not been heard, nor been told (cancelled)."""
        is_known = (responses.c.kind == ResponseKind.ACKNOWLEDGED.value) & (responses.c.source == _BY_RECEIPT)
        is_closed = sa.exists().where((responses.c.page == events.c.page) & (responses.c.kind.in_(_CLOSED) | is_known))
        query = (
            sa.select(events.c.channel, events.c.receipt, events.c.at, events.c.page)
            .where(events.c.receipt.is_not(None) & (events.c.at > now - _RECEIPTS_KEPT) & ~is_closed)
            .order_by(events.c.id)
        )
        with self._database.reading() as connection:
            return [
                OpenReceipt(
                    page=select_page(connection, row.page), channel=row.channel, receipt=row.receipt, sent_at=row.at
                )
                for row in connection.execute(query).all()
            ]


def _of(page: str, channel: str) -> sa.Update:
    return outbox.update().where((outbox.c.page == page) & (outbox.c.channel == channel))


def _outcome(
    claim: Claim, event: DeliveryOutcome, *, at: datetime, detail: str, receipt: str | None = None
) -> DeliveryEvent:
    return DeliveryEvent(
        page=claim.page.page,
        channel=claim.channel,
        attempt=claim.attempt,
        event=event,
        at=at,
        detail=detail,
        receipt=receipt,
    )


def _is_unclear(connection: sa.Connection, page: str, channel: str) -> bool:
    """Whether an attempt was begun and never ended, or ended without an answer."""
    mine = (events.c.page == page) & (events.c.channel == channel)
    seen: dict[int, set[str]] = {}
    for attempt, event in connection.execute(sa.select(events.c.attempt, events.c.event).where(mine)):
        seen.setdefault(attempt, set()).add(event)
    lost = {DeliveryOutcome.STARTED.value}
    return any(found == lost or DeliveryOutcome.UNCLEAR.value in found for found in seen.values())


def _add(connection: sa.Connection, event: DeliveryEvent) -> bool:
    row: dict[str, Any] = asdict(event) | {"event": event.event.value}
    return bool(insert_new(connection, events, _EVENT_KEY, [row]))
