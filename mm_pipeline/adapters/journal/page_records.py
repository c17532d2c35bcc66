"""What the journal keeps of notifications, as plain values: pages, decisions, attempts to deliver, answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from mm_pipeline.domain.notifications import Decision, Response

ALARM: Final = "ALARM"
"""Notice of a page that tells of the watch itself, and of no grid."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page as it was decided; what an attempt adds to it (that it is late) is not kept here.

    Attributes
    ----------
    page
        Its id, the same in decisions, deliveries and answers.
    notice
        What it tells; ``ALARM`` where it tells of the watch itself.
    grids
        Grids that it tells of.
    evaluated_at
        The evaluation, or the moment, that it tells of.
    image
        PNG; None without.
    retry_s, expire_s
        Of an emergency; None else.
    respond_by
        End of the recommended window; None where nothing is asked for.
    """

    page: str
    notice: str
    grids: tuple[str, ...]
    evaluated_at: datetime
    decided_at: datetime
    priority: int
    title: str
    text: str
    image: bytes | None = None
    retry_s: int | None = None
    expire_s: int | None = None
    respond_by: datetime | None = None
    settings_hash: str
    code_version: str


@dataclass(frozen=True, kw_only=True)
class DecisionRecord:
    """A decision with what it was made by."""

    decision: Decision
    grid_version: str
    settings_hash: str
    code_version: str
    decided_at: datetime


class DeliveryOutcome(StrEnum):
    """What is known of an attempt; ``ANSWERED``: it need not be made; ``CLOSED``: its emergency has ended."""

    STARTED = "started"
    SENT = "sent"
    FAILED = "failed"
    UNCLEAR = "unclear"
    REFUSED = "refused"
    SUPERSEDED = "superseded"
    ANSWERED = "answered"
    ESCALATED = "escalated"
    UNDELIVERABLE = "undeliverable"
    CLOSED = "closed"


@dataclass(frozen=True, kw_only=True)
class DeliveryEvent:
    """One thing that happened to a page on a channel; ``attempt`` counts from 1 on each channel."""

    page: str
    channel: str
    attempt: int
    event: DeliveryOutcome
    at: datetime
    detail: str = ""
    receipt: str | None = None
    settings_hash: str = ""
    code_version: str = ""


@dataclass(frozen=True, kw_only=True)
class ResponseRecord:
    """A response with where it came from: a provider's receipt, a command, an account, or the watch itself."""

    response: Response
    source: str
    by_whom: str
    settings_hash: str
    code_version: str
    recorded_at: datetime

    @property
    def known_at(self) -> datetime:
        """From when on decisions took it into account."""
        return max(self.response.at, self.recorded_at)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A page that one relay holds for one attempt on one channel.

    ``may_be_duplicate``: an attempt before it was never heard of again, or its answer did not come.
    """

    page: Page
    channel: str
    rank: int
    attempt: int
    owner: str
    may_be_duplicate: bool


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A page that is due on a channel."""

    page: str
    channel: str
    rank: int
    attempts: int
    due_at: datetime


@dataclass(frozen=True, kw_only=True)
class OpenReceipt:
    """An emergency on a channel whose end nobody knows yet."""

    page: Page
    channel: str
    attempt: int
    receipt: str
    sent_at: datetime
