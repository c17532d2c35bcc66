"""Pages in a journal, channels that do as they are told, and the delivery side over both: for the tests of paging."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from mm_pipeline.adapters.channels import ConsoleConfig
from mm_pipeline.adapters.journal import DecisionRecord, DeliveryOutcome, Journal, Page
from mm_pipeline.application.opening.channels import Delivery, delivery_of
from mm_pipeline.domain.instants import from_ms, to_ms
from mm_pipeline.domain.notifications import (
    EMERGENCY,
    Accepted,
    Cause,
    Channel,
    ChannelError,
    Decision,
    DeliveryPolicy,
    Message,
    Notice,
    NotifyPolicy,
    ReceiptState,
    ReceiptStatus,
)
from mm_pipeline.settings import Settings, load_settings

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
BAR = timedelta(minutes=15)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
WRITTEN_BY = {"settings_hash": "c3d4", "code_version": "0.1.0"}
FAILED = ChannelError("it did not answer.", is_final=False)
REFUSED = ChannelError("the key is wrong.", "Mend it.", is_final=True)
UNCLEAR = ChannelError("no answer came.", is_final=False, is_unclear=True)


@dataclass
class TestClock:
    """Stands until it is moved."""

    __test__ = False
    at: datetime = AT + MINUTE

    def now_ms(self) -> int:
        return to_ms(self.at)

    def now(self) -> datetime:
        return from_ms(self.now_ms())

    def pass_(self, by: timedelta) -> None:
        self.at += by


@dataclass
class ScriptedChannel:
    """Takes every page, unless the next thing on its list is an error; ``before`` is called inside each send."""

    name: str
    clock: TestClock
    errors: list[Exception] = field(default_factory=list)
    sent: list[Message] = field(default_factory=list)
    asked: list[Message] = field(default_factory=list)
    before: Callable[[Message], object] | None = None
    quota: tuple[int, int] | None = None

    def send(self, message: Message) -> Accepted:
        self.asked.append(message)
        if self.before is not None:
            self.before(message)
        if self.errors:
            raise self.errors.pop(0)
        self.sent.append(message)
        left, limit = self.quota or (None, None)
        return Accepted(request=f"r{len(self.sent)}", quota_remaining=left, quota_limit=limit)


@dataclass
class ScriptedPhone(ScriptedChannel):
    """A channel with receipts: number n is that of the n-th emergency it took."""

    statuses: dict[str, ReceiptStatus] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)
    receipt_errors: dict[str, Exception] = field(default_factory=dict)
    questions: list[str] = field(default_factory=list)

    def send(self, message: Message) -> Accepted:
        accepted = super().send(message)
        if message.priority != EMERGENCY:
            return accepted
        receipt = f"{self.name}-{len(self.statuses) + 1}"
        self.statuses[receipt] = ReceiptStatus(state=ReceiptState.OPEN)
        return replace(accepted, receipt=receipt)

    def receipt(self, receipt: str) -> ReceiptStatus:
        self.questions.append(receipt)
        if receipt in self.receipt_errors:
            raise self.receipt_errors[receipt]
        return self.statuses[receipt]

    def cancel(self, tag: str) -> None:
        self.cancelled.append(tag)

    def acknowledge(self, receipt: str, by: str = "ann") -> None:
        self.statuses[receipt] = ReceiptStatus(state=ReceiptState.ACKNOWLEDGED, at=self.clock.now(), by=by)

    def expire(self, receipt: str) -> None:
        self.statuses[receipt] = ReceiptStatus(state=ReceiptState.EXPIRED, at=self.clock.now())


@cache
def shipped() -> Settings:
    """The packaged settings."""
    return load_settings()


def settings_with(
    *,
    delivery: Mapping[str, Any] | None = None,
    notify: Mapping[str, Any] | None = None,
    channels: Mapping[str, bool] | None = None,
) -> Settings:
    """The packaged settings with changes; ``channels`` says of each name whether it is secondary."""
    base = shipped()
    declared = [
        ConsoleConfig(kind="console", name=name, is_secondary=is_secondary)
        for name, is_secondary in (channels or {}).items()
    ]
    return base.model_copy(
        update={
            "delivery": DeliveryPolicy(**base.delivery.model_dump() | dict(delivery or {})),
            "notify": NotifyPolicy(**base.notify.model_dump() | dict(notify or {})),
            "channels": tuple(declared),
        }
    )


def delivery_over(
    journal: Journal,
    channels: Mapping[str, Channel],
    clock: TestClock,
    *,
    secondary: tuple[str, ...] = (),
    **changes: Any,
) -> Delivery:
    """The delivery side as a run wires it, over these channels; ``changes`` as in :func:`settings_with`."""
    settings = settings_with(channels={name: name in secondary for name in channels}, **changes)
    return delivery_of(journal, channels, settings=settings, clock=clock, written_by=WRITTEN_BY)


def a_page(page: str = "p1", **changes: Any) -> Page:
    """An emergency of one grid, decided a minute after its evaluation."""
    evaluated_at = changes.get("evaluated_at", AT)
    values: dict[str, Any] = {
        "page": page,
        "notice": Notice.MANDATORY_EXIT.value,
        "grids": ("eth",),
        "evaluated_at": evaluated_at,
        "decided_at": evaluated_at + MINUTE,
        "priority": EMERGENCY,
        "title": f"EXIT NOW {page}",
        "text": "the stop is breached",
        "retry_s": 60,
        "expire_s": 10_800,
        "respond_by": evaluated_at + BAR,
        **WRITTEN_BY,
    }
    return Page(**values | changes)


def a_decided(page: Page, grid: str = "eth", **changes: Any) -> DecisionRecord:
    """The decision that a page tells."""
    values: dict[str, Any] = {
        "grid": grid,
        "evaluated_at": page.evaluated_at,
        "kind": "exit",
        "notice": Notice(page.notice),
        "state": page.notice,
        "cause": Cause.CHANGE,
        "episode_at": page.evaluated_at,
        "number": 1,
        "triggers": (),
        "page": page.page,
    }
    return DecisionRecord(
        decision=Decision(**values | changes), grid_version="a1b2", decided_at=page.decided_at, **WRITTEN_BY
    )


def commit(journal: Journal, delivery: Delivery, page: str = "p1", **changes: Any) -> Page:
    """Decide a page and make it due on the first channels, as a tick does."""
    told = a_page(page, **changes)
    decided = [a_decided(told, grid) for grid in told.grids]
    assert journal.notifications.commit(decided, [told], channels=delivery.ladder.first(), due_at=told.decided_at)
    return told


def outcomes(journal: Journal, page: str = "p1", channel: str | None = None) -> list[str]:
    """What happened to a page, in order, without the beginnings of attempts."""
    return [
        event.event.value
        for event in journal.outbox.events(page=page)
        if event.event is not DeliveryOutcome.STARTED and channel in (None, event.channel)
    ]
